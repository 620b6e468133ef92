/**
 * Reads a recorded tunnel stream with nothing but what docs/protocol.md says: it shares no line with Tapline. Where it and
 * the product disagree, one of them or the document is wrong.
 */
import { crc32, zstdDecompressSync } from 'node:zlib';

export interface DecodedFrame {
  readonly type: number;
  readonly lane: number;
  readonly sequence: number;
  /** The message of every type but BATCH and ACK. */
  readonly message: Readonly<Record<string, unknown>> | null;
  readonly packets: readonly DecodedPacket[];
}

export interface DecodedPacket {
  readonly linkType: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly originalBytes: number;
  readonly frame: Buffer;
}

const MAGIC = Buffer.from('TAPL');
const BATCH = 3;
const ACK = 5;
const ANSWER = 12;

/** All frames of one direction. Throws where the bytes break a rule of the document. */
export function decodeStream(stream: Buffer): DecodedFrame[] {
  const frames: DecodedFrame[] = [];
  let offset = 0;
  while (offset < stream.length) {
    const header = stream.subarray(offset, offset + 32);
    if (header.length < 32 || !header.subarray(0, 4).equals(MAGIC) || header[4] !== 1)
      throw new Error(`no frame at ${offset}`);
    const [type = 0, codec = 0, lane = 0] = header.subarray(5, 8);
    const wireBytes = header.readUInt32LE(8);
    const plainBytes = header.readUInt32LE(12);
    if (wireBytes > plainBytes || plainBytes > (type === BATCH ? 1_048_600 : 65_536))
      throw new Error(`impossible lengths at ${offset}`);
    if (codec === 0 ? wireBytes !== plainBytes : type !== BATCH) throw new Error(`codec at ${offset}`);
    const payload = stream.subarray(offset + 32, offset + 32 + wireBytes);
    if (payload.length < wireBytes) throw new Error(`the stream ends inside the frame at ${offset}`);
    if (crc32(payload, crc32(header.subarray(0, 28))) !== header.readUInt32LE(28))
      throw new Error(`checksum at ${offset}`);
    const sequence = Number(header.readBigUInt64LE(16));
    const isMessage = type !== BATCH && type !== ACK && type !== ANSWER;
    const packets = type === BATCH ? decodeBatch(payload, codec, plainBytes) : [];
    if (packets.length !== header.readUInt32LE(24)) throw new Error(`packet count at ${offset}`);
    const message = isMessage ? (JSON.parse(payload.toString()) as Record<string, unknown>) : null;
    frames.push({ type, lane, sequence, message, packets });
    offset += 32 + wireBytes;
  }
  return frames;
}

function decodeBatch(payload: Buffer, codec: number, plainBytes: number): DecodedPacket[] {
  const linkType = payload.readUInt16LE(0);
  const records = plainRecords(payload.subarray(24), codec);
  if (records.length !== plainBytes - 24) throw new Error('a batch is not as long as it says');
  const packets: DecodedPacket[] = [];
  let offset = 0;
  while (offset < records.length) {
    const capturedBytes = records.readUInt32LE(offset + 8);
    const end = offset + 16 + capturedBytes;
    if (end > records.length) throw new Error('a record leaves its batch');
    packets.push({
      linkType,
      seconds: records.readUInt32LE(offset),
      nanoseconds: records.readUInt32LE(offset + 4),
      originalBytes: records.readUInt32LE(offset + 12),
      frame: records.subarray(offset + 16, end),
    });
    offset = end;
  }
  return packets;
}

function plainRecords(bytes: Buffer, codec: number): Buffer {
  if (codec === 0) return bytes;
  if (codec === 1) return zstdDecompressSync(bytes);
  return lz4Block(bytes.subarray(4), bytes.readUInt32LE(0));
}

/** One LZ4 block: literals, then copies of what was written before. */
function lz4Block(block: Buffer, plainBytes: number): Buffer {
  const plain = Buffer.alloc(plainBytes);
  let at = 0;
  let to = 0;
  const length = (nibble: number): number => {
    let total = nibble;
    if (nibble === 15) for (let next = 255; next === 255; total += next) next = block[at++] ?? 0;
    return total;
  };
  while (at < block.length) {
    const token = block[at++] ?? 0;
    const literals = length(token >> 4);
    to += block.copy(plain, to, at, (at += literals));
    if (at >= block.length) break;
    const distance = block.readUInt16LE(at);
    at += 2;
    for (let left = length(token & 15) + 4; left > 0; left--, to++) plain[to] = plain[to - distance] ?? 0;
  }
  return plain;
}
