/**
 * Says by its first bytes (never by its name) what a capture is packed with, and puts the right decompressor around its source.
 */
import { readU32 } from '../packet/record.ts';
import type { ByteSource } from './byte-source.ts';
import { ReplayedSource, readFully } from './byte-source.ts';
import type { CaptureRemarks } from './format.ts';
import { LZ4_LEGACY_MAGIC, LZ4_MAGIC, Lz4Source, SKIPPABLE_MAGIC } from './lz4-source.ts';
import { GZIP_MAGIC, ZSTD_MAGIC, ZlibSource } from './zlib-source.ts';

export type Compression = 'none' | 'gzip' | 'zstd' | 'lz4';

const MAGIC_BYTES = 4;

/** Looks at the first four bytes of `source` and returns the source of the unpacked bytes. */
export async function unpack(
  source: ByteSource,
  remarks: CaptureRemarks,
): Promise<{ source: ByteSource; compression: Compression }> {
  const head = new Uint8Array(MAGIC_BYTES);
  const present = await readFully(source, head, 0, MAGIC_BYTES);
  const replayed = new ReplayedSource(head.subarray(0, present), source);
  const compression = compressionOf(head, present);
  switch (compression) {
    case 'none':
      return { source: replayed, compression };
    case 'lz4':
      return { source: new Lz4Source(replayed, remarks), compression };
    default:
      return { source: new ZlibSource(replayed, compression, remarks), compression };
  }
}

function compressionOf(head: Uint8Array, present: number): Compression {
  if (present >= 2 && (readU32(head, 0) & 0xffff) === GZIP_MAGIC) return 'gzip';
  if (present < MAGIC_BYTES) return 'none';
  const magic = readU32(head, 0);
  if (magic === LZ4_MAGIC || magic === LZ4_LEGACY_MAGIC) return 'lz4';
  // Skippable frames belong to both formats; in front of the data only zstd tools (pzstd) put one.
  if (magic === ZSTD_MAGIC || (magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC) return 'zstd';
  return 'none';
}
