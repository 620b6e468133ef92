/**
 * Packed segments. Gzip ones can be read in the middle: members of a MiB of plain bytes each, one behind the other, which is one
 * ordinary file to every tool; the index knows where each begins. Zstd ones are smaller, faster to make, and one frame:
 * tshark 4.0 reads the first of several frames and stops without a word, so a reader must begin at the beginning.
 */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, createWriteStream, openSync, readSync, writeSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress, createZstdDecompress, gunzipSync, gzipSync } from 'node:zlib';
import type { IndexChunk } from './segment-index.ts';

export type Packing = 'gzip' | 'zstd';

/** Larger members pack a little better (2 % at 4 MiB), and cost a reader more for the first packet. */
export const CHUNK_PLAIN_BYTES = 1024 * 1024;
const SUFFIXES: Readonly<Record<Packing, string>> = { gzip: '.gz', zstd: '.zst' };
const FILE_MODE = 0o640;

export function packedName(segment: string, packing: Packing): string {
  return segment + SUFFIXES[packing];
}

export interface Packed {
  readonly packing: Packing;
  /** Where to begin; empty for zstd. */
  readonly chunks: readonly IndexChunk[];
  readonly packedBytes: number;
  /** Of the packed file. */
  readonly sha256: string;
}

/**
 * Packs the first `byteLength` bytes of a file into a new one, and unpacks it again to see that it is the same: its SHA-256
 * must be `sha256`. Rejects with what the disk says, and Error.
 */
export async function packFile(
  source: string,
  target: string,
  packing: Packing,
  byteLength: number,
  sha256: string,
): Promise<Packed> {
  if (packing === 'gzip') return packGzip(source, target, byteLength);
  await pipeline(
    createReadStream(source, { end: byteLength - 1 }),
    createZstdCompress(),
    createWriteStream(target, { flags: 'wx', mode: FILE_MODE }),
  );
  const packedHash = createHash('sha256');
  let packedBytes = 0;
  const plainHash = createHash('sha256');
  const packed = createReadStream(target);
  packed.on('data', (chunk) => {
    packedHash.update(chunk);
    packedBytes += chunk.length;
  });
  await pipeline(packed, createZstdDecompress(), plainHash);
  if (plainHash.digest('hex') !== sha256) throw new Error('it does not unpack to what it was');
  return { packing, chunks: [], packedBytes, sha256: packedHash.digest('hex') };
}

async function packGzip(source: string, target: string, byteLength: number): Promise<Packed> {
  const from = openSync(source, 'r');
  let to = -1;
  const chunks: IndexChunk[] = [];
  const hash = createHash('sha256');
  const buffer = new Uint8Array(CHUNK_PLAIN_BYTES);
  let packedBytes = 0;
  try {
    to = openSync(target, 'wx', FILE_MODE);
    for (let plainOffset = 0; plainOffset < byteLength; plainOffset += CHUNK_PLAIN_BYTES) {
      const wanted = Math.min(CHUNK_PLAIN_BYTES, byteLength - plainOffset);
      const plain = buffer.subarray(0, wanted);
      if (readSync(from, plain, 0, wanted, plainOffset) < wanted) throw new Error('it became shorter');
      const packed = gzipSync(plain);
      if (Buffer.compare(unpackMember(packed, wanted), plain) !== 0)
        throw new Error('it does not unpack to what it was');
      chunks.push({ plainOffset, packedOffset: packedBytes });
      for (let at = 0; at < packed.byteLength;)
        at += writeSync(to, packed, at, packed.byteLength - at, packedBytes + at);
      hash.update(packed);
      packedBytes += packed.byteLength;
      // A turn for whatever else the thread has to do: a member takes 20 ms.
      await new Promise(setImmediate);
    }
  } finally {
    closeSync(from);
    if (to >= 0) closeSync(to);
  }
  return { packing: 'gzip', chunks, packedBytes, sha256: hash.digest('hex') };
}

/** One gzip member, unpacked. Throws when it is damaged or not of `plainBytes`. */
export function unpackMember(packed: Uint8Array, plainBytes: number): Uint8Array {
  const plain = gunzipSync(packed, { maxOutputLength: plainBytes });
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
