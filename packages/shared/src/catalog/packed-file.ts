/**
 * Packed segments that can be read in the middle: gzip members, or zstd frames, of about a MiB of plain bytes each, one behind the
 * other. To every tool that reads `.gz` or `.zst` that is one ordinary file; the index knows where each piece begins.
 */
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { IndexChunk } from './segment-index.ts';

export type Packing = 'gzip' | 'zstd';

/** Larger pieces pack a little better (2 % at 4 MiB), and cost a reader more for the first packet. */
export const CHUNK_PLAIN_BYTES = 1024 * 1024;
const SUFFIXES: Readonly<Record<Packing, string>> = { gzip: '.gz', zstd: '.zst' };

export function packedName(segment: string, packing: Packing): string {
  return segment + SUFFIXES[packing];
}

/** One piece, packed. Level 6 for gzip (zlib's own choice), 3 for zstd. */
export function packChunk(plain: Uint8Array, packing: Packing): Uint8Array {
  return packing === 'gzip' ? gzipSync(plain) : zstdCompressSync(plain);
}

/** One piece, unpacked. Throws when it is damaged or not of `plainBytes`. */
export function unpackChunk(packed: Uint8Array, packing: Packing, plainBytes: number): Uint8Array {
  const options = { maxOutputLength: plainBytes };
  const plain = packing === 'gzip' ? gunzipSync(packed, options) : zstdDecompressSync(packed, options);
  if (plain.byteLength !== plainBytes)
    throw new Error(`a piece is ${plain.byteLength} bytes long, not ${plainBytes}`);
  return plain;
}

/** Which piece the plain offset lies in. `chunks` is ascending and begins at 0. */
export function chunkAt(chunks: readonly IndexChunk[], plainOffset: number): number {
  let low = 0;
  let high = chunks.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((chunks[middle] as IndexChunk).plainOffset <= plainOffset) low = middle;
    else high = middle - 1;
  }
  return low;
}
