/**
 * The payloads that are JSON (UTF-8, at most 64 KiB): their shapes, their limits, their coding. Whatever comes from a
 * peer becomes one of these types here or is refused here; nothing behind this door checks again.
 *
 * Keys that are not known are ignored, so either side may learn a new one first. Times are wall time in milliseconds
 * since 1970 UTC (`…AtMs`) or, for packets, nanoseconds as decimal text (`…Ns`: JSON numbers end at 2^53).
 */
import { z } from 'zod';
import { messageOf } from '../base/errors.ts';
import {
  CONTROL_PAYLOAD_BYTES_MAX,
  FRAME_BYE,
  FRAME_GAP,
  FRAME_HEARTBEAT,
  FRAME_HELLO,
  FRAME_LANE,
  FRAME_REFUSE,
  FRAME_REPORT,
  FRAME_WELCOME,
  LANE_LAST,
  broken,
  encodeFrame,
  frameTypeName,
  type Frame,
} from './frame.ts';

/** Interfaces one sensor may name; with 64-byte names that stays far below the 64 KiB of a payload. */
export const INTERFACES_MAX = 256;
export const COUNTERS_MAX = 512;

/** Sensor names become directory names: no separator, no leading dot, nothing that a shell or a file system reads. */
export const SENSOR_NAME = /^(?!\.)[A-Za-z0-9._-]{1,64}$/;
const EPOCH = /^[0-9a-f]{16}$/;

const count = z.int().nonnegative();
const timeMs = z.number().nonnegative();
const timeNs = z.string().regex(/^\d{1,20}$/);
const word = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/);
const software = z.string().max(128);

const interfaces = z
  .array(
    z.object({
      id: z.int().min(0).max(0xffff),
      name: z.string().max(128),
      linkType: z.int().min(0).max(0xffff),
    }),
  )
  .max(INTERFACES_MAX);

const laneNumber = z.int().min(0).max(LANE_LAST);

/** One numbering of frames: sequences are counted, acknowledged and resumed per lane. */
const laneFields = {
  /** 64 random bits that name one life of the sequence numbers. */
  epoch: z.string().regex(EPOCH),
  /** The oldest sequence this side can still send; everything before it was acknowledged. */
  firstSequence: z.int().positive(),
  /** The last of them that this very collector acknowledged; absent: all. The rest went to another collector. */
  durableHere: count.optional(),
};

const lane = z.object({ lane: laneNumber, ...laneFields });

const hello = z.object({
  sensor: z.string().regex(SENSOR_NAME),
  epoch: laneFields.epoch,
  software,
  firstSequence: laneFields.firstSequence,
  durableHere: laneFields.durableHere,
  /** The number of the lane that the three keys before describe; absent: 0. */
  lane: laneNumber.optional(),
  /** Further lanes. */
  lanes: z.array(lane).max(LANE_LAST).optional(),
  /** Every codec that may occur in this epoch, the preferred one first. */
  codecs: z.array(word).min(1).max(8),
  interfaces,
  /** Queries to this forwarder's own archive are answered. */
  edge: z.boolean().optional(),
  sentAtMs: timeMs,
});

const welcome = z.object({
  collector: z.string().max(128),
  software,
  /** Send from here on. Frames before it have arrived, but keep them until they are acknowledged. */
  nextSequence: z.int().positive(),
  /** Acknowledged: durable at the collector. Less than nextSequence. */
  durableSequence: count,
  /** The same for the further lanes of the HELLO. */
  lanes: z
    .array(z.object({ lane: laneNumber, nextSequence: z.int().positive(), durableSequence: count }))
    .max(LANE_LAST)
    .optional(),
  /** One of those offered, to be used for batches that are not yet encoded. */
  codec: word,
  limits: z.object({ payloadBytesMax: z.int().positive(), idleMs: z.int().positive() }),
  sentAtMs: timeMs,
});

const gap = z.object({
  /** This frame stands for the sequences firstSequence to the header's; absent: for the header's alone. */
  firstSequence: z.int().positive().optional(),
  fromNs: timeNs,
  toNs: timeNs,
  /** `null`: nobody can know, as when nothing was captured. */
  packets: count.nullable(),
  /** Captured bytes of the packets, without record headers. */
  bytes: count.nullable(),
  /** Why, e.g. `queue-full`. */
  reason: word,
});

const report = z.object({
  sentAtMs: timeMs,
  /** The last one: no packet follows. */
  final: z.boolean(),
  /** Since the start of the epoch, e.g. `captured_packets`. */
  counters: z
    .record(z.string().max(64), z.number())
    .refine((counters) => Object.keys(counters).length <= COUNTERS_MAX),
  interfaces: interfaces.optional(),
});

const heartbeat = z.object({
  sentAtMs: timeMs,
  /** Present when this answers the peer's: its time, and ours when it came. With both, clocks compare as in NTP. */
  answers: z.object({ sentAtMs: timeMs, receivedAtMs: timeMs }).optional(),
});

