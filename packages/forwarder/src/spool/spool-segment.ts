/**
 * One file of the spool: tunnel frames of consecutive sequences, one after the other, exactly as they go over the wire.
 *
 *   <spool>/<lane>/<first sequence, 16 digits>.spool     BATCH and GAP frames (docs/protocol.md)
 *
 * A frame carries its own length, sequence and checksum, so the file needs no header and no index: what a kill left is found
 * by walking the frames, and a torn one at the end is cut off. The walk reads 56 bytes of each frame (its header and the
 * prefix of a batch); with `isSuspect` it reads and checks all of it.
 */
import { assert } from '@tapline/shared/base/assert.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { RECORD_HEADER_BYTES } from '@tapline/shared/packet/record.ts';
import type { Files } from '@tapline/shared/system/files.ts';
import {
  BATCH_PREFIX_BYTES,
  FRAME_BATCH,
  FRAME_GAP,
  FRAME_HEADER_BYTES,
  frameBytesOf,
  openFrame,
  type Frame,
} from '@tapline/shared/tunnel/frame.ts';
import { decodeGap, nanosecondsText } from '@tapline/shared/tunnel/messages.ts';
import { batchTimeSpan } from '@tapline/shared/tunnel/packet-batch.ts';

const HEAD_BYTES = FRAME_HEADER_BYTES + BATCH_PREFIX_BYTES;
const NAME = /^(\d{16})\.spool$/;

/** What a frame in the spool is, without its records. */
export interface SpooledFrame {
  /** First and last sequence it stands for: the same, but for a GAP of several. */
  readonly first: number;
  readonly last: number;
  readonly offset: number;
  readonly byteLength: number;
  /** `null`: a GAP that does not know. */
  readonly packets: number | null;
  /** Captured bytes of its packets. */
  readonly capturedBytes: number | null;
  /** Packet times, nanoseconds since 1970 UTC. */
  readonly fromNs: bigint;
  readonly toNs: bigint;
  readonly isGap: boolean;
}

export function segmentNameOf(first: number): string {
  return `${String(first).padStart(16, '0')}.spool`;
}

/** The first sequence that the name of a segment says; null for other files. */
export function firstSequenceOf(name: string): number | null {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** What the frame `bytes` is, that stands or will stand at `offset`. It is one of ours: encoded here, or checked. */
export function describeSpooled(bytes: Uint8Array, offset: number): SpooledFrame {
  return describe(openFrame(bytes), bytes.byteLength, offset);
}

/**
 * Walks the frames of a segment from its beginning. Ends where they end, or before the first that is torn, damaged, or out of
 * sequence; `soundBytes` says where that was.
 */
export function walkSegment(
  files: Files,
  descriptor: number,
  first: number,
  isSuspect: boolean,
): { frames: SpooledFrame[]; soundBytes: number } {
  const byteLength = files.byteLength(descriptor);
  const frames: SpooledFrame[] = [];
  let offset = 0;
  let expected = first;
  while (offset < byteLength) {
    const frame = frameAt(files, descriptor, offset, byteLength, isSuspect);
    if (frame === null || frame.first !== expected) break;
    frames.push(frame);
    offset += frame.byteLength;
    expected = frame.last + 1;
  }
  return { frames, soundBytes: offset };
}

/** The whole bytes of a frame. Throws SPOOL_FAILED when it is not what it was when it was written. */
export function readSpooled(files: Files, descriptor: number, frame: SpooledFrame): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(frame.byteLength);
  readFully(files, descriptor, bytes, frame.offset);
  if (frameBytesOf(bytes, 0) !== frame.byteLength || openFrame(bytes).sequence !== frame.last)
    throw new OperatingError('SPOOL_FAILED', 'a frame of the spool has changed', { sequence: frame.last });
  return bytes;
}

/** `null`: torn or damaged. */
function frameAt(
  files: Files,
  descriptor: number,
  offset: number,
  byteLength: number,
  isSuspect: boolean,
): SpooledFrame | null {
  const head = Buffer.alloc(Math.min(HEAD_BYTES, byteLength - offset));
  if (head.byteLength < FRAME_HEADER_BYTES) return null;
  try {
    readFully(files, descriptor, head, offset);
    const frameBytes = frameBytesOf(head, 0);
    if (offset + frameBytes > byteLength) return null;
    if (!isSuspect && head[5] === FRAME_BATCH) return describe(headOnly(head), frameBytes, offset);
    const whole = Buffer.alloc(frameBytes);
    readFully(files, descriptor, whole, offset);
    return describe(openFrame(whole), frameBytes, offset);
  } catch (error) {
    if (error instanceof OperatingError) return null;
    throw error;
  }
}

/** A frame of which only header and prefix were read: its checksum is looked at when it is sent. */
function headOnly(head: Buffer): Frame {
  return {
    type: head[5] as number,
    codec: head[6] as number,
    lane: head[7] as number,
    plainBytes: head.readUInt32LE(12),
    sequence: head.readUInt32LE(16) + head.readUInt32LE(20) * 0x1_0000_0000,
    packetCount: head.readUInt32LE(24),
    payload: head.subarray(FRAME_HEADER_BYTES),
  };
}

function describe(frame: Frame, byteLength: number, offset: number): SpooledFrame {
  if (frame.type === FRAME_GAP) {
    const gap = decodeGap(frame);
    return {
      first: gap.firstSequence,
      last: frame.sequence,
      offset,
      byteLength,
      packets: gap.packets,
      capturedBytes: gap.bytes,
      fromNs: BigInt(gap.fromNs),
      toNs: BigInt(gap.toNs),
      isGap: true,
    };
  }
  if (frame.type !== FRAME_BATCH)
    throw new OperatingError('SPOOL_FAILED', 'a frame of the spool is neither BATCH nor GAP', { type: frame.type }); // prettier-ignore
  const span = batchTimeSpan(frame.payload);
  return {
    first: frame.sequence,
    last: frame.sequence,
    offset,
    byteLength,
    packets: frame.packetCount,
    capturedBytes: Math.max(
      0,
      frame.plainBytes - BATCH_PREFIX_BYTES - frame.packetCount * RECORD_HEADER_BYTES,
    ),
    fromNs: BigInt(nanosecondsText(span.oldestSeconds, span.oldestNanoseconds)),
    toNs: BigInt(nanosecondsText(span.newestSeconds, span.newestNanoseconds)),
    isGap: false,
  };
}

function readFully(files: Files, descriptor: number, bytes: Uint8Array, position: number): void {
  let offset = 0;
  while (offset < bytes.byteLength) {
    const read = files.read(descriptor, bytes, offset, bytes.byteLength - offset, position + offset);
    if (read === 0) throw new OperatingError('SPOOL_FAILED', 'a segment of the spool became shorter', {});
    offset += read;
  }
  assert(offset === bytes.byteLength, 'read more than was asked for');
}
