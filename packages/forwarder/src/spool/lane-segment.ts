/** What a lane remembers of one of its segments: which frames it holds, and what they stand for. Numbers only, no file. */
import type { Gap } from '@tapline/shared/tunnel/messages.ts';
import type { SpooledFrame } from './spool-segment.ts';

export interface Segment {
  first: number;
  last: number;
  bytes: number;
  packets: number;
  capturedBytes: number;
  fromNs: bigint;
  toNs: bigint;
  /** What the GAPs among its frames stand for; null: one of them does not know. */
  gapPackets: number | null;
  gapBytes: number | null;
  /** It consists of one GAP. */
  isGap: boolean;
  /** The places of its frames; null until it is read. */
  frames: SpooledFrame[] | null;
}

export function newSegment(first: number): Segment {
  return {
    first,
    last: first - 1,
    bytes: 0,
    packets: 0,
    capturedBytes: 0,
    fromNs: 0n,
    toNs: 0n,
    gapPackets: 0,
    gapBytes: 0,
    isGap: false,
    frames: [],
  };
}

export function gapSegment(gap: SpooledFrame): Segment {
  const segment = newSegment(gap.first);
  add(segment, gap);
  segment.isGap = true;
  return segment;
}

/** Those of a GAP were counted as dropped before. */
export function queuedPackets(frame: SpooledFrame): number {
  return frame.isGap ? 0 : (frame.packets ?? 0);
}

/** `null` as soon as one of them is: what nobody knows cannot be added up. */
function sum(...numbers: readonly (number | null)[]): number | null {
  return numbers.reduce<number | null>((total, n) => (total === null || n === null ? null : total + n), 0);
}

export function add(segment: Segment, frame: SpooledFrame): void {
  segment.fromNs =
    segment.last < segment.first || frame.fromNs < segment.fromNs ? frame.fromNs : segment.fromNs;
  if (frame.toNs > segment.toNs) segment.toNs = frame.toNs;
  segment.last = frame.last;
  segment.bytes += frame.byteLength;
  if (frame.isGap) {
    segment.gapPackets = sum(segment.gapPackets, frame.packets);
    segment.gapBytes = sum(segment.gapBytes, frame.capturedBytes);
  } else {
    segment.packets += frame.packets ?? 0;
    segment.capturedBytes += frame.capturedBytes ?? 0;
  }
  segment.frames?.push(frame);
}

/** What a segment is behind those of its frames that `kept` has: only its totals are known. */
export function restOf(segment: Segment, kept: Segment): Segment {
  return {
    ...segment,
    first: kept.last + 1,
    bytes: segment.bytes - kept.bytes,
    packets: segment.packets - kept.packets,
    capturedBytes: segment.capturedBytes - kept.capturedBytes,
    frames: null,
  };
}

/** What stands for the sequences that are missing between two segments; how many packets, nobody knows. */
export function gapBetween(previous: Segment, next: Segment): Gap {
  const { toNs: fromNs } = previous;
  const toNs = next.fromNs > fromNs ? next.fromNs : fromNs;
  return {
    firstSequence: previous.last + 1,
    fromNs: String(fromNs),
    toNs: String(toNs),
    packets: null,
    bytes: null,
    reason: 'spool-damaged',
  };
}

/** What stands for a segment that is given up, and for the gap right before it where there is one to swallow. */
export function gapInPlaceOf(segment: Segment, before: Segment | null, reason: string): Gap {
  const fromNs = before !== null && before.fromNs < segment.fromNs ? before.fromNs : segment.fromNs;
  const toNs = before !== null && before.toNs > segment.toNs ? before.toNs : segment.toNs;
  return {
    firstSequence: before?.first ?? segment.first,
    fromNs: String(fromNs),
    toNs: String(toNs),
    packets: sum(segment.packets, segment.gapPackets, before === null ? 0 : before.gapPackets),
    bytes: sum(segment.capturedBytes, segment.gapBytes, before === null ? 0 : before.gapBytes),
    reason,
  };
}
