/**
 * The index of one segment, `<segment>.idx`: which hosts, ports, protocols, MACs and VLANs are in which of its blocks, and which
 * time each block covers. A reader that looks for a host in five minutes reads a few blocks of a file instead of the file.
 *
 * A block is about 64 KiB of whole records. The index covers the first `coveredBytes` of the segment; what lies behind
 * them (the segment still grows, or its index was lost) is read without one. It says what *may* be in a block, never
 * what is: every packet is matched again when it is read.
 *
 *   offset  size  field            meaning (little-endian)
 *        0     8  magic            TAPLIDX1
 *        8     4  linkType         LINKTYPE_ value
 *       12     1  precision        0 ns, 1 µs
 *       13     1  isOverfull       1: more keys than KEYS_MAX; blocks then say nothing about hosts, ports and so on
 *       14     2  —
 *       16     8  coveredBytes     length of the segment that is covered, file header included
 *       24     8  packets
 *       32     4  × 6 key counts   IPv4, IPv6, MAC, ports, protocols, VLANs
 *       56     4  blockCount
 *       60     4  chunkCount
 *       64     …  keys             4, 16, 6, 4 (protocol << 16 | port), 4 and 4 bytes each; a key's number is its place in all of them
 *        …     …  chunks           8 plain offset, 8 packed offset: where the pieces of a packed segment begin
 *        …     …  blocks           varints: bytes, packets, seconds since the block before, nanoseconds, seconds it lasts,
 *                                  nanoseconds of its last packet, key count, keys as ascending differences
 *        …     4  checksum         CRC-32 of everything before
 */
import { crc32 } from 'node:zlib';
import { PCAP_INDEX_BYTES_MAX, readVarint, type Cursor } from './varint.ts';

export const INDEX_MAGIC = 'TAPLIDX1';
export const KEYS_MAX = 65_536;
const HEADER_BYTES = 64;
const CHUNK_BYTES = 16;
/** Of each kind of key, in the order in which they lie in the file. */
export const KEY_KINDS = ['ipv4', 'ipv6', 'mac', 'port', 'protocol', 'vlan'] as const;
export type KeyKind = (typeof KEY_KINDS)[number];
const KEY_BYTES: Readonly<Record<KeyKind, number>> = {
  ipv4: 4,
  ipv6: 16,
  mac: 6,
  port: 4,
  protocol: 4,
  vlan: 4,
};

export interface IndexBlock {
  /** Where its first record begins, in the segment's plain bytes. */
  readonly offset: number;
  readonly bytes: number;
  readonly packets: number;
  readonly firstSeconds: number;
  readonly firstNanoseconds: number;
  readonly lastSeconds: number;
  readonly lastNanoseconds: number;
  /** Numbers of the keys that occur in it, ascending. */
  readonly keys: Uint32Array;
}

/** A piece of a packed segment that can be unpacked by itself. */
export interface IndexChunk {
  readonly plainOffset: number;
  readonly packedOffset: number;
}

export interface SegmentIndex {
  readonly linkType: number;
  readonly precision: 'ns' | 'us';
  readonly isOverfull: boolean;
  readonly coveredBytes: number;
  readonly packets: number;
  /** Of each kind the keys one behind the other, as many bytes each as KEY_BYTES says. */
  readonly keys: Readonly<Record<KeyKind, Uint8Array>>;
  readonly blocks: readonly IndexBlock[];
  readonly chunks: readonly IndexChunk[];
}

/** The number of a kind's first key. */
export function firstKey(index: Pick<SegmentIndex, 'keys'>, kind: KeyKind): number {
  let first = 0;
  for (const other of KEY_KINDS) {
    if (other === kind) return first;
    first += index.keys[other].byteLength / KEY_BYTES[other];
  }
  return first;
}

/** Numbers of the keys of a kind that `isWanted`, which is shown where each begins. */
export function keysWhere(
  index: Pick<SegmentIndex, 'keys'>,
  kind: KeyKind,
  isWanted: (keys: Uint8Array, at: number) => boolean,
): number[] {
  const keys = index.keys[kind];
  const size = KEY_BYTES[kind];
  const first = firstKey(index, kind);
  const found: number[] = [];
  for (let at = 0; at < keys.byteLength; at += size) if (isWanted(keys, at)) found.push(first + at / size);
  return found;
}

/** The bytes of a `.idx` file. */
export function encodeIndex(index: SegmentIndex): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(INDEX_MAGIC, 'latin1');
  header.writeUInt32LE(index.linkType, 8);
  header[12] = index.precision === 'us' ? 1 : 0;
  header[13] = index.isOverfull ? 1 : 0;
  header.writeBigUInt64LE(BigInt(index.coveredBytes), 16);
  header.writeBigUInt64LE(BigInt(index.packets), 24);
  for (const [place, kind] of KEY_KINDS.entries())
    header.writeUInt32LE(index.keys[kind].byteLength / KEY_BYTES[kind], 32 + 4 * place);
  header.writeUInt32LE(index.blocks.length, 56);
  header.writeUInt32LE(index.chunks.length, 60);
  const chunks = Buffer.alloc(index.chunks.length * CHUNK_BYTES);
  for (const [place, { plainOffset, packedOffset }] of index.chunks.entries()) {
    chunks.writeBigUInt64LE(BigInt(plainOffset), place * CHUNK_BYTES);
    chunks.writeBigUInt64LE(BigInt(packedOffset), place * CHUNK_BYTES + 8);
  }
  const body = Buffer.concat([
    header,
    ...KEY_KINDS.map((kind) => index.keys[kind]),
    chunks,
    encodeBlocks(index.blocks),
  ]);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(body));
  return Buffer.concat([body, checksum]);
}