/** Codes a receiver may not know are allowed: the sentence is for people. */
const refuse = z.object({ code: word, sentence: z.string().max(1024) });

const bye = z.object({ reason: word });

export type Hello = z.infer<typeof hello>;
export type Welcome = z.infer<typeof welcome>;
export type Lane = z.infer<typeof lane>;
export type Gap = z.infer<typeof gap>;
export type Report = z.infer<typeof report>;
export type Heartbeat = z.infer<typeof heartbeat>;
export type Refuse = z.infer<typeof refuse>;
export type Bye = z.infer<typeof bye>;
export type InterfaceName = Hello['interfaces'][number];

/** What this version says in a REFUSE. */
export type RefuseCode =
  | 'version' // the protocol version is not spoken here
  | 'hello' // the HELLO is not well-formed, or did not come first
  | 'sensor' // this sensor is not wanted here
  | 'codec' // a codec was offered that cannot be decoded here
  | 'busy' // too many connections; try again later
  | 'replaced' // a newer connection of the same sensor took over
  | 'protocol' // the peer broke the protocol
  | 'storage' // the archive cannot be opened or written
  | 'stopping'; // the collector shuts down

export const encodeHello = (message: Hello): Uint8Array => encode(FRAME_HELLO, 0, message);
export const encodeWelcome = (message: Welcome): Uint8Array => encode(FRAME_WELCOME, 0, message);
export const encodeGap = (message: Gap, sequence: number, laneOfGap = 0): Uint8Array =>
  encode(FRAME_GAP, sequence, message, laneOfGap);
/** Opens a lane whose epoch the collector has never seen. */
export const encodeLane = (message: Lane): Uint8Array => encode(FRAME_LANE, 0, message);
export const encodeReport = (message: Report): Uint8Array => encode(FRAME_REPORT, 0, message);
export const encodeHeartbeat = (message: Heartbeat): Uint8Array => encode(FRAME_HEARTBEAT, 0, message);
export const encodeRefuse = (code: RefuseCode, sentence: string): Uint8Array =>
  encode(FRAME_REFUSE, 0, { code, sentence: sentence.slice(0, 1024) });
export const encodeBye = (message: Bye): Uint8Array => encode(FRAME_BYE, 0, message);

export const decodeHello = (frame: Frame): Hello => decode(hello, frame);
export const decodeWelcome = (frame: Frame): Welcome => decode(welcome, frame);
export const decodeLane = (frame: Frame): Lane => decode(lane, frame);
export const decodeReport = (frame: Frame): Report => decode(report, frame);
export const decodeHeartbeat = (frame: Frame): Heartbeat => decode(heartbeat, frame);
export const decodeRefuse = (frame: Frame): Refuse => decode(refuse, frame);
export const decodeBye = (frame: Frame): Bye => decode(bye, frame);

/** A GAP and the sequences it stands for. */
export function decodeGap(frame: Frame): Gap & { firstSequence: number } {
  const message = decode(gap, frame);
  const firstSequence = message.firstSequence ?? frame.sequence;
  if (firstSequence > frame.sequence || frame.sequence === 0)
    throw broken('json', 'a GAP ends before it begins', { firstSequence, sequence: frame.sequence });
  return { ...message, firstSequence };
}

/**
 * How far the peer's clock is ahead, from its answer to a heartbeat of ours that came at `nowMs`: ((t2 - t1) + (t3 - t4)) / 2,
 * with t1 and t4 ours (RFC 5905, section 8).
 */
export function clockOffsetMs(
  answers: { readonly sentAtMs: number; readonly receivedAtMs: number },
  sentAtMs: number,
  nowMs: number,
): number {
  return (answers.receivedAtMs - answers.sentAtMs + (sentAtMs - nowMs)) / 2;
}

/** Decimal nanoseconds of a packet time given in whole seconds and nanoseconds. */
export function nanosecondsText(seconds: number, nanoseconds: number): string {
  return String(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds));
}

function encode(type: number, sequence: number, message: object, laneOfFrame = 0): Uint8Array {
  return encodeFrame(type, sequence, Buffer.from(JSON.stringify(message), 'utf8'), laneOfFrame);
}

function decode<T>(schema: z.ZodType<T>, frame: Frame): T {
  const name = frameTypeName(frame.type);
  const { payload } = frame;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8'));
  } catch (error) {
    throw broken('json', `a ${name} is not JSON: ${messageOf(error)}`, {
      bytesMax: CONTROL_PAYLOAD_BYTES_MAX,
    });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const key = issue?.path.join('.') ?? '';
  throw broken('json', `a ${name} has a wrong ${key === '' ? 'shape' : key}: ${issue?.message ?? ''}`, {
    key,
  });
}
