/**
 * The BATCH frame: a batch of records with a prefix that stays readable without decompressing, because who must drop
 * or report a stored frame needs to know whose packets of what time it held.
 *
 *   offset  size  field              meaning (offsets within the payload)
 *        0     2  linkType           LINKTYPE_ value of every frame inside
 *        2     2  interfaceId        `id` of an interface named in HELLO or REPORT
 *        4     4  reserved           0; a receiver ignores it
 *        8     4  oldestSeconds      earliest packet time inside, seconds since 1970 UTC
 *       12     4  oldestNanoseconds
 *       16     4  newestSeconds      latest packet time inside
 *       20     4  newestNanoseconds
 *       24     n  records            compressed with the frame's codec; plainBytes = 24 + their plain length
 *
 * The number of packets is in the frame header. Before anyone walks the records, `decodeBatch` has proved that they
 * end where the buffer ends and are as many as declared.
 */
import { assert } from '../base/assert.ts';
import { BATCH_BYTES_MAX, countRecords, type Batch } from '../packet/batch.ts';
import {
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  readU32,
  writeU32,
} from '../packet/record.ts';
import { codecNumber, compress, decompress, type CodecName } from './codec.ts';
import {
  BATCH_PREFIX_BYTES,
  CODEC_NONE,
  FRAME_BATCH,
  FRAME_HEADER_BYTES,
  broken,
  sealFrame,
  type Frame,
} from './frame.ts';

const RECORDS = FRAME_HEADER_BYTES + BATCH_PREFIX_BYTES;

/** Earliest and latest packet time of something, whole seconds and nanoseconds since 1970 UTC. */
export interface TimeSpan {
  readonly oldestSeconds: number;
  readonly oldestNanoseconds: number;
  readonly newestSeconds: number;
  readonly newestNanoseconds: number;
}

/** Walks the batch once for its time span. Records may be out of order; an empty batch spans 0 to 0. */
export function timeSpanOf(batch: Batch): TimeSpan {
  const { bytes, byteLength } = batch;
  let oldestSeconds = 0xffff_ffff;
  let oldestNanoseconds = 0xffff_ffff;
  let newestSeconds = 0;
  let newestNanoseconds = 0;
  let offset = 0;
  while (offset < byteLength) {
    const seconds = readU32(bytes, offset);
    const nanoseconds = readU32(bytes, offset + RECORD_NANOSECONDS);
    if (seconds < oldestSeconds || (seconds === oldestSeconds && nanoseconds < oldestNanoseconds)) {
      oldestSeconds = seconds;
      oldestNanoseconds = nanoseconds;
    }
    if (seconds > newestSeconds || (seconds === newestSeconds && nanoseconds > newestNanoseconds)) {
      newestSeconds = seconds;
      newestNanoseconds = nanoseconds;
    }
    offset += RECORD_HEADER_BYTES + readU32(bytes, offset + RECORD_CAPTURED_BYTES);
  }
  if (offset === 0) oldestSeconds = oldestNanoseconds = 0;
  return { oldestSeconds, oldestNanoseconds, newestSeconds, newestNanoseconds };
}

/** Frame bytes in a batch: its length less the record headers. */
export function capturedBytesOf(batch: Batch): number {
  return batch.byteLength - batch.packetCount * RECORD_HEADER_BYTES;
}

/** A complete BATCH frame in a buffer of its own: the batch may be taken back by its lender. */
export function encodeBatch(batch: Batch, sequence: number, codec: CodecName, lane = 0): Uint8Array {
  assert(batch.byteLength <= BATCH_BYTES_MAX, 'a batch exceeds BATCH_BYTES_MAX');
  const records = batch.bytes.subarray(0, batch.byteLength);
  const packed = compress(codec, records);
  const body = packed ?? records;
  const frame = Buffer.allocUnsafeSlow(RECORDS + body.byteLength);
  frame.set(body, RECORDS);
  writePrefix(frame, batch);
  sealFrame(frame, {
    type: FRAME_BATCH,
    codec: packed === null ? CODEC_NONE : codecNumber(codec),
    plainBytes: BATCH_PREFIX_BYTES + batch.byteLength,
    sequence,
    packetCount: batch.packetCount,
    lane,
  });
  return frame;
}

/**
 * The batch inside a BATCH frame. With codec 0 its bytes are a view of the frame, lent as long as that is.
 * Throws `OperatingError('TUNNEL_PROTOCOL')`, reason `codec` or `records`.
 */
export function decodeBatch(frame: Frame): Batch {
  const { payload } = frame;
  const byteLength = frame.plainBytes - BATCH_PREFIX_BYTES;
  const bytes = decompress(frame.codec, payload.subarray(BATCH_PREFIX_BYTES), byteLength);
  const packetCount = countRecords(bytes, byteLength);
  if (packetCount !== frame.packetCount)
    throw broken('records', 'the records of a batch do not add up', {
      declared: frame.packetCount,
      found: packetCount,
      sequence: frame.sequence,
    });
  return { bytes, byteLength, packetCount, linkType: readU16(payload, 0), interfaceId: readU16(payload, 2) };
}

/** The time span in the prefix of a BATCH's payload, readable while the records are still compressed. */
export function batchTimeSpan(payload: Uint8Array): TimeSpan {
  return {
    oldestSeconds: readU32(payload, 8),
    oldestNanoseconds: readU32(payload, 12),
    newestSeconds: readU32(payload, 16),
    newestNanoseconds: readU32(payload, 20),
  };
}

function writePrefix(frame: Uint8Array, batch: Batch): void {
  const at = FRAME_HEADER_BYTES;
  const span = timeSpanOf(batch);
  writeU32(frame, at, (batch.linkType & 0xffff) | ((batch.interfaceId & 0xffff) << 16));
  writeU32(frame, at + 4, 0);
  writeU32(frame, at + 8, span.oldestSeconds);
  writeU32(frame, at + 12, span.oldestNanoseconds);
  writeU32(frame, at + 16, span.newestSeconds);
  writeU32(frame, at + 20, span.newestNanoseconds);
}

function readU16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] as number) | ((bytes[offset + 1] as number) << 8);
}
