/**
 * The datagram of the one-way tunnel: one shard of one group. Nothing ever answers it, so it says everything that its
 * receiver must know to find its place, to check it and to refuse it.
 *
 *   offset  size  field         meaning
 *        0     4  magic         "TAPD": 54 41 50 44
 *        4     1  version       1
 *        5     1  cipher        0 none, 1 AES-256-GCM, 2 ChaCha20-Poly1305
 *        6     2  keyId         which key it is sealed with; 0 with cipher 0
 *        8     8  epoch         one life of the sender: the upper 32 bits are the unix second of its start, the lower are random
 *       16     8  number        of the datagram, from 0, one up with each: nonce and replay window. Below 2^53
 *       24     6  group         which group the shard belongs to, from 1
 *       30     2  following     datagrams of the same block that are sent after this one
 *       32     4  groupBytes    length of the group: its prefix and frame (`datagram-group.ts`)
 *       36     1  shard         0 … dataShards - 1 data, from there on parity
 *       37     1  dataShards    k, at least 1
 *       38     1  parityShards  m; k + m is at most 255
 *       39     1  flags         0; a receiver ignores it
 *       40     n  shard         n = ⌈groupBytes / dataShards⌉; the last data shards are filled up with zeros
 *     40+n     4  checksum      cipher 0: CRC-32 (as in the frame) of all bytes before
 *     40+n    16  tag           ciphers 1 and 2: the shard is encrypted, the header authenticated
 *
 * All integers are unsigned and little-endian. A *block* is what the sender interleaves: `number + following` is the number
 * of the block's last datagram, by which a receiver knows when no more of a group can come, however slow the link is.
 *
 * Decoding is total: whatever the bytes, the answer is a header or the word for what is wrong.
 */
import { crc32 } from 'node:zlib';
import { readU32, writeU32 } from '../packet/record.ts';
import { BATCH_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES } from './frame.ts';
import { SHARDS_MAX } from './reed-solomon.ts';

export const DATAGRAM_HEADER_BYTES = 40;
export const DATAGRAM_VERSION = 1;
/** "TAPD" read as a little-endian u32. */
export const DATAGRAM_MAGIC = 0x44504154;

export const CIPHER_NONE = 0;
export const CIPHER_AES_256_GCM = 1;
export const CIPHER_CHACHA20_POLY1305 = 2;

export const CHECKSUM_BYTES = 4;
export const TAG_BYTES = 16;

/** What stands before the frame in a group (`datagram-group.ts`). */
export const GROUP_PREFIX_BYTES = 40;
export const GROUP_BYTES_MIN = GROUP_PREFIX_BYTES + FRAME_HEADER_BYTES;
export const GROUP_BYTES_MAX = GROUP_BYTES_MIN + BATCH_PAYLOAD_BYTES_MAX;

const TWO_POW_32 = 0x1_0000_0000;
const NUMBER_HIGH_MAX = 0x20_0000;

export interface DatagramHeader {
  readonly cipher: number;
  readonly keyId: number;
  /** Unix second of the sender's start: the upper half of the epoch. */
  readonly epochSeconds: number;
  readonly epochRandom: number;
  readonly number: number;
  readonly group: number;
  readonly following: number;
  readonly groupBytes: number;
  readonly shard: number;
  readonly dataShards: number;
  readonly parityShards: number;
}

/** Why bytes are no datagram. */
export type DatagramFault =
  | 'magic' // something else
  | 'version' // of the future
  | 'header' // values that cannot be
  | 'length'; // cut short, or too long

/** What follows the shard. */
export function trailerBytes(cipher: number): number {
  return cipher === CIPHER_NONE ? CHECKSUM_BYTES : TAG_BYTES;
}

/** Bytes of each shard of a group. */
export function shardBytesOf(groupBytes: number, dataShards: number): number {
  return Math.ceil(groupBytes / dataShards);
}

