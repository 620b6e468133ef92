/**
 * `tapline-forwarder split`: the forwarder's routing and archive, offline, over capture files.
 *
 *   capture files ─▶ filter ─▶ archive (hourly PCAP per source)
 *
 * A damaged file does not stop the others: what stands before the damage is stored, the damage is named with its offset,
 * and the exit status says that something was damaged. The books are printed, as a table or with `--json`:
 * packets read = stored + filtered out + dropped by reason.
 */
import { statSync } from 'node:fs';
import { Archive } from '@tapline/shared/archive/archive.ts';
import { droppedPackets, type ArchiveRule } from '@tapline/shared/archive/archive-options.ts';
import type { SourceSummary } from '@tapline/shared/archive/source-table.ts';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { EXIT_ARCHIVE, EXIT_DAMAGED_INPUT } from '@tapline/shared/daemon/exit-code.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { Presets, SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError, Option } from 'commander';
import { BatchFilter } from '@tapline/shared/filter/batch-filter.ts';

/** Fewer, larger writes than a live archive makes: nobody reads these segments before the end. */
const FLUSH_INTERVAL_MS = 60_000;
const BUFFER_BYTES_MAX = 128 * 1024 * 1024;
/** Closing and opening segments in turn costs more than anything else; the archive takes at most half of what the process may have. */
const OPEN_FILES_MAX = 8192;
const ROWS_MAX = 20;

interface SplitOptions {
  readonly output: string;
  readonly filter: string;
  readonly snaplen: number;
  readonly linkType: 'ethernet' | 'raw';
  readonly precision: 'ns' | 'us';
  readonly rule: readonly ArchiveRule[];
  readonly defaultPrefix?: string;
  readonly json: boolean;
}

interface FileReport {
  readonly file: string;
  readonly packets: number;
  /** Why reading stopped before the end, with the offset; null for a whole file. */
  readonly damage: string | null;
}

/** What one run of `split` did: the shape of `--json`. */
export interface SplitReport {
  readonly output: string;
  readonly packetsRead: number;
  readonly packetsFiltered: number;
  readonly packetsStored: number;
  readonly packetsDropped: number;
  /** Ran backwards in time and were put in order. */
  readonly packetsReordered: number;
  /** Ran backwards too far for that: stored in `late` segments. */
  readonly packetsLate: number;
  readonly bytesStored: number;
  readonly files: readonly FileReport[];
  readonly sources: readonly SourceSummary[];
  readonly dropped: Readonly<Record<string, number>>;
}

/** The `split` subcommand. */
export function splitCommand(): Command {
  return new Command('split')
    .summary('split capture files into hourly PCAPs per source')
    .description(
      'Splits capture files (pcap, pcapng; also gzip, zstd, lz4; - is standard input) into one PCAP per source and hour,\nas the forwarder does live. Segments that are already in the directory stay as they are; new ones take the next name.\nTime never runs backwards in a segment: packets that came too late for theirs go to one of their own (…-late.pcap).',
    )
    .argument('<file...>', 'capture files')
    .requiredOption('-o, --output <directory>', 'where the segments go; created when missing')
    .option('-f, --filter <expression>', 'keep only what this BPF filter lets through', '')
    .addOption(
      new Option('-s, --snaplen <bytes>', 'keep at most this much of each frame')
        .default(PACKET_BYTES_MAX)
        .argParser(snaplen),
    )
    .addOption(
      new Option('--link-type <type>', 'raw takes the link header off IP packets')
        .choices(['ethernet', 'raw'])
        .default('ethernet'),
    )
    .addOption(new Option('--precision <unit>', 'of the timestamps').choices(['ns', 'us']).default('ns'))
    .addOption(
      new Option(
        '--rule <ip=prefix>',
        'packets from or to this address go to this prefix; repeatable, first match wins',
      )
        .argParser(rule)
        .default([]),
    )
    .option('--default-prefix <prefix>', 'one prefix for all IP packets that no rule names')
    .option('--json', 'print the books as JSON', false)
    .addHelpText(
      'after',
      '\nExample:\n  tapline-forwarder split -o split/ --rule 10.0.1.7=plc1 monday.pcap.gz tuesday.pcapng\n',
    )
    .action(async (files: string[], options: SplitOptions) => {
      const report = await split(files, options);
      process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : render(report));
      if (report.packetsDropped > 0) process.exitCode = EXIT_ARCHIVE;
      else if (report.files.some((file) => file.damage !== null)) process.exitCode = EXIT_DAMAGED_INPUT;
    });
}

/** Splits `files`; returns the books. Throws FILTER_INVALID, CONFIG_INVALID and ARCHIVE_FAILED. */
export async function split(files: readonly string[], options: SplitOptions): Promise<SplitReport> {
  const archive = new Archive(
    {
      directory: options.output,
      linkType: options.linkType,
      precision: options.precision,
      rules: options.rule,
      ...(options.defaultPrefix === undefined ? {} : { defaultPrefix: options.defaultPrefix }),
      flushIntervalMs: FLUSH_INTERVAL_MS,
      bufferBytesMax: BUFFER_BYTES_MAX,
      openFilesMax: OPEN_FILES_MAX,
    },
    {
      files: systemFiles,
      events: { writeFailed: (failure) => console.error(`cannot write ${failure.name}: ${failure.message}`) },
    },
  );
  const filter = new BatchFilter({ expression: options.filter, snapBytes: options.snaplen });
  const progress = new Progress(files);
  archive.open();
  const reports: FileReport[] = [];
  try {
    for (const file of files) reports.push(await splitFile(file, archive, filter, progress));
  } finally {
    await archive.close();
    progress.stop();
  }
  return report(options.output, reports, archive, filter);
}

