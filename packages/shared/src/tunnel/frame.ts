/**
 * The tunnel frame: everything that passes between a forwarder and a collector is one of these, on TCP, in the spool
 * and over UDP. It stands for itself: type, length, codec, sequence and checksum are in its header, so it can be
 * stored, dropped, counted and sent again without being opened.
 *
 *   offset  size  field        meaning
 *        0     4  magic        "TAPL": 54 41 50 4c
 *        4     1  version      1
 *        5     1  type         FRAME_ below; unknown ones are skipped and counted, that is how the protocol grows
 *        6     1  codec        0 none, 1 zstd, 2 LZ4 block: of a BATCH's records; 0 for every other type
 *        7     1  lane         BATCH, GAP, ACK: which of the sensor's lanes the sequence belongs to. Else 0
 *        8     4  wireBytes    length of the payload that follows, at most the limit of its type
 *       12     4  plainBytes   length of the payload were it not compressed; never less than wireBytes
 *       16     8  sequence     BATCH, GAP: its number in the lane's epoch, from 1. ACK: the last durable one. Else 0
 *       24     4  packetCount  BATCH: records in it. Else 0
 *       28     4  checksum     CRC-32 (IEEE 802.3, as in zlib) of header bytes 0–27 and the payload as sent
 *       32     n  payload
 *
 * All integers are unsigned and little-endian, as in the records inside. A sequence beyond 2^53 - 1 is an error: at a
 * million batches a second that is 285 years.
 */
import { crc32 } from 'node:zlib';
import { assert } from '../base/assert.ts';
import { OperatingError } from '../base/errors.ts';
import { BATCH_BYTES_MAX } from '../packet/batch.ts';
import { readU32, writeU32 } from '../packet/record.ts';

export const FRAME_HEADER_BYTES = 32;
export const PROTOCOL_VERSION = 1;
/** "TAPL" read as a little-endian u32. */
export const FRAME_MAGIC = 0x4c504154;

export const FRAME_HELLO = 1;
export const FRAME_WELCOME = 2;
export const FRAME_BATCH = 3;
export const FRAME_GAP = 4;
export const FRAME_ACK = 5;
export const FRAME_REPORT = 6;
export const FRAME_HEARTBEAT = 7;
export const FRAME_REFUSE = 8;
export const FRAME_BYE = 9;
export const FRAME_LANE = 10;
export const FRAME_QUERY = 11;
export const FRAME_ANSWER = 12;
export const FRAME_ANSWERED = 13;
export const FRAME_CREDIT = 14;
/** Types from 1 to here are this version's; what lies beyond is skipped. */
export const FRAME_TYPE_LAST = FRAME_CREDIT;

const TYPE_NAMES = [
  '',
  'HELLO',
  'WELCOME',
  'BATCH',
  'GAP',
  'ACK',
  'REPORT',
  'HEARTBEAT',
  'REFUSE',
  'BYE',
  'LANE',
  'QUERY',
  'ANSWER',
  'ANSWERED',
  'CREDIT',
] as const;

export const CODEC_NONE = 0;
export const CODEC_ZSTD = 1;
export const CODEC_LZ4 = 2;
const CODEC_LAST = CODEC_LZ4;

/** The part of a BATCH's payload that is never compressed (`packet-batch.ts`). */
export const BATCH_PREFIX_BYTES = 24;
/** Largest payload of a BATCH, plain or on the wire: 24 + 1 MiB. */
export const BATCH_PAYLOAD_BYTES_MAX = BATCH_PREFIX_BYTES + BATCH_BYTES_MAX;
/** Largest payload of every other type, unknown ones too. */
export const CONTROL_PAYLOAD_BYTES_MAX = 64 * 1024;

/** Lanes are numbered from 0 to here. */
export const LANE_LAST = 255;

const CHECKSUM = 28;

/** A frame as received. `payload` is lent: valid until the decoder that gave it is used again. */
export interface Frame {
  readonly type: number;
  readonly codec: number;
  readonly plainBytes: number;
  readonly sequence: number;
  readonly packetCount: number;
  readonly lane: number;
  /** As it came: a BATCH's records may be compressed. */
  readonly payload: Uint8Array;
}

export interface FrameHeader {
  readonly type: number;
  readonly codec: number;
  readonly plainBytes: number;
  readonly sequence: number;
  readonly packetCount: number;
  readonly lane: number;
}

/** `BATCH`, or `type 77` for one that this version does not know. */
export function frameTypeName(type: number): string {
  const name = type === 0 ? undefined : TYPE_NAMES[type];
  return name ?? `type ${String(type)}`;
}

/** The largest payload a frame of this type may have. */
export function payloadBytesMax(type: number): number {
  return type === FRAME_BATCH ? BATCH_PAYLOAD_BYTES_MAX : CONTROL_PAYLOAD_BYTES_MAX;
}

