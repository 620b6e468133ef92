/**
 * The judge of a chaos run: everything the witness saw is in the collector's archive exactly once, or its time lies within a
 * gap that was reported. Pure: packets and gaps in, verdict out.
 */
import type { SeenPacket } from '../support/captured.ts';
import { PAYLOAD_MARK, PAYLOAD_NUMBER } from './traffic.ts';

/**
 * Witness and forwarder take a packet's time from the same kernel, but each socket may take it for itself: microseconds apart,
 * on a busy machine more.
 */
const MARGIN_NS = 20_000_000n;
/** Ethernet, IPv4 without options, UDP. */
const PAYLOAD = 14 + 20 + 8;

export interface ReportedGap {
  readonly fromNs: string | null;
  readonly toNs: string | null;
  readonly packets: number | null;
  readonly reason: string;
}

export interface Verdict {
  readonly seen: number;
  readonly stored: number;
  /** Missing, and within a reported gap. */
  readonly reported: number;
  /** Missing, and nobody said so. */
  readonly silent: readonly string[];
  readonly twice: readonly string[];
  /** Stored, and the witness never saw it, or saw other bytes. */
  readonly foreign: readonly string[];
  /** More are missing in gaps with a number than these numbers add up to. */
  readonly understated: number;
}

/** The number in a packet of `traffic.ts`; null for others, such as ARP. */
export function numberOf(frame: Buffer): string | null {
  const payload = frame.subarray(PAYLOAD);
  if (!payload.subarray(0, PAYLOAD_MARK.byteLength).equals(PAYLOAD_MARK)) return null;
  return String(payload.readBigUInt64LE(PAYLOAD_NUMBER));
}

export function judge(
  witness: readonly SeenPacket[],
  archive: readonly SeenPacket[],
  gaps: readonly ReportedGap[],
): Verdict {
  const seen = new Map<string, SeenPacket>();
  for (const packet of witness) {
    const number = numberOf(packet.frame);
    if (number !== null) seen.set(number, packet);
  }
  const stored = new Set<string>();
  const twice: string[] = [];
  const foreign: string[] = [];
  for (const packet of archive) {
    const number = numberOf(packet.frame);
    if (number === null) continue;
    if (stored.has(number)) twice.push(number);
    stored.add(number);
    if (seen.get(number)?.frame.equals(packet.frame) !== true) foreign.push(number);
  }
  const silent: string[] = [];
  let reported = 0;
  let countable = 0;
  for (const [number, { timeNs }] of seen) {
    if (stored.has(number)) continue;
    const covering = gaps.filter((gap) => covers(gap, timeNs));
    if (covering.length === 0) silent.push(number);
    else reported++;
    if (covering.length > 0 && covering.every(({ packets }) => packets !== null)) countable++;
  }
  const counted = gaps.reduce((total, { packets }) => total + (packets ?? 0), 0);
  const understated = Math.max(0, countable - counted);
  return { seen: seen.size, stored: stored.size, reported, silent, twice, foreign, understated };
}

export function isClean({ silent, twice, foreign, understated }: Verdict): boolean {
  return silent.length === 0 && twice.length === 0 && foreign.length === 0 && understated === 0;
}

/** Frames that are missing for good have no time: they cover nothing, and a run that has them fails. */
function covers({ fromNs, toNs }: ReportedGap, timeNs: bigint): boolean {
  if (fromNs === null || toNs === null) return false;
  return timeNs >= BigInt(fromNs) - MARGIN_NS && timeNs <= BigInt(toNs) + MARGIN_NS;
}
