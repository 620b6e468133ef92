/** What the records of a batch add up to, for the counters of a source. */
import type { Batch } from '@tapline/shared/packet/batch.ts';
import {
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_ORIGINAL_BYTES,
  readU32,
} from '@tapline/shared/packet/record.ts';

/** Captured frame bytes, without the record headers. */
export function frameBytesOf(batch: Batch): number {
  return batch.byteLength - batch.packetCount * RECORD_HEADER_BYTES;
}

/** Packets that are shorter than they were on the wire. A walk over the headers: a few nanoseconds each. */
export function truncatedIn(batch: Batch): number {
  const { bytes, byteLength } = batch;
  let truncated = 0;
  for (let at = 0; at < byteLength;) {
    const capturedBytes = readU32(bytes, at + RECORD_CAPTURED_BYTES);
    if (capturedBytes < readU32(bytes, at + RECORD_ORIGINAL_BYTES)) truncated++;
    at += RECORD_HEADER_BYTES + capturedBytes;
  }
  return truncated;
}