/**
 * Completes a frame in place: `frame` is header and payload in one buffer, the payload already at FRAME_HEADER_BYTES.
 * Built so, a batch is copied once on its way from the ring to the socket.
 */
export function sealFrame(frame: Uint8Array, header: FrameHeader): void {
  const wireBytes = frame.byteLength - FRAME_HEADER_BYTES;
  assert(
    wireBytes >= 0 && wireBytes <= payloadBytesMax(header.type),
    'payload exceeds the limit of its type',
  );
  assert(Number.isSafeInteger(header.sequence) && header.sequence >= 0, 'sequence is not a safe integer');
  writeU32(frame, 0, FRAME_MAGIC);
  frame[4] = PROTOCOL_VERSION;
  frame[5] = header.type;
  frame[6] = header.codec;
  frame[7] = header.lane;
  writeU32(frame, 8, wireBytes);
  writeU32(frame, 12, header.plainBytes);
  writeU32(frame, 16, header.sequence % 0x1_0000_0000);
  writeU32(frame, 20, Math.floor(header.sequence / 0x1_0000_0000));
  writeU32(frame, 24, header.packetCount);
  writeU32(frame, CHECKSUM, frameChecksum(frame));
}

/** A whole frame around a small, uncompressed payload. */
export function encodeFrame(type: number, sequence: number, payload: Uint8Array, lane = 0): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.byteLength);
  frame.set(payload, FRAME_HEADER_BYTES);
  const plainBytes = payload.byteLength;
  sealFrame(frame, { type, codec: CODEC_NONE, plainBytes, sequence, packetCount: 0, lane });
  return frame;
}

/**
 * Checks what a header alone can tell and returns the length of the whole frame, so that nothing is allocated for a
 * lie. Throws `OperatingError('TUNNEL_PROTOCOL')` with `context.reason` magic | version | length | codec | sequence.
 */
export function frameBytesOf(header: Uint8Array, offset: number): number {
  const magic = readU32(header, offset);
  if (magic !== FRAME_MAGIC) throw broken('magic', 'the bytes are no tunnel frame', { magic });
  const version = header[offset + 4] as number;
  if (version !== PROTOCOL_VERSION)
    throw broken('version', `protocol version ${String(version)} is not spoken here`, { version });
  const type = header[offset + 5] as number;
  const codec = header[offset + 6] as number;
  const wireBytes = readU32(header, offset + 8);
  const plainBytes = readU32(header, offset + 12);
  const limit = payloadBytesMax(type);
  // wireBytes <= plainBytes: a batch that does not shrink is sent with codec 0. So one limit bounds both.
  if (plainBytes > limit || wireBytes > plainBytes)
    throw broken('length', `the lengths of a ${frameTypeName(type)} are impossible`, {
      wireBytes,
      plainBytes,
    });
  if (codec > CODEC_LAST || (codec === CODEC_NONE ? wireBytes !== plainBytes : type !== FRAME_BATCH))
    throw broken('codec', `the codec of a ${frameTypeName(type)} is impossible`, {
      codec,
      wireBytes,
      plainBytes,
    });
  if (type === FRAME_BATCH && wireBytes < BATCH_PREFIX_BYTES)
    throw broken('length', 'a BATCH is shorter than its prefix', { wireBytes });
  if (readU32(header, offset + 20) >= 0x20_0000)
    throw broken('sequence', 'a sequence is beyond 2^53 - 1', {});
  return FRAME_HEADER_BYTES + wireBytes;
}

/**
 * Opens a complete frame whose header passed `frameBytesOf`: checks the checksum and gives its fields with a view of
 * its payload. Throws `OperatingError('TUNNEL_PROTOCOL')`, reason `checksum`.
 */
export function openFrame(frame: Uint8Array): Frame {
  const declared = readU32(frame, CHECKSUM);
  const computed = frameChecksum(frame);
  const type = frame[5] as number;
  if (declared !== computed)
    throw broken('checksum', `the checksum of a ${frameTypeName(type)} is wrong`, { declared, computed });
  return {
    type,
    codec: frame[6] as number,
    plainBytes: readU32(frame, 12),
    sequence: readU32(frame, 16) + readU32(frame, 20) * 0x1_0000_0000,
    packetCount: readU32(frame, 24),
    lane: frame[7] as number,
    payload: frame.subarray(FRAME_HEADER_BYTES),
  };
}

/** The peer broke the protocol: what, in one closed word and a sentence. */
export function broken(reason: string, sentence: string, facts: Record<string, unknown>): OperatingError {
  return new OperatingError('TUNNEL_PROTOCOL', sentence, { reason, ...facts });
}

function frameChecksum(frame: Uint8Array): number {
  return crc32(frame.subarray(FRAME_HEADER_BYTES), crc32(frame.subarray(0, CHECKSUM)));
}
