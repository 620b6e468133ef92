/**
 * `export`: gives back packets of an archive: of a host, a network, a port, a time, or any filter; merged by time over all sources; to
 * a file, to a pipe, as a count, or as a list of where they are. The same command in every program that has an archive.
 */
import { loadConfig } from '../config/load.ts';
import type { ArchivesConfig } from '../config/archive-set-of.ts';
import { OperatingError, messageOf } from '../base/errors.ts';
import { PacketQuery, PROTOCOL_NAMES, type QueryText } from '../catalog/packet-query.ts';
import { EXIT_DAMAGED_INPUT } from './exit-code.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW, linkTypeName } from '../packet/link-type.ts';
import { PcapFile } from '../pcap/pcap-file.ts';
import { Presets, SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { z } from 'zod';
import { planExport, type ExportPlan, type OpenElsewhere } from '../export/export-plan.ts';
import { PacketExport, usualLinkType, type ExportCounters } from '../export/packet-export.ts';
import { parseTime } from './time-option.ts';

export interface ExportFlags {
  readonly config?: string;
  readonly archive: readonly string[];
  readonly in?: string;
  readonly sensor: readonly string[];
  readonly host: readonly string[];
  readonly net: readonly string[];
  readonly port: readonly number[];
  readonly proto: readonly string[];
  readonly vlan: readonly number[];
  readonly mac: readonly string[];
  /** Nanoseconds since 1970 UTC as text. */
  readonly from?: string;
  readonly to?: string;
  readonly filter: string;
  readonly write?: string;
  readonly count: boolean;
  readonly list: boolean;
  readonly json: boolean;
  readonly linkType: 'auto' | 'ethernet' | 'raw';
  readonly precision: 'ns' | 'us';
  readonly limit?: number;
}

/** What was found, as `--json` shows it. */
export interface ExportReport extends ExportCounters {
  readonly linkType: string;
  readonly segmentsConsidered: number;
  readonly segmentsPlanned: number;
  readonly segmentsGone: number;
  readonly bytesPlanned: number;
  readonly seconds: number;
  readonly segments?: readonly { readonly segment: string; readonly packets: number }[];
}

export interface ExportProgram {
  /** `tapline-collector`. */
  readonly name: string;
  readonly schema: z.ZodType<ArchivesConfig>;
  readonly defaultConfig: string;
  /** The archive has one sensor, whose segments lie in it directly. */
  readonly isSinglePlace: boolean;
  /** How to read segments that lie in an object store. */
  readonly openElsewhere?: (config: ArchivesConfig) => OpenElsewhere;
  /** More options, and another way to get the packets; null: the usual one. */
  readonly extend?: (command: Command) => Command;
  readonly instead?: (flags: ExportFlags, query: QueryText) => Promise<boolean>;
}

/** The `export` subcommand. */
export function exportCommand(program: ExportProgram): Command {
  const { name } = program;
  const command = new Command('export')
    .summary('give back packets: of a host, a port, a time, a filter')
    .description(
      'Gives back packets of the archive, merged by time over all sources. Several values of one option mean any of them, several\noptions mean all of them. Tagged packets are found, too. Times are UTC.',
    )
    .option('-c, --config <file>', 'where the archive is', program.defaultConfig)
    .option('-a, --archive <directory>', 'the archive itself, without a configuration', collect, [])
    .option('--in <name>', 'of several archives, the one of this name')
    .option('--sensor <name>', 'packets of this sensor', collect, [])
    .option('--host <address>', 'from or to this address', collect, [])
    .option('--net <network>', 'from or to this network, such as 10.0.1.0/24', collect, [])
    .option('--port <number>', 'from or to this port of TCP, UDP or SCTP', collectNumber(65_535), [])
    .option('--proto <name>', `${[...PROTOCOL_NAMES.keys()].join(', ')}, or a number`, collect, [])
    .option('--vlan <number>', 'with this tag', collectNumber(4095), [])
    .option('--mac <address>', 'from or to this MAC', collect, [])
    .option('--from <time>', 'not before: -15m, 06:00, 2026-01-05T06:00', timeFlag)
    .option('--to <time>', 'before this time', timeFlag)
    .option('-f, --filter <expression>', 'what this BPF filter lets through (pcap-filter(7))', '')
    .option('-w, --write <file>', 'write a PCAP file; - is standard output, and so is nothing in a pipe')
    .option('--count', 'count, write nothing', false)
    .option('--list', 'tell in which segments they are, write nothing', false)
    .option('--json', 'report as JSON, on standard error when packets go to standard output', false)
    .addOption(
      new Option('--link-type <type>', 'of the output').choices(['auto', 'ethernet', 'raw']).default('auto'),
    )
    .addOption(new Option('--precision <unit>', 'of the output').choices(['ns', 'us']).default('ns'))
    .option('--limit <packets>', 'no more than this', wholeNumber)
    .addHelpText('after', examples(name));
  return (program.extend?.(command) ?? command).action(async (flags: ExportFlags) => {
    await runExport(program, flags);
  });
}

function examples(name: string): string {
  return `
Examples:
  ${name} export --host 10.0.1.7 --from -15m -w plc1.pcap
  ${name} export --host 10.0.1.7 --port 502 --from 06:00 --to 06:05 | wireshark -k -i -
  ${name} export --net 10.0.2.0/24 --filter "tcp[tcpflags] & tcp-rst != 0" | zeek -r -
  ${name} export --proto goose --vlan 10 --count
  ${name} export --mac 00:11:22:33:44:55 --list
`;
}

async function runExport(program: ExportProgram, flags: ExportFlags): Promise<void> {
  const startedMs = performance.now();
  const text = queryOf(flags);
  const query = new PacketQuery(text);
  const target = targetOf(flags, program.name);
  if ((await program.instead?.(flags, text)) === true) return;
  const { roots, openElsewhere } = whereOf(program, flags);
  const plan = planExport(
    { roots, isSinglePlace: program.isSinglePlace, sensors: flags.sensor },
    query,
    openElsewhere,
  );
  const linkType = linkTypeOf(flags, plan);
  const output =
    target === null ? null : await PcapFile.create(target, { linkType, precision: flags.precision });
  const progress = new ExportProgress(plan, target);
  const run = new PacketExport(
    plan,
    query,
    { linkType, ...(flags.limit === undefined ? {} : { packetsMax: flags.limit }) },
    {
      write: async (batch) => {
        await output?.write(batch);
        progress.at(run.counters.packets);
      },
      failed: (name, error) => {
        process.stderr.write(`${program.name}: ${name} was left out: ${messageOf(error)}\n`);
      },
    },
  );
  await run.run();
  await output?.close();
  progress.stop();
  const report: ExportReport = {
    ...run.counters,
    linkType: linkTypeName(linkType),
    segmentsConsidered: plan.segmentsConsidered,
    segmentsPlanned: plan.segments.length,
    segmentsGone: plan.segmentsGone,
    bytesPlanned: plan.bytesPlanned,
    seconds: (performance.now() - startedMs) / 1000,
    ...(flags.list
      ? { segments: [...run.packetsBySegment].map(([segment, packets]) => ({ segment, packets })) }
      : {}),
  };
  tellReport(report, flags, target);
  if (report.segmentsFailed > 0) process.exitCode = EXIT_DAMAGED_INPUT;
}

/** `null`: nothing is written. */
function targetOf({ write, count, list }: ExportFlags, name: string): string | null {
  if (count || list) return null;
  const target = write ?? '-';
  if (target === '-' && process.stdout.isTTY)
    throw new OperatingError(
      'CONFIG_INVALID',
      `packets do not belong on a terminal: write -w FILE, --count, --list, or a pipe, as in \`${name} export … | wireshark -k -i -\``,
    );
  return target;
}

export function queryOf(flags: ExportFlags): QueryText {
  return {
    ...(flags.from === undefined ? {} : { fromNs: flags.from }),
    ...(flags.to === undefined ? {} : { toNs: flags.to }),
    hosts: [...flags.host],
    nets: [...flags.net],
    ports: [...flags.port],
    protocols: [...flags.proto],
    vlans: [...flags.vlan],
    macs: [...flags.mac],
    filter: flags.filter,
  };
}

function whereOf(
  program: ExportProgram,
  flags: ExportFlags,
): { readonly roots: readonly string[]; readonly openElsewhere?: OpenElsewhere } {
  if (flags.archive.length > 0) return { roots: flags.archive };
  const { value: config } = loadConfig(program.schema, flags.config ?? program.defaultConfig);
  const elsewhere =
    program.openElsewhere === undefined ? {} : { openElsewhere: program.openElsewhere(config) };
  if (flags.in === undefined)
    return { roots: [config.output_directories.pcap_raw_output_path], ...elsewhere };
  const further = config.archives.find(({ name }) => name === flags.in);
  if (further === undefined)
    throw new OperatingError(
      'CONFIG_INVALID',
      `there is no archive ${flags.in}: --in takes a name of \`archives\``,
      {
        archives: config.archives.map(({ name }) => name),
      },
    );
  return { roots: [further.directory], ...elsewhere };
}

function linkTypeOf({ linkType }: ExportFlags, plan: ExportPlan): number {
  if (linkType === 'ethernet') return LINKTYPE_ETHERNET;
  return linkType === 'raw' ? LINKTYPE_RAW : usualLinkType(plan.linkTypes);
}

function tellReport(report: ExportReport, { count, list, json }: ExportFlags, target: string | null): void {
  const out = target === '-' ? process.stderr : process.stdout;
  if (json) {
    out.write(`${JSON.stringify(report, null, 2)}\n`);
    return;
  }
  if (count) process.stdout.write(`${report.packets}\n`);
  if (list)
    for (const { segment, packets } of report.segments ?? [])
      process.stdout.write(`${packets.toLocaleString('en-US').padStart(12)}  ${segment}\n`);
  const words = [
    `${report.packets.toLocaleString('en-US')} packets, ${report.bytes.toLocaleString('en-US')} bytes`,
    `read ${report.bytesRead.toLocaleString('en-US')} bytes of ${report.segmentsPlanned} segments out of ${report.segmentsConsidered}, in ${report.seconds.toFixed(2)} s`,
    ...(report.unfitPackets > 0
      ? [
          `${report.unfitPackets.toLocaleString('en-US')} have no place in link type ${report.linkType} (--link-type)`,
        ]
      : []),
    ...(report.segmentsGone > 0 ? [`${report.segmentsGone} segments are not here any more`] : []),
    ...(report.segmentsFailed > 0 ? [`${report.segmentsFailed} segments could not be read`] : []),
  ];
  process.stderr.write(`${words.join('; ')}\n`);
}

/** On a terminal, when packets go elsewhere. */
class ExportProgress {
  readonly #bar: SingleBar | null;

  constructor(plan: ExportPlan, target: string | null) {
    const isWanted = process.stderr.isTTY && plan.bytesPlanned > 64 * 1024 * 1024 && target !== null;
    this.#bar = isWanted
      ? new SingleBar(
          { format: '{packets} packets · {duration_formatted}', stream: process.stderr },
          Presets.shades_classic,
        )
      : null;
    this.#bar?.start(plan.bytesPlanned, 0, { packets: 0 });
  }

  at(packets: number): void {
    this.#bar?.update({ packets });
  }

  stop(): void {
    this.#bar?.stop();
  }
}

/** Without the value before it, which commander would hand over as the present time. */
function timeFlag(text: string): string {
  return parseTime(text);
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function collectNumber(max: number) {
  return (text: string, before: readonly number[]): readonly number[] => {
    const value = Number(text);
    if (!/^\d{1,5}$/.test(text) || value > max) throw new InvalidArgumentError(`a number from 0 to ${max}`);
    return [...before, value];
  };
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('a number from 1');
  return Number(text);
}