async function splitFile(
  file: string,
  archive: Archive,
  filter: BatchFilter,
  progress: Progress,
): Promise<FileReport> {
  let packets = 0;
  let damage: string | null = null;
  try {
    const capture = await openCapture(file);
    try {
      for await (const batch of capture.batches()) {
        packets += batch.packetCount;
        const kept = filter.apply(batch);
        if (kept !== null) archive.write(kept);
        progress.at(capture.inputBytes, packets);
      }
    } finally {
      progress.fileEnded(file, packets);
    }
  } catch (error) {
    // A file that is damaged, or is none, is told in the report; a full disk or a wrong filter ends the run.
    if (!(error instanceof OperatingError) || error.code !== 'PCAP_INVALID') throw error;
    damage = messageOf(error);
  }
  return { file, packets, damage };
}

function report(
  output: string,
  files: readonly FileReport[],
  archive: Archive,
  filter: BatchFilter,
): SplitReport {
  const { counters } = archive;
  return {
    output,
    packetsRead: files.reduce((packets, file) => packets + file.packets, 0),
    packetsFiltered: filter.filteredPackets,
    packetsStored: counters.packetsStored,
    packetsDropped: droppedPackets(counters),
    packetsReordered: counters.packetsReordered,
    packetsLate: counters.packetsLate,
    bytesStored: counters.bytesStored,
    files,
    sources: archive.sources().sort((a, b) => b.packets - a.packets),
    dropped: counters.dropped,
  };
}

function render(books: SplitReport): string {
  const shown = books.sources.slice(0, ROWS_MAX);
  const width = Math.max(6, ...shown.map((source) => source.prefix.length));
  const lines = [
    ...books.files
      .filter((file) => file.damage !== null)
      .map((file) => `damaged: ${String(file.damage)} (${file.packets} packets before it are stored)`),
    `${'source'.padEnd(width)}  ${'packets'.padStart(12)}  ${'bytes'.padStart(15)}`,
    ...shown.map(
      (source) => `${source.prefix.padEnd(width)}  ${number(source.packets)}  ${number(source.bytes, 15)}`,
    ),
    ...(books.sources.length > ROWS_MAX ? [`… and ${books.sources.length - ROWS_MAX} more`] : []),
    '',
    ...backwards(books),
    `read ${books.packetsRead} = stored ${books.packetsStored} + filtered out ${books.packetsFiltered} + dropped ${books.packetsDropped}; in ${books.output}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** A line when the input was not in the order of time, and what became of that. */
function backwards({ packetsReordered, packetsLate }: SplitReport): string[] {
  const packets = packetsReordered + packetsLate;
  return packets === 0
    ? []
    : [
        `${packets} packets ran backwards in time: ${packetsReordered} were put in order, ${packetsLate} came too late for that and are in late segments`,
      ];
}

function number(value: number, width = 12): string {
  return value.toLocaleString('en-US').padStart(width);
}

/** The bar on a terminal: bytes of input read, over all files. Silent elsewhere. */
class Progress {
  readonly #bar: SingleBar | null;
  #bytesBefore = 0;
  #packetsBefore = 0;

  constructor(files: readonly string[]) {
    const bytes = files.reduce((sum, file) => sum + (file === '-' ? 0 : byteLengthOf(file)), 0);
    const format = '[{bar}] {percentage}% · {packets} packets · {duration_formatted}, {eta_formatted} to go';
    this.#bar = process.stderr.isTTY
      ? new SingleBar({ format, stream: process.stderr, etaBuffer: 100 }, Presets.shades_classic)
      : null;
    this.#bar?.start(bytes, 0, { packets: 0 });
  }

  at(inputBytes: number, packets: number): void {
    this.#bar?.update(this.#bytesBefore + inputBytes, { packets: this.#packetsBefore + packets });
  }

  fileEnded(file: string, packets: number): void {
    this.#bytesBefore += file === '-' ? 0 : byteLengthOf(file);
    this.#packetsBefore += packets;
    this.at(0, 0);
  }

  stop(): void {
    this.#bar?.stop();
  }
}

/** 0 for what cannot be asked; opening it will say why. */
function byteLengthOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function snaplen(text: string): number {
  const bytes = Number(text);
  if (!Number.isInteger(bytes) || bytes < 1 || bytes > PACKET_BYTES_MAX)
    throw new InvalidArgumentError(`a number from 1 to ${PACKET_BYTES_MAX}`);
  return bytes;
}

function rule(text: string, before: readonly ArchiveRule[]): readonly ArchiveRule[] {
  const [address, prefix, more] = text.split('=');
  if (address === undefined || prefix === undefined || prefix === '' || more !== undefined)
    throw new InvalidArgumentError('as in 10.0.1.7=plc1');
  return [...before, { address, prefix }];
}
