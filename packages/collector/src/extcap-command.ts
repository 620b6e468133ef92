/**
 * `extcap`: each sensor as an interface in Wireshark, on the collector's machine. Wireshark runs a program from its extcap directory and
 * speaks to it in options (wireshark/doc/extcap.adoc); `extcap install` puts one there that runs this command.
 *
 *   --extcap-interfaces                    which interfaces there are
 *   --extcap-interface X --extcap-dlts     of which link type
 *   --extcap-interface X --extcap-config   what can be chosen
 *   --extcap-interface X --capture --fifo F [--extcap-capture-filter E] [--from …] [--link-type …]
 */
import { chmodSync, createWriteStream, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { loadConfig } from '@tapline/shared/config/load.ts';
import { askDaemon } from '@tapline/shared/control/control-protocol.ts';
import { packageVersion } from '@tapline/shared/daemon/run.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { compileOffline } from '@tapline/shared/system/libpcap.ts';
import { Command, Option } from 'commander';
import { collectorSchema } from './config.ts';

const PREFIX = 'tapline-';
/** All sensors in one stream. No sensor's name begins with a dot. */
const ALL = 'tapline-.all';
const SPANS_MS: Readonly<Record<string, number>> = { now: 0, '1m': 60_000, '5m': 300_000, '15m': 900_000, '1h': 3_600_000, '6h': 21_600_000, '1d': 86_400_000 }; // prettier-ignore

interface ExtcapFlags {
  readonly config: string;
  readonly extcapInterfaces: boolean;
  readonly extcapInterface?: string;
  readonly extcapDlts: boolean;
  readonly extcapConfig: boolean;
  readonly extcapCaptureFilter?: string;
  readonly capture: boolean;
  readonly fifo?: string;
  readonly from: string;
  readonly linkType: 'ethernet' | 'raw';
}

/** The `extcap` subcommand. */
export function extcapCommand(): Command {
  const command = new Command('extcap')
    .enablePositionalOptions()
    .summary('sensors as interfaces in Wireshark')
    .description('What Wireshark runs to see each sensor as an interface. Install it once: `extcap install`.')
    .option('-c, --config <file>', "the collector's configuration", '/etc/tapline/collector.yaml')
    .option('--extcap-interfaces', 'list the interfaces', false)
    .option('--extcap-version [version]', "Wireshark's version; of no interest")
    .option('--extcap-interface <name>', 'the interface that is meant')
    .option('--extcap-dlts', 'tell its link type', false)
    .option('--extcap-config', 'tell its options', false)
    .option('--extcap-capture-filter <expression>', 'capture what this filter lets through')
    .option('--capture', 'capture', false)
    .option('--fifo <path>', 'where to')
    .addOption(new Option('--from <span>', 'begin so long ago').choices(Object.keys(SPANS_MS)).default('now'))
    .addOption(
      new Option('--link-type <type>', 'of the packets').choices(['ethernet', 'raw']).default('ethernet'),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  tapline-collector extcap install\n  tshark -D\n  tshark -i tapline-plant-a-cell-3 -f "tcp port 502"\n',
    )
    .action(runExtcap);
  command
    .command('install')
    .description("put the program into Wireshark's extcap directory")
    .option('-c, --config <file>', "the collector's configuration", '/etc/tapline/collector.yaml')
    .option('--dir <directory>', 'which; by default those of the user, for Wireshark before 4.2 and since')
    .action(install);
  return command;
}

/** Where Wireshark looks: up to 4.0 beside its configuration, since 4.2 beside its plugins. */
function usersDirectories(): string[] {
  const configuration = process.env['XDG_CONFIG_HOME'] ?? `${homedir()}/.config`;
  return [`${configuration}/wireshark/extcap`, `${homedir()}/.local/lib/wireshark/extcap`];
}

function install({ config, dir }: { readonly config: string; readonly dir?: string }): void {
  const main = new URL('./main.ts', import.meta.url).pathname;
  const words = [process.execPath, main, 'extcap', '-c', resolve(config)];
  const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  for (const directory of dir === undefined ? usersDirectories() : [dir]) {
    const path = `${directory}/tapline-extcap`;
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      path,
      `#!/bin/sh\n# Tapline's sensors as interfaces; made by \`tapline-collector extcap install\`.\nexec ${quoted.join(' ')} "$@"\n`,
    );
    chmodSync(path, 0o755);
    process.stdout.write(`installed ${path}\n`);
  }
  process.stdout.write(
    'Wireshark shows the sensors after its next start, or F5 in its list of interfaces.\n',
  );
}

