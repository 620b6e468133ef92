/**
 * First light: what `npm start` runs. The three real programs on this machine, the whole way once:
 *
 *   simulated plant | capture file | live interface ─▶ tapline-forwarder ═ tunnel on loopback ═▶ tapline-collector
 *
 * It shows the progress, stops both cleanly, reads both archives back from disk and prints the books: what came in, what
 * lies at the edge, what was sent, what lies in the SOC, what was lost, per source, and how to open a file; then what the analyzer says of it.
 * Exit status: 0 when the books balance, 1 when they do not or a program failed, 2 for wrong arguments, 7 for a file that
 * is no capture.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import type { AnalysisReport } from '@tapline/analyzer/src/report/analysis-report.ts';
import { EXIT_DAMAGED_INPUT } from '@tapline/shared/daemon/exit-code.ts';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import { Presets, SingleBar } from 'cli-progress';
import { Program, type LogLine } from '../support/child.ts';
import { projectRoot } from '../support/project.ts';
import { readBooks } from './books.ts';
import { balances, renderSummary, type Run } from './summary.ts';

const SENSOR = 'first-light';
const PROGRESS_INTERVAL_MS = 250;
const ALERTS_SHOWN = 12;

const HELP = `npm start: a frame's whole way, from a SPAN port to the SOC's disk, on this machine

  npm start                              a simulated plant of ten minutes, with attacks in it
  npm start -- FILE.pcap                 a capture: pcap or pcapng, also .gz, .zst, .lz4
  npm start -- --interface eth1          live, as root, until Ctrl-C

Options
  -i, --interface NAME   capture live on this interface
  -o, --output DIR       where everything goes; emptied first (default: out/first-light)
      --compression X    zstd, lz4 or none (default: zstd)
      --seed N           seed of the simulated plant (default: 1)
      --duration D       how long the simulated plant runs, in its own time (default: 10m)
      --seconds N        live: stop by itself after N seconds
      --json             the books as JSON on standard output
  -h, --help             this text
`;

const OPTIONS = {
  interface: { type: 'string', short: 'i' },
  output: { type: 'string', short: 'o', default: join(projectRoot, 'out/first-light') },
  compression: { type: 'string', default: 'zstd' },
  seed: { type: 'string', default: '1' },
  duration: { type: 'string', default: '10m' },
  seconds: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

function readArguments() {
  try {
    const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
    if (positionals.length > 1)
      throw new Error('one capture at a time; `tapline-forwarder split` takes many');
    const file = positionals[0];
    if (file !== undefined && values.interface !== undefined)
      throw new Error('a file or an interface, not both');
    if (file !== undefined && !existsSync(file)) throw new Error(`no such file: ${file}`);
    return { ...values, file: file === undefined ? undefined : resolve(file) };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    process.exit(2);
  }
}

type Arguments = ReturnType<typeof readArguments>;

/** Makes the plant's capture with the forwarder's own simulator, which shows its own progress. */
async function simulate(options: Arguments, directory: string): Promise<string> {
  const file = join(directory, 'plant.pcap');
  const labels = join(directory, 'plant-labels.csv');
  const words = [
    '-o',
    file,
    '--labels',
    labels,
    '--seed',
    options.seed,
    '--duration',
    options.duration,
    '--attack',
    'scan,brute-force,modbus-write,ransomware',
  ];
  say(`A plant makes traffic (seed ${options.seed}, ${options.duration}) …`);
  const simulator = new Program('forwarder', ['simulate', ...words]);
  const { code } = await simulator.exited;
  if (code !== 0) fail('the simulator', simulator);
  return file;
}

/** Packets of a capture, as our own reader counts them: what the books are held against. */
async function countPackets(file: string): Promise<number> {
  let packets = 0;
  try {
    for await (const batch of (await openCapture(file)).batches()) packets += batch.packetCount;
  } catch (error) {
    say((error as Error).message);
    // A damaged file is told by the forwarder too, and everything before the damage counts. What is none at all ends here.
    if (packets === 0) process.exit(EXIT_DAMAGED_INPUT);
  }
  return packets;
}

function writeConfigs(
  options: Arguments,
  directory: string,
  file: string | undefined,
): { forwarder: (port: number) => string; collector: string } {
  const collector = join(directory, 'collector.yaml');
  writeFileSync(
    collector,
    `bind: 127.0.0.1\nport: 0\nprotocol: tcp\noutput_directories:\n  pcap_raw_output_path: ${JSON.stringify(join(directory, 'soc'))}\n`,
  );
  const capture =
    file === undefined
      ? `  driver: afpacket\n  interface: ${JSON.stringify(options.interface)}\n`
      : `  driver: file\n  files: [${JSON.stringify(file)}]\n  speed: max\n`;
  const forwarder = (port: number): string => {
    const path = join(directory, 'forwarder.yaml');
    writeFileSync(
      path,
      `sensor: ${SENSOR}\ncapture:\n${capture}output_directories:\n  pcap_raw_output_path: ${JSON.stringify(join(directory, 'edge'))}\n` +
        `forward:\n  enable: true\n  host: 127.0.0.1\n  port: ${port}\n  protocol: tcp\n  compression: ${options.compression}\n`,
    );
    return path;
  };
  return { forwarder, collector };
}

