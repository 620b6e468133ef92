/**
 * One direction of a TCP conversation, put in order for a dissector: retransmissions dropped, what came early held for a moment, messages cut out of
 * the stream by the dissector's own lengths. A gap costs the message it falls into and no more: reading goes on with the next segment that begins a
 * message. Plain data and bounded: HELD_SEGMENTS_MAX segments and MESSAGE_BYTES_MAX bytes.
 */
import { NEED_MORE, NOT_OURS } from './dissector.ts';

const HELD_SEGMENTS_MAX = 8;
/** No message of a plant's protocol is longer; of a longer one (a file in SMB) the beginning is read and the rest skipped. */
const MESSAGE_BYTES_MAX = 16 * 1024;
const SEQUENCES = 0x1_0000_0000;

export interface Stream {
  /** Sequence number of the next byte, -1 before the first. */
  next: number;
  /** The beginning of a message whose end has not come. */
  pending: Uint8Array | null;
  /** Bytes of a long message that are still to be skipped. */
  skip: number;
  /** Segments that came before their turn. */
  held: { sequence: number; bytes: Uint8Array; wireBytes: number }[];
}

export interface StreamHandlers {
  messageBytes(bytes: Uint8Array, at: number, end: number): number;
  message(bytes: Uint8Array, at: number, end: number): void;
  /** The bytes are not this protocol's. */
  unframed(): void;
  /** `bytes` of the stream were not captured. */
  gap(bytes: number): void;
}

export function createStream(): Stream {
  return { next: -1, pending: null, skip: 0, held: [] };
}

/**
 * Takes the payload of one segment, lent: `bytes[at, end)` was captured of `wireBytes`. `sequence`: of its first byte.
 */
export function addSegment(
  stream: Stream,
  sequence: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  wireBytes: number,
  handlers: StreamHandlers,
): void {
  if (stream.next === -1) stream.next = sequence;
  const ahead = distance(stream.next, sequence);
  if (ahead > 0) {
    // A copy, whatever kind of array it is: a Buffer's `slice` would still be the lender's bytes.
    if (!isHeld(stream, sequence, end - at))
      stream.held.push({ sequence, bytes: new Uint8Array(bytes.subarray(at, end)), wireBytes });
    if (stream.held.length <= HELD_SEGMENTS_MAX) return;
    skipGap(stream, handlers);
  } else if (-ahead < wireBytes) deliver(stream, bytes, at - ahead, end, wireBytes + ahead, handlers);
  releaseHeld(stream, handlers);
}

/** The stream is over: what was held for a gap that never closed is read. */
export function endStream(stream: Stream, handlers: StreamHandlers): void {
  while (stream.held.length > 0) {
    skipGap(stream, handlers);
    releaseHeld(stream, handlers);
  }
}

/** Goes on behind the gap, at the first held segment. */
function skipGap(stream: Stream, handlers: StreamHandlers): void {
  stream.held.sort((a, b) => distance(b.sequence, a.sequence));
  const first = stream.held[0];
  if (first === undefined) return;
  const missing = Math.max(0, distance(stream.next, first.sequence));
  handlers.gap(missing);
  lose(stream, missing, handlers);
  stream.next = first.sequence;
}

/** Bytes of the stream are lost. Where the length of the message they belong to is known, its rest is skipped, and reading goes on behind it. */
function lose(stream: Stream, missing: number, handlers: StreamHandlers): void {
  const { pending } = stream;
  if (pending !== null) {
    stream.pending = null;
    const byteCount = handlers.messageBytes(pending, 0, pending.byteLength);
    stream.skip = Math.max(0, byteCount - pending.byteLength);
  }
  stream.skip = Math.max(0, stream.skip - missing);
}

function isHeld(stream: Stream, sequence: number, byteCount: number): boolean {
  return stream.held.some((one) => one.sequence === sequence && one.bytes.byteLength >= byteCount);
}

function releaseHeld(stream: Stream, handlers: StreamHandlers): void {
  for (;;) {
    const index = stream.held.findIndex(({ sequence }) => distance(stream.next, sequence) <= 0);
    if (index === -1) return;
    const [one] = stream.held.splice(index, 1);
    if (one === undefined) return;
    const ahead = distance(stream.next, one.sequence);
    if (-ahead < one.wireBytes)
      deliver(stream, one.bytes, -ahead, one.bytes.byteLength, one.wireBytes + ahead, handlers);
  }
}

function deliver(
  stream: Stream,
  bytes: Uint8Array,
  at: number,
  end: number,
  wireBytes: number,
  handlers: StreamHandlers,
): void {
  stream.next = (stream.next + wireBytes) % SEQUENCES;
  const from = Math.min(at, end);
  cut(stream, bytes, from, end, handlers);
  const missing = wireBytes - (end - from);
  if (missing > 0) {
    // Cut by the capture's snapshot length: the rest is a gap.
    handlers.gap(missing);
    lose(stream, missing, handlers);
  }
}

/** Cuts messages out of what came. */
function cut(stream: Stream, bytes: Uint8Array, from: number, to: number, handlers: StreamHandlers): void {
  let at = from;
  if (stream.skip > 0) {
    const skipped = Math.min(stream.skip, to - at);
    stream.skip -= skipped;
    at += skipped;
  }
  let source = bytes;
  let end = to;
  if (stream.pending !== null && at < end) {
    const joined = new Uint8Array(stream.pending.byteLength + end - at);
    joined.set(stream.pending);
    joined.set(bytes.subarray(at, end), stream.pending.byteLength);
    stream.pending = null;
    source = joined;
    at = 0;
    end = joined.byteLength;
  }
  while (at < end) {
    const byteCount = handlers.messageBytes(source, at, end);
    if (byteCount === NOT_OURS) {
      handlers.unframed();
      return;
    }
    if (byteCount !== NEED_MORE && byteCount <= end - at) {
      handlers.message(source, at, at + byteCount);
      at += byteCount;
    } else if (byteCount > MESSAGE_BYTES_MAX || end - at > MESSAGE_BYTES_MAX) {
      handlers.message(source, at, end);
      stream.skip = Math.max(0, byteCount - (end - at));
      return;
    } else {
      stream.pending = new Uint8Array(source.subarray(at, end));
      return;
    }
  }
}

/** How far `to` lies ahead of `from`, as a signed 32-bit number (RFC 1982). */
function distance(from: number, to: number): number {
  return (to - from) | 0;
}
