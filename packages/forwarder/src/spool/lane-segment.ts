/** What a lane remembers of one of its segments: which frames it holds, and what they stand for. Numbers only, no file. */
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
export function sum(...numbers: readonly (number | null)[]): number | null {
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