/** Asks for the books four times a second and draws them, until `done` settles. */
function showProgress(forwarder: Program, packetsTotal: number | undefined): () => void {
  if (!process.stderr.isTTY) return () => undefined;
  const format =
    packetsTotal === undefined
      ? '   captured {captured} · on the SOC disk {value} · {duration_formatted} · Ctrl-C stops'
      : '   [{bar}] {percentage}% · {value}/{total} packets on the SOC disk · {duration_formatted}';
  const bar = new SingleBar(
    { format, stream: process.stderr, hideCursor: true, clearOnComplete: false },
    Presets.shades_classic,
  );
  bar.start(packetsTotal ?? 0, 0, { captured: 0 });
  const draw = (): void => {
    const books = lastBooks(forwarder);
    if (books !== undefined)
      bar.update(books.uplink?.acknowledgedPackets ?? 0, { captured: books.capture.packets });
  };
  const timer = setInterval(() => {
    forwarder.child.kill('SIGUSR1');
    draw();
  }, PROGRESS_INTERVAL_MS);
  return () => {
    clearInterval(timer);
    draw();
    bar.stop();
  };
}

function lastBooks(program: Program): Run['forwarder'] | undefined {
  const line = program.log.findLast((entry: LogLine) => entry['books'] !== undefined);
  return line?.['books'] as Run['forwarder'] | undefined;
}

async function main(): Promise<number> {
  const options = readArguments();
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const directory = resolve(options.output);
  for (const name of ['edge', 'soc']) rmSync(join(directory, name), { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });

  const live = options.interface !== undefined;
  const file = live ? undefined : (options.file ?? (await simulate(options, directory)));
  const packetsTotal = file === undefined ? undefined : await countPackets(file);
  const configs = writeConfigs(options, directory, file);

  const collector = new Program('collector', ['-c', configs.collector], { apart: true });
  const listening = await collector
    .line('Listening for sensors.')
    .catch(() => fail('the collector', collector));
  const port = Number(listening['port']);
  say(`The collector listens on 127.0.0.1:${port}`);
  const forwarder = new Program('forwarder', ['-c', configs.forwarder(port)], { apart: true });
  say(
    `The forwarder ${live ? `captures on ${String(options.interface)}; Ctrl-C stops` : `replays ${packetsTotal} packets`} …`,
  );

  // Ctrl-C reaches only this process; the collector is asked to stop after the forwarder has.
  const stop = (): void => void forwarder.child.kill('SIGTERM');
  process.on('SIGINT', stop).on('SIGTERM', stop);
  if (options.seconds !== undefined) setTimeout(stop, Number(options.seconds) * 1000).unref();
  const endProgress = showProgress(forwarder, packetsTotal);
  // A collector that dies would leave the forwarder waiting for it, as it should in the field but not here.
  void collector.exited.then(() => forwarder.child.kill('SIGTERM'));
  const { code } = await forwarder.exited;
  endProgress();
  if (collector.child.exitCode !== null) fail('the collector', collector);
  if (code !== 0 && code !== EXIT_DAMAGED_INPUT) fail('the forwarder', forwarder);
  if ((await collector.stop()) !== 0) fail('the collector', collector);

  const books = lastBooks(forwarder);
  if (books === undefined) return fail('the forwarder', forwarder);
  const edgeDirectory = join(directory, 'edge');
  const socDirectory = join(directory, 'soc', SENSOR);
  const disk = await readBooks(edgeDirectory, socDirectory);
  const run: Run = { packetsTotal, forwarder: books, ...disk, edgeDirectory, socDirectory };
  process.stdout.write(options.json ? `${JSON.stringify(run, null, 2)}\n` : renderSummary(run));
  if (!options.json) await showAlerts(join(directory, 'soc'));
  return balances(run) ? 0 : 1;
}

/** What the analyzer finds in the SOC's archive: the plant comes with attacks in it. */
async function showAlerts(archive: string): Promise<void> {
  const analyzer = new Program('analyzer', ['analyze', '--json', '--no-progress', archive]);
  const [text, { code }] = await Promise.all([textOf(analyzer.child.stdout as Readable), analyzer.exited]);
  if (code !== 0 && code !== EXIT_DAMAGED_INPUT) fail('the analyzer', analyzer);
  const report = JSON.parse(text) as AnalysisReport;
  const loud = report.alerts.filter(({ severity }) => ['medium', 'high', 'critical'].includes(severity));
  const lines = loud
    .slice(0, ALERTS_SHOWN)
    .map(({ severity, title, evidence }) => `   ${severity.padEnd(7)} ${title}: ${evidence}\n`);
  const more = loud.length > ALERTS_SHOWN ? `   … and ${loud.length - ALERTS_SHOWN} more\n` : '';
  process.stdout.write(
    `\nWhat the analyzer says of it: ${report.flows.total} flows, ${report.hosts.length} hosts, ${loud.length} alerts of medium severity or above\n${lines.join('')}${more}` +
      `   tapline-analyzer analyze --html report.html ${archive}\n`,
  );
}

function say(text: string): void {
  console.error(text);
}

function fail(what: string, program: Program): never {
  say(`${what} failed:\n${program.transcript()}`);
  process.exit(1);
}

process.exitCode = await main();
