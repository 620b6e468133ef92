/**
 * `tapline-forwarder simulate`: writes a capture of a simulated plant, and the labels of the attacks in it.
 *
 * The capture goes to a file or to stdout, the labels to a file, the summary to stdout (to stderr, when the capture has
 * stdout). When a write fails the command fails:
 * what is there is not whole. A reader of the pipe that has had enough is `run.ts`'s to take.
 */
import { writeFile } from 'node:fs/promises';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import type { Precision } from '@tapline/shared/pcap/pcap-writer.ts';
import { Presets, SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError, Option } from 'commander';
import {
  ATTACK_NAMES,
  isoNs,
  labelAsJson,
  labelsAsCsv,
  labelsAsJsonLines,
  type AttackName,
} from './labels.ts';
import { CELLS_MAX } from './plant.ts';
import { MILLISECOND } from './scheduler.ts';
import { DEFAULT_CELLS, DURATION_MS_MAX, simulatePlant, type Simulation } from './simulate-plant.ts';

const STDOUT = '-';
/** A Monday morning: captures that nobody dated are the same on every day. */
const DEFAULT_START = '2026-01-05T06:00:00Z';
const NS_PER_MS = BigInt(MILLISECOND);
/** Seconds since 1970 are unsigned 32-bit in a PCAP file: until 2106. */
const START_MS_MAX = 0xffff_ffff * 1000 - DURATION_MS_MAX;
const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

interface SimulateOptions {
  readonly output: string;
  readonly seed: number;
  /** Milliseconds. */
  readonly duration: number;
  readonly cells: number;
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly attack: readonly AttackName[];
  readonly labels?: string;
  readonly precision: Precision;
  readonly packets?: number;
  readonly json: boolean;
}

/** The `simulate` subcommand. */
export function simulateCommand(): Command {
  return new Command('simulate')
    .summary('write a capture of a simulated plant')
    .description(
      'Writes a capture of a simulated plant: Modbus, S7, DNP3, IEC 104, EtherNet/IP,\n' +
        'OPC UA, PROFINET, GOOSE and office noise, in as many production cells as wanted;\n' +
        'and attacks in it, with a label file that says what, who and when.\n' +
        'The same options give the same bytes.',
    )
    .requiredOption('-o, --output <file>', 'the capture (pcap); - is standard output')
    .addOption(new Option('--seed <number>', 'another seed, another plant').default(1).argParser(seed))
    .addOption(
      new Option('--duration <time>', 'as the plant sees it: 90s, 10m, 2h, 1d')
        .default(600_000, '10m')
        .argParser(duration),
    )
    .addOption(
      new Option('--cells <number>', 'production cells, about 11 IP sources each')
        .default(DEFAULT_CELLS)
        .argParser(cells),
    )
    .addOption(
      new Option('--start <time>', 'time of the first packets, ISO 8601; UTC where no zone is given')
        .default(Date.parse(DEFAULT_START), DEFAULT_START)
        .argParser(startTime),
    )
    .addOption(
      new Option('--attack <names>', `separated by commas: ${ATTACK_NAMES.join(', ')}; or all`)
        .default([], 'none')
        .argParser(attacks),
    )
    .option(
      '--labels <file>',
      'where the labels go: CSV, or JSON lines when the name ends in .jsonl or .json',
    )
    .addOption(new Option('--precision <unit>', 'of the timestamps').choices(['ns', 'us']).default('ns'))
    .addOption(new Option('--packets <number>', 'end after so many packets').argParser(packets))
    .option('--json', 'print the summary as JSON', false)
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  tapline-forwarder simulate -o plant.pcap --duration 10m --attack scan,ransomware --labels labels.csv\n' +
        '  tapline-forwarder simulate -o - --cells 20 | tshark -r - -q -z io,phs\n',
    )
    .action(async (options: SimulateOptions) => {
      const report = await simulate(options);
      const text = options.json ? `${JSON.stringify(report, null, 2)}\n` : render(report);
      (options.output === STDOUT ? process.stderr : process.stdout).write(text);
    });
}

/** What one run of `simulate` made: the shape of `--json`. */
interface SimulateReport {
  readonly output: string;
  readonly labelFile: string | null;
  readonly seed: number;
  readonly start: string;
  readonly packets: number;
  /** Size of the file, headers included. */
  readonly bytes: number;
  readonly protocols: readonly {
    readonly protocol: string;
    readonly packets: number;
    readonly bytes: number;
  }[];
  readonly attacks: readonly Record<string, unknown>[];
}

