/** The books of one run as a person reads them, and whether they balance. */
import { relative } from 'node:path';
import type { SourceBook } from './books.ts';

/** Everything that is known after one run: what the forwarder counted and what lies on the two disks. */
export interface Run {
  /** Packets of the replayed file; undefined for a live capture. */
  readonly packetsTotal: number | undefined;
  readonly forwarder: {
    readonly capture: { packets: number; kernelDroppedPackets: number; filteredPackets: number };
    readonly archive: { packetsStored: number; packetsDropped: number } | null;
    readonly uplink: { offeredPackets: number; acknowledgedPackets: number; droppedPackets: number } | null;
  };
  readonly sources: readonly SourceBook[];
  readonly edgePackets: number;
  readonly socPackets: number;
  readonly edgeDirectory: string;
  readonly socDirectory: string;
}

const ROWS_MAX = 15;

/** True when every packet that came in lies on both disks: nothing lost, nothing twice. */
export function balances(run: Run): boolean {
  const captured = run.forwarder.capture.packets;
  return (
    lostPackets(run) === 0 &&
    run.edgePackets === captured &&
    run.socPackets === captured &&
    (run.packetsTotal === undefined || run.packetsTotal === captured) &&
    run.sources.every((source) => source.edgePackets === source.socPackets)
  );
}

/** What the forwarder says it lost, anywhere, for any reason. */
function lostPackets({ forwarder }: Run): number {
  const { capture, archive, uplink } = forwarder;
  return capture.kernelDroppedPackets + (archive?.packetsDropped ?? 0) + (uplink?.droppedPackets ?? 0);
}

export function renderSummary(run: Run): string {
  const { capture, uplink } = run.forwarder;
  const lost = lostPackets(run);
  const best = run.sources.find((source) => /^\d+\.\d+\.\d+\.\d+$/.test(source.prefix)) ?? run.sources[0];
  const lines = [
    '',
    'The books, counted by the programs and read back from both disks',
    '',
    ...(run.packetsTotal === undefined ? [] : [row('in the capture', run.packetsTotal)]),
    row('packets in', capture.packets),
    row('stored at the edge', run.edgePackets),
    row('sent and acknowledged', uplink?.acknowledgedPackets ?? 0),
    row('stored in the SOC', run.socPackets),
    `${row('lost', lost)}   ${balances(run) ? '✓ the books balance to the packet' : '✗ THE BOOKS DO NOT BALANCE'}`,
    '',
    ...renderSources(run.sources),
    '',
    `   at the edge   ${shown(run.edgeDirectory)}/   whole frames, nanoseconds`,
    `   in the SOC    ${shown(run.socDirectory)}/   IP packets (LINKTYPE_RAW), nanoseconds; the rest as Ethernet`,
    ...(best === undefined
      ? []
      : ['', 'Open one', '', `   tshark -r ${shown(best.file)} | head`, `   wireshark ${shown(best.file)}`]),
    '',
  ];
  return `${lines.join('\n')}\n`;
}

function renderSources(sources: readonly SourceBook[]): string[] {
  const width = Math.max(8, ...sources.slice(0, ROWS_MAX).map((source) => source.prefix.length));
  const line = (name: string, edge: string, soc: string, bytes: string): string =>
    `   ${name.padEnd(width)}  ${edge.padStart(11)}  ${soc.padStart(11)}  ${bytes.padStart(13)}`;
  const lines = [line('source', 'edge', 'SOC', 'bytes')];
  for (const source of sources.slice(0, ROWS_MAX)) {
    lines.push(
      line(source.prefix, number(source.edgePackets), number(source.socPackets), number(source.socBytes)),
    );
  }
  if (sources.length > ROWS_MAX) {
    const rest = sources.slice(ROWS_MAX);
    const sum = (value: (source: SourceBook) => number): string =>
      number(rest.reduce((total, source) => total + value(source), 0));
    lines.push(
      line(
        `${rest.length} more`,
        sum((source) => source.edgePackets),
        sum((source) => source.socPackets),
        sum((source) => source.socBytes),
      ),
    );
  }
  return lines;
}

function row(name: string, packets: number): string {
  return `   ${name.padEnd(22)} ${number(packets).padStart(11)}`;
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith('..') ? path : short;
}