async function runExtcap(flags: ExtcapFlags): Promise<void> {
  const root = loadConfig(collectorSchema, flags.config).value.output_directories.pcap_raw_output_path;
  if (flags.extcapInterfaces) return tellInterfaces(root);
  if (flags.extcapInterface === undefined)
    throw new OperatingError(
      'CONFIG_INVALID',
      'this is what Wireshark runs; `tapline-collector extcap install` makes it do so',
    );
  if (flags.extcapDlts) process.stdout.write('dlt {number=1}{name=EN10MB}{display=Ethernet}\n');
  else if (flags.extcapConfig) tellOptions();
  else if (flags.capture && flags.fifo !== undefined) await capture(root, flags, flags.fifo);
  else if (flags.extcapCaptureFilter !== undefined) tellFilter(flags.extcapCaptureFilter);
}

async function tellInterfaces(root: string): Promise<void> {
  const lines = [`extcap {version=${packageVersion()}}{display=Tapline}`];
  try {
    const { answer, socket } = await askDaemon(root, { command: 'sensors' });
    socket.destroy();
    const sensors = answer['sensors'] as { sensor: string; connected: boolean }[];
    lines.push(`interface {value=${ALL}}{display=Tapline: all sensors}`);
    for (const { sensor, connected } of sensors)
      lines.push(
        `interface {value=${PREFIX}${sensor}}{display=Tapline: ${sensor}${connected ? '' : ' (away)'}}`,
      );
  } catch (error) {
    // Wireshark shows no interfaces then, and its log says why.
    process.stderr.write(`${messageOf(error)}\n`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}

function tellOptions(): void {
  const lines = [
    'arg {number=0}{call=--from}{display=Begin}{tooltip=Stored packets first, then what comes}{type=selector}',
    ...Object.keys(SPANS_MS).map((span) => `value {arg=0}{value=${span}}{display=${span === 'now' ? 'Now' : `${span} ago`}}{default=${String(span === 'now')}}`), // prettier-ignore
    'arg {number=1}{call=--link-type}{display=Link type}{tooltip=RAW leaves out what has no IP packet}{type=selector}',
    'value {arg=1}{value=ethernet}{display=Ethernet}{default=true}',
    'value {arg=1}{value=raw}{display=Raw IP}{default=false}',
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Nothing: the filter is good. Anything that is printed is shown as what is wrong with it. */
function tellFilter(expression: string): void {
  try {
    compileOffline(LINKTYPE_ETHERNET, expression, 65_535);
  } catch (error) {
    process.stdout.write(`${messageOf(error)}\n`);
  }
}

async function capture(root: string, flags: ExtcapFlags, fifo: string): Promise<void> {
  const name = flags.extcapInterface ?? '';
  const { socket, rest } = await askDaemon(root, {
    command: 'stream',
    ...(name === ALL ? {} : { sensor: name.slice(PREFIX.length) }),
    filter: flags.extcapCaptureFilter ?? '',
    linkType: flags.linkType,
    spanMs: SPANS_MS[flags.from] ?? 0,
  });
  socket.unshift(rest);
  try {
    await pipeline(socket, createWriteStream(fifo));
  } catch (error) {
    // Wireshark stops a capture by closing its end.
    if (!/EPIPE|premature|aborted/i.test(messageOf(error))) throw error;
  }
}