async function simulate(options: SimulateOptions): Promise<SimulateReport> {
  const startNs = BigInt(options.start) * NS_PER_MS;
  const simulation = simulatePlant({
    seed: options.seed,
    startNs,
    durationMs: options.duration,
    cells: options.cells,
    attacks: options.attack,
    ...(options.packets === undefined ? {} : { packetsMax: options.packets }),
  });
  const fileBytes = await writeCapture(simulation, options);
  const labels = simulation.labels();
  if (options.labels !== undefined) {
    const isJson = /\.jsonl?$/.test(options.labels);
    const text = isJson ? labelsAsJsonLines(labels) : labelsAsCsv(labels);
    const path = options.labels;
    await writeFile(path, text).catch((error: unknown) => refuse('--labels', path, error));
  }
  return {
    output: options.output,
    labelFile: options.labels ?? null,
    seed: options.seed,
    start: isoNs(startNs),
    packets: simulation.packetCount,
    bytes: fileBytes,
    protocols: Array.from(simulation.protocols, ([protocol, tally]) => ({ protocol, ...tally })),
    // The ranges are what the label file is for.
    attacks: labels.map((label) => ({ ...labelAsJson(label), ranges: undefined })),
  };
}

/** Writes all batches; returns the size of the file. */
async function writeCapture(simulation: Simulation, options: SimulateOptions): Promise<number> {
  const header = { linkType: LINKTYPE_ETHERNET, precision: options.precision };
  const file = await PcapFile.create(options.output, header).catch((error: unknown) =>
    refuse('--output', options.output, error),
  );
  const bar = progressBar(options.duration);
  try {
    for (const batch of simulation) {
      await file.write(batch);
      bar?.update(Math.floor(simulation.elapsedMs), { packets: simulation.packetCount });
    }
  } finally {
    bar?.stop();
    await file.close();
  }
  return file.byteLength;
}

/** On a terminal: how much of the plant's time has passed. */
function progressBar(durationMs: number): SingleBar | null {
  if (!process.stderr.isTTY) return null;
  const format = '[{bar}] {percentage}% · {packets} packets · {duration_formatted}, {eta_formatted} to go';
  const bar = new SingleBar({ format, stream: process.stderr }, Presets.shades_classic);
  bar.start(durationMs, 0, { packets: 0 });
  return bar;
}

function refuse(option: string, path: string, error: unknown): never {
  throw new OperatingError(
    'ARCHIVE_FAILED',
    `${option} ${path}: ${messageOf(error)}; name a file that may be written, in a directory that is there`,
    { file: path },
    error,
  );
}

function render(report: SimulateReport): string {
  const rows = report.protocols.toSorted((a, b) => b.packets - a.packets);
  const lines = [
    `${'protocol'.padEnd(14)}${'packets'.padStart(12)}${'bytes'.padStart(16)}`,
    ...rows.map((row) => `${row.protocol.padEnd(14)}${grouped(row.packets, 12)}${grouped(row.bytes, 16)}`),
    ...report.attacks.map(
      (attack) =>
        `attack ${String(attack['attack'])} (${String(attack['variant'])}) at ${String(attack['start'])}: ${String(attack['packets'])} packets`,
    ),
    '',
    `${grouped(report.packets)} packets from seed ${report.seed}, ${grouped(report.bytes)} bytes; in ${report.output}` +
      (report.labelFile === null ? '' : `, labels in ${report.labelFile}`),
  ];
  return `${lines.join('\n')}\n`;
}

function grouped(value: number, width = 0): string {
  return value.toLocaleString('en-US').padStart(width);
}

function seed(text: string): number {
  return wholeNumber(text, 0, Number.MAX_SAFE_INTEGER);
}

function cells(text: string): number {
  return wholeNumber(text, 1, CELLS_MAX);
}

function packets(text: string): number {
  return wholeNumber(text, 1, Number.MAX_SAFE_INTEGER);
}

function wholeNumber(text: string, low: number, high: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < low || value > high)
    throw new InvalidArgumentError(`a whole number from ${low} to ${high}.`);
  return value;
}

function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  const ms = match === null ? NaN : Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
  if (!(ms >= 1 && ms <= DURATION_MS_MAX))
    throw new InvalidArgumentError('a number and a unit, from 1ms to 100d, as in 90s, 10m, 2h, 1d.');
  return ms;
}

function startTime(text: string): number {
  // Date.parse takes a time without a zone for local time, which would make the capture depend on the machine.
  const hasZone = /(?:Z|[+-]\d\d:?\d\d)$/i.test(text) || !text.includes('T');
  const ms = Date.parse(hasZone ? text : `${text}Z`);
  if (!/^\d{4}-\d\d-\d\d/.test(text) || !(ms >= 0 && ms <= START_MS_MAX))
    throw new InvalidArgumentError(`ISO 8601 from 1970 to 2105, as in ${DEFAULT_START}.`);
  return ms;
}

function attacks(text: string): readonly AttackName[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.includes('all')) return ATTACK_NAMES;
  return [...new Set(names)].map((name) => {
    const known = ATTACK_NAMES.find((attack) => attack === name);
    if (known === undefined)
      throw new InvalidArgumentError(`there is no "${name}"; there are ${ATTACK_NAMES.join(', ')}, and all.`);
    return known;
  });
}
