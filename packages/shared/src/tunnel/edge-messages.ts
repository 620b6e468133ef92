/**
 * Queries to a forwarder's own archive, and their answers, in the connection that the forwarder opened itself.
 *
 *   QUERY     collector → forwarder   JSON: id, query, linkType, skip
 *   CREDIT    collector → forwarder   JSON: id, bytes: so many plain bytes more may be sent; 0: forget the query
 *   ANSWER    forwarder → collector   packets, see below
 *   ANSWERED  forwarder → collector   JSON: id, packets, and `error` when something went wrong
 *
 * An ANSWER's payload (little-endian):
 *
 *   offset  size  field       meaning
 *        0     4  id          of the query
 *        4     4  packets     records in it
 *        8     4  plainBytes  of the records, at most ANSWER_PLAIN_BYTES_MAX
 *       12     2  linkType    LINKTYPE_ value of all packets of the query
 *       14     2  codec       0 plain, 1 zstd
 *       16     …  records     as in a BATCH: nanoseconds, whole
 */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { z } from 'zod';
import { countRecords } from '../packet/batch.ts';
import { readU32, writeU32 } from '../packet/record.ts';
import {
  CONTROL_PAYLOAD_BYTES_MAX,
  FRAME_ANSWER,
  FRAME_ANSWERED,
  FRAME_CREDIT,
  FRAME_QUERY,
  broken,
  encodeFrame,
  frameTypeName,
  type Frame,
} from './frame.ts';

const PREFIX_BYTES = 16;
/** One packet may be longer than a frame's payload: such a one is left out of answers, and said. */
export const ANSWER_PLAIN_BYTES_MAX = CONTROL_PAYLOAD_BYTES_MAX - PREFIX_BYTES - 1024;

const id = z.int().min(1).max(0xffff_ffff);
const count = z.int().nonnegative();
const query = z.object({
  id,
  /** As `querySchema` of the catalog checks it. */
  query: z.record(z.string().max(32), z.unknown()),
  /** LINKTYPE_ value, or null: what the segments have. */
  linkType: z.int().min(0).max(0xffff).nullable(),
  /** Packets at the beginning that are here already. */
  skip: count,
});
const credit = z.object({ id, bytes: count });
const answered = z.object({
  id,
  packets: count,
  unfitPackets: count.optional(),
  error: z.string().max(1024).optional(),
});

export type EdgeQuery = z.infer<typeof query>;
export type Credit = z.infer<typeof credit>;
export type Answered = z.infer<typeof answered>;

export interface Answer {
  readonly id: number;
  readonly packets: number;
  readonly linkType: number;
  /** Whole records. */
  readonly records: Uint8Array;
}

export const encodeQuery = (message: EdgeQuery): Uint8Array => encodeJson(FRAME_QUERY, message);
export const encodeCredit = (message: Credit): Uint8Array => encodeJson(FRAME_CREDIT, message);
export const encodeAnswered = (message: Answered): Uint8Array => encodeJson(FRAME_ANSWERED, message);
export const decodeQuery = (frame: Frame): EdgeQuery => decodeJson(query, frame);
export const decodeCredit = (frame: Frame): Credit => decodeJson(credit, frame);
export const decodeAnswered = (frame: Frame): Answered => decodeJson(answered, frame);

/** `records`: at most ANSWER_PLAIN_BYTES_MAX bytes of whole records. */
export function encodeAnswer({ id: of, packets, linkType, records }: Answer): Uint8Array {
  const packed = zstdCompressSync(records);
  const isPacked = packed.byteLength < records.byteLength;
  const body = isPacked ? packed : records;
  const payload = new Uint8Array(PREFIX_BYTES + body.byteLength);
  writeU32(payload, 0, of);
  writeU32(payload, 4, packets);
  writeU32(payload, 8, records.byteLength);
  writeU32(payload, 12, linkType | (isPacked ? 0x10000 : 0));
  payload.set(body, PREFIX_BYTES);
  return encodeFrame(FRAME_ANSWER, 0, payload);
}

/** Throws TUNNEL_PROTOCOL for anything but whole records. */
export function decodeAnswer({ payload }: Frame): Answer {
  if (payload.byteLength < PREFIX_BYTES) throw broken('length', 'an ANSWER is too short', {});
  const packets = readU32(payload, 4);
  const plainBytes = readU32(payload, 8);
  const linkTypeAndCodec = readU32(payload, 12);
  const codec = linkTypeAndCodec >>> 16;
  const body = payload.subarray(PREFIX_BYTES);
  if (plainBytes > ANSWER_PLAIN_BYTES_MAX || codec > 1)
    throw broken('length', 'the lengths of an ANSWER are impossible', { plainBytes, codec });
  let records: Uint8Array = body;
  try {
    if (codec === 1) records = zstdDecompressSync(body, { maxOutputLength: Math.max(1, plainBytes) });
  } catch (error) {
    throw broken('codec', 'an ANSWER cannot be unpacked', { cause: String(error) });
  }
  if (records.byteLength !== plainBytes || countRecords(records, plainBytes) !== packets)
    throw broken('records', 'an ANSWER does not hold what it says', { packets, plainBytes });
  return { id: readU32(payload, 0), packets, linkType: linkTypeAndCodec & 0xffff, records };
}

function encodeJson(type: number, message: unknown): Uint8Array {
  return encodeFrame(type, 0, Buffer.from(JSON.stringify(message)));
}

function decodeJson<T>(schema: z.ZodType<T>, frame: Frame): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(frame.payload).toString('utf8')));
  } catch (error) {
    throw broken('json', `a ${frameTypeName(frame.type)} cannot be understood`, { cause: String(error) });
  }
}