function encodeBlocks(blocks: readonly IndexBlock[]): Uint8Array {
  const out: number[] = [];
  let seconds = 0;
  for (const block of blocks) {
    pushVarint(out, block.bytes);
    pushVarint(out, block.packets);
    // Segments are in order, but for what others may have left there: then the difference wraps, and unwraps again.
    pushVarint(out, (block.firstSeconds - seconds) >>> 0);
    pushVarint(out, block.firstNanoseconds);
    pushVarint(out, (block.lastSeconds - block.firstSeconds) >>> 0);
    pushVarint(out, block.lastNanoseconds);
    pushVarint(out, block.keys.length);
    let before = 0;
    for (const key of block.keys) {
      pushVarint(out, key - before);
      before = key;
    }
    seconds = block.firstSeconds;
  }
  return Uint8Array.from(out);
}

function pushVarint(out: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
}

/** Takes a `.idx` file apart. `null` for anything that is not one, whole and consistent: then the segment is read without. */
export function decodeIndex(bytes: Uint8Array): SegmentIndex | null {
  if (bytes.byteLength < HEADER_BYTES + 4 || bytes.byteLength > PCAP_INDEX_BYTES_MAX) return null;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bodyBytes = bytes.byteLength - 4;
  if (buffer.toString('latin1', 0, 8) !== INDEX_MAGIC) return null;
  if (crc32(buffer.subarray(0, bodyBytes)) !== buffer.readUInt32LE(bodyBytes)) return null;
  const coveredBytes = Number(buffer.readBigUInt64LE(16));
  const packets = Number(buffer.readBigUInt64LE(24));
  const blockCount = buffer.readUInt32LE(56);
  const chunkCount = buffer.readUInt32LE(60);
  let at = HEADER_BYTES;
  const keys = {} as Record<KeyKind, Uint8Array>;
  let keyCount = 0;
  for (const [place, kind] of KEY_KINDS.entries()) {
    const count = buffer.readUInt32LE(32 + 4 * place);
    const end = at + count * KEY_BYTES[kind];
    if (end > bodyBytes) return null;
    keys[kind] = bytes.subarray(at, end);
    keyCount += count;
    at = end;
  }
  if (at + chunkCount * CHUNK_BYTES > bodyBytes) return null;
  const chunks: IndexChunk[] = [];
  for (let i = 0; i < chunkCount; i++, at += CHUNK_BYTES)
    chunks.push({
      plainOffset: Number(buffer.readBigUInt64LE(at)),
      packedOffset: Number(buffer.readBigUInt64LE(at + 8)),
    });
  const blocks = decodeBlocks({ bytes, at, end: bodyBytes }, blockCount, keyCount);
  if (blocks === null) return null;
  const last = blocks.at(-1);
  if (last !== undefined && last.offset + last.bytes !== coveredBytes) return null;
  return {
    linkType: buffer.readUInt32LE(8),
    precision: buffer[12] === 1 ? 'us' : 'ns',
    isOverfull: buffer[13] === 1,
    coveredBytes,
    packets,
    keys,
    blocks,
    chunks,
  };
}

function decodeBlocks(cursor: Cursor, blockCount: number, keyCount: number): IndexBlock[] | null {
  const blocks: IndexBlock[] = [];
  let offset = 24;
  let seconds = 0;
  for (let i = 0; i < blockCount; i++) {
    const bytes = readVarint(cursor);
    const packets = readVarint(cursor);
    const firstSeconds = (seconds + readVarint(cursor)) >>> 0;
    const firstNanoseconds = readVarint(cursor);
    const lastSeconds = (firstSeconds + readVarint(cursor)) >>> 0;
    const lastNanoseconds = readVarint(cursor);
    const count = readVarint(cursor);
    // Every key takes a byte at least: a count beyond the rest is a lie, found before memory is taken for it.
    if (cursor.at > cursor.end || count > cursor.end - cursor.at) return null;
    const keys = new Uint32Array(count);
    let key = 0;
    for (let k = 0; k < count; k++) {
      key += readVarint(cursor);
      if (key >= keyCount) return null;
      keys[k] = key;
    }
    blocks.push({
      offset,
      bytes,
      packets,
      firstSeconds,
      firstNanoseconds,
      lastSeconds,
      lastNanoseconds,
      keys,
    });
    offset += bytes;
    seconds = firstSeconds;
  }
  return cursor.at === cursor.end ? blocks : null;
}
