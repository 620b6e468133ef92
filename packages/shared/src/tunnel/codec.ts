/**
 * The codecs of a BATCH's records: one call in, one call out, each bounded before it spends memory.
 *
 *   number  name  bytes on the wire
 *        0  none  the records
 *        1  zstd  one zstd frame (RFC 8878), window at most 8 MiB
 *        2  lz4   the plain length as u32, then one LZ4 block (not the LZ4 frame format)
 *
 * Decoding trusts nothing: a declared length is a promise that must be kept to the byte.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { compressSync, uncompressSync } from 'lz4-napi';
import { messageOf } from '../base/errors.ts';
import { readU32 } from '../packet/record.ts';
import { CODEC_LZ4, CODEC_NONE, CODEC_ZSTD, broken } from './frame.ts';

export type CodecName = 'none' | 'zstd' | 'lz4';

/** In the order in which a forwarder falls back, by measurement: see docs/protocol.md, "Codecs". */
export const CODEC_NAMES: readonly CodecName[] = ['zstd', 'lz4', 'none'];
export const CODEC_DEFAULT: CodecName = 'zstd';

const NUMBERS: Readonly<Record<CodecName, number>> = { none: CODEC_NONE, zstd: CODEC_ZSTD, lz4: CODEC_LZ4 };

/** Level 1: the higher ones cost more time than they save bytes on OT traffic. */
const ZSTD_LEVEL = 1;
/** 2^23 = 8 MiB, what RFC 8878 asks of every decoder. Without it a 20-byte frame may claim 128 MiB of window. */
const ZSTD_WINDOW_LOG_MAX = 23;
const ZSTD_ENCODE = { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } };
const ZSTD_DECODE = { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX };
const LZ4_LENGTH_BYTES = 4;

export function codecNumber(name: CodecName): number {
  return NUMBERS[name];
}

/**
 * Compresses, or returns null where the codec is `none` or does not shrink the bytes: then they are sent as they are.
 */
export function compress(codec: CodecName, plain: Uint8Array): Uint8Array | null {
  if (codec === 'none' || plain.byteLength === 0) return null;
  const packed = codec === 'zstd' ? zstdCompressSync(plain, ZSTD_ENCODE) : compressSync(asBuffer(plain));
  return packed.byteLength < plain.byteLength ? packed : null;
}

/**
 * Restores exactly `plainBytes` bytes; the caller has bounded that number. With codec 0 the result is `packed` itself.
 * Throws `OperatingError('TUNNEL_PROTOCOL')`, reason `codec`, on anything else.
 */
export function decompress(codec: number, packed: Uint8Array, plainBytes: number): Uint8Array {
  const plain = decompressed(codec, packed, plainBytes);
  if (plain.byteLength !== plainBytes)
    throw broken('codec', 'a batch is not as long as its header says', {
      plainBytes,
      found: plain.byteLength,
    });
  return plain;
}

function decompressed(codec: number, packed: Uint8Array, plainBytes: number): Uint8Array {
  if (codec === CODEC_NONE) return packed;
  // lz4-napi allocates what the block's own length field says: it must say what we allowed.
  if (codec === CODEC_LZ4 && (packed.byteLength < LZ4_LENGTH_BYTES || readU32(packed, 0) !== plainBytes))
    throw broken('codec', 'the length inside an LZ4 block contradicts the header', { plainBytes });
  try {
    if (codec === CODEC_LZ4) return uncompressSync(packed);
    // maxOutputLength 0 would be refused as an argument; a single byte too many fails the check above.
    return zstdDecompressSync(packed, { maxOutputLength: Math.max(plainBytes, 1), params: ZSTD_DECODE });
  } catch (error) {
    throw broken('codec', `a batch cannot be decompressed: ${messageOf(error)}`, { codec, plainBytes });
  }
}

/** lz4-napi types its argument as Buffer; this is a view, not a copy. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
