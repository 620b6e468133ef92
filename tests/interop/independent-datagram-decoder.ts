/**
 * Reads recorded datagrams of the UDP tunnel with nothing but what docs/protocol.md says, and restores what is missing. It shares no
 * line with Tapline but the decoder of frames beside it.
 */
import { createDecipheriv, hkdfSync } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { decodeStream, type DecodedFrame } from './independent-decoder.ts';

const HEADER_BYTES = 40;
const PREFIX_BYTES = 40;
const CIPHERS = ['none', 'aes-256-gcm', 'chacha20-poly1305'] as const;

export interface DecodedGroup {
  readonly group: number;
  /** Before this group: the last sequence, and the packets up to it. */
  readonly sequence: number;
  readonly packets: number;
  readonly frame: DecodedFrame;
}

interface Shards {
  readonly k: number;
  readonly groupBytes: number;
  readonly byIndex: Map<number, Buffer>;
}

/** All groups that can be restored, in their order. Throws where a datagram breaks a rule of the document. */
export function decodeDatagrams(datagrams: readonly Buffer[], secret: Buffer | null): DecodedGroup[] {
  const groups = new Map<number, Shards>();
  for (const datagram of datagrams) {
    if (datagram.toString('latin1', 0, 4) !== 'TAPD' || datagram[4] !== 1) throw new Error('no datagram');
    const group = datagram.readUIntLE(24, 6);
    const [index = 0, k = 0] = datagram.subarray(36, 38);
    const groupBytes = datagram.readUInt32LE(32);
    const shards = groups.get(group) ?? { k, groupBytes, byIndex: new Map<number, Buffer>() };
    groups.set(group, shards);
    shards.byIndex.set(index, shardOf(datagram, Math.ceil(groupBytes / k), secret));
  }
  return [...groups]
    .sort(([a], [b]) => a - b)
    .filter(([, { k, byIndex }]) => byIndex.size >= k)
    .map(([group, shards]) => {
      const bytes = Buffer.concat(restore(shards)).subarray(0, shards.groupBytes);
      const [frame, ...others] = decodeStream(bytes.subarray(PREFIX_BYTES));
      if (frame === undefined || others.length > 0) throw new Error('a group is one frame');
      return {
        group,
        sequence: Number(bytes.readBigUInt64LE(0)),
        packets: Number(bytes.readBigUInt64LE(8)),
        frame,
      };
    });
}

function shardOf(datagram: Buffer, shardBytes: number, secret: Buffer | null): Buffer {
  const cipher = CIPHERS[datagram[5] ?? 0] ?? 'none';
  const body = datagram.subarray(HEADER_BYTES, HEADER_BYTES + shardBytes);
  if (datagram.length !== HEADER_BYTES + shardBytes + (cipher === 'none' ? 4 : 16)) throw new Error('length');
  if (cipher === 'none') {
    if (crc32(datagram.subarray(0, -4)) !== datagram.readUInt32LE(datagram.length - 4))
      throw new Error('checksum');
    return body;
  }
  const number = datagram.readBigUInt64LE(16);
  const period = Buffer.alloc(4);
  period.writeUInt32LE(Number(number >> 24n));
  const info = Buffer.concat([Buffer.from(`tapline udp 1 ${cipher}`), period]);
  const key = Buffer.from(hkdfSync('sha256', secret ?? Buffer.alloc(0), datagram.subarray(8, 16), info, 32));
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(number);
  // The types know the one cipher under this name; both take a tag and associated data.
  const decipher = createDecipheriv(cipher as 'aes-256-gcm', key, nonce, { authTagLength: 16 });
  decipher.setAAD(datagram.subarray(0, HEADER_BYTES)).setAuthTag(datagram.subarray(-16));
  return Buffer.concat([decipher.update(body), decipher.final()]);
}

/** The data shards: those that came, and the others out of parity by Gaussian elimination. */
function restore({ k, byIndex }: Shards): Buffer[] {
  const chosen = [...byIndex].slice(0, k);
  const rows = chosen.map(([index]) => Array.from({ length: k }, (_, j) => (index < k ? Number(index === j) : inverse(index ^ j)))); // prettier-ignore
  const shards: Buffer[] = chosen.map(([, shard]) => Buffer.from(shard));
  for (let column = 0; column < k; column++) {
    const pivot = rows.findIndex((row, index) => index >= column && row[column] !== 0);
    [rows[column], rows[pivot]] = [rows[pivot] ?? [], rows[column] ?? []];
    [shards[column], shards[pivot]] = [shards[pivot] as Buffer, shards[column] as Buffer];
    const scale = inverse(rows[column]?.[column] ?? 0);
    rows[column] = (rows[column] ?? []).map((value) => multiply(value, scale));
    shards[column] = (shards[column] as Buffer).map((value) => multiply(value, scale)) as Buffer;
    for (let row = 0; row < k; row++) {
      const factor = rows[row]?.[column] ?? 0;
      if (row === column || factor === 0) continue;
      rows[row] = (rows[row] ?? []).map((value, j) => value ^ multiply(factor, rows[column]?.[j] ?? 0));
      shards[row] = (shards[row] as Buffer).map(
        (value, j) => value ^ multiply(factor, shards[column]?.[j] ?? 0),
      ) as Buffer;
    }
  }
  return shards.map((shard) => Buffer.from(shard));
}

/** In GF(2^8) with the polynomial 0x11d. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = a, rest = b; rest > 0; rest >>= 1, bit = (bit << 1) ^ (bit & 0x80 ? 0x11d : 0)) if (rest & 1) product ^= bit; // prettier-ignore
  return product;
}

const INVERSES = Array.from({ length: 256 }, (_, a) => Array.from({ length: 256 }, (__, b) => b).find((b) => multiply(a, b) === 1) ?? 0); // prettier-ignore
function inverse(value: number): number {
  return INVERSES[value] ?? 0;
}