/** An epoch as it stands in HELLO and in the gap list: 16 hex digits. */
export function epochText(epochSeconds: number, epochRandom: number): string {
  return epochSeconds.toString(16).padStart(8, '0') + epochRandom.toString(16).padStart(8, '0');
}

/** Writes the first DATAGRAM_HEADER_BYTES. */
export function writeDatagramHeader(bytes: Uint8Array, header: DatagramHeader): void {
  writeU32(bytes, 0, DATAGRAM_MAGIC);
  writeU32(bytes, 4, DATAGRAM_VERSION | (header.cipher << 8) | (header.keyId << 16));
  writeU32(bytes, 8, header.epochRandom);
  writeU32(bytes, 12, header.epochSeconds);
  writeU32(bytes, 16, header.number % TWO_POW_32);
  writeU32(bytes, 20, Math.floor(header.number / TWO_POW_32));
  writeU32(bytes, 24, header.group % TWO_POW_32);
  writeU32(bytes, 28, Math.floor(header.group / TWO_POW_32) | (header.following << 16));
  writeU32(bytes, 32, header.groupBytes);
  writeU32(bytes, 36, header.shard | (header.dataShards << 8) | (header.parityShards << 16));
}

/** Whether these bytes claim to be a datagram of the tunnel. */
export function isTunnelDatagram(bytes: Uint8Array): boolean {
  return bytes.byteLength >= 4 && readU32(bytes, 0) === DATAGRAM_MAGIC;
}

/** The header of a datagram whose lengths fit, or what is wrong. Checksum and tag are not looked at. */
export function readDatagramHeader(bytes: Uint8Array): DatagramHeader | DatagramFault {
  if (!isTunnelDatagram(bytes)) return 'magic';
  if (bytes.byteLength < DATAGRAM_HEADER_BYTES) return 'length';
  if (bytes[4] !== DATAGRAM_VERSION) return 'version';
  const header = {
    cipher: bytes[5] as number,
    keyId: (bytes[6] as number) | ((bytes[7] as number) << 8),
    epochSeconds: readU32(bytes, 12),
    epochRandom: readU32(bytes, 8),
    number: readU32(bytes, 16) + readU32(bytes, 20) * TWO_POW_32,
    group: readU32(bytes, 24) + (readU32(bytes, 28) & 0xffff) * TWO_POW_32,
    following: readU32(bytes, 28) >>> 16,
    groupBytes: readU32(bytes, 32),
    shard: bytes[36] as number,
    dataShards: bytes[37] as number,
    parityShards: bytes[38] as number,
  };
  const { groupBytes, dataShards, shard, parityShards, cipher } = header;
  const shards = dataShards + parityShards;
  if (
    cipher > CIPHER_CHACHA20_POLY1305 ||
    readU32(bytes, 20) >= NUMBER_HIGH_MAX ||
    header.group === 0 ||
    dataShards === 0 ||
    shards > SHARDS_MAX ||
    shard >= shards ||
    groupBytes < GROUP_BYTES_MIN ||
    groupBytes > GROUP_BYTES_MAX
  )
    return 'header';
  const expected = DATAGRAM_HEADER_BYTES + shardBytesOf(groupBytes, dataShards) + trailerBytes(cipher);
  return bytes.byteLength === expected ? header : 'length';
}

/** Completes a datagram of cipher 0 in place. */
export function writeDatagramChecksum(bytes: Uint8Array): void {
  const end = bytes.byteLength - CHECKSUM_BYTES;
  writeU32(bytes, end, crc32(bytes.subarray(0, end)));
}

/** The shard of a datagram of cipher 0, as a view; null when the checksum is wrong. */
export function openChecksummed(bytes: Uint8Array): Uint8Array | null {
  const end = bytes.byteLength - CHECKSUM_BYTES;
  return readU32(bytes, end) === crc32(bytes.subarray(0, end))
    ? bytes.subarray(DATAGRAM_HEADER_BYTES, end)
    : null;
}
