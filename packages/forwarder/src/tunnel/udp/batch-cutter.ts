/**
 * Cuts a batch into smaller ones, each a view of the same bytes, so that what a group holds stays small: a group that
 * cannot be repaired costs its own packets and no others.
 */
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, readU32 } from '@tapline/shared/packet/record.ts';

/** Batches of at most `bytesMax` of records each, or of one record that is larger. Lent like the batch itself. */
export function cutBatch(batch: Batch, bytesMax: number): Batch[] {
  if (batch.byteLength <= bytesMax || batch.packetCount <= 1) return [batch];
  const { bytes, byteLength } = batch;
  const pieces: Batch[] = [];
  let start = 0;
  let packetCount = 0;
  let offset = 0;
  while (offset < byteLength) {
    const end = offset + RECORD_HEADER_BYTES + readU32(bytes, offset + RECORD_CAPTURED_BYTES);
    if (end - start > bytesMax && packetCount > 0) {
      pieces.push(piece(batch, start, offset, packetCount));
      start = offset;
      packetCount = 0;
    }
    packetCount++;
    offset = end;
  }
  pieces.push(piece(batch, start, offset, packetCount));
  return pieces;
}

function piece(
  { bytes, linkType, interfaceId }: Batch,
  start: number,
  end: number,
  packetCount: number,
): Batch {
  return { bytes: bytes.subarray(start, end), byteLength: end - start, packetCount, linkType, interfaceId };
}
