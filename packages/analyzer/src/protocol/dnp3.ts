/**
 * DNP3 (IEEE 1815), little-endian. Over TCP and UDP the frames of the serial link are sent as they are:
 *
 *   0 0x05 0x64   2 length of what follows without CRCs   3 control   4 destination (2)   6 source (2)   8 CRC (2)
 *   10 user data in blocks of up to 16 bytes, each with its CRC (2)
 *
 * User data begins with the transport byte (FIN, FIR, sequence) and, in a first fragment, goes on with the application layer:
 *
 *   0 control   1 function   2 in answers: internal indications (2)   then object headers: group, variation, qualifier, range
 *
 * Only the first fragment of a message is decoded: the function and the first object stand there.
 */
import { hex, le16, le32 } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  createOperation,
  resetOperation,
  type Dissector,
  type Memory,
  type Message,
  type Sink,
} from './dissector.ts';
import {
  ENCODED_BYTES,
  FUNCTIONS,
  LINK_PRIMARY,
  LINK_SECONDARY,
  STATUSES,
  STATUS_AT,
  VALUES,
} from './dnp3-names.ts';

const HEADER_BYTES = 10;
const BLOCK_BYTES = 16;
/** Control, destination and source: the least a length can be. */
const LENGTH_MIN = 5;
const USER_BYTES_MAX = 255 - LENGTH_MIN;
const FROM_MASTER = 0x80;
const SEQUENCE = 0x0f;
const CONFIRM = 0;
const PRIMARY = 0x40;
const FIRST = 0x40;
const FINAL = 0x80;
const ANSWER_MIN = 129;

/** CRC-16/DNP: polynomial 0x3d65 reflected, inverted at the end. */
const CRC_TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let i = 0; i < 8; i++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0xa6bc;
  return crc;
});

/** The user data of the frame at hand without its CRCs. */
const user = new Uint8Array(USER_BYTES_MAX);
const userView = new DataView(user.buffer);
const operation = createOperation('dnp3');

export const dnp3: Dissector = {
  name: 'dnp3',
  tcpPorts: [20_000, 19_999],
  udpPorts: [20_000, 19_999],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at >= 1 && bytes[at] !== 0x05) return NOT_OURS;
    if (end - at >= 2 && bytes[at + 1] !== 0x64) return NOT_OURS;
    if (end - at < 3) return NEED_MORE;
    const length = bytes[at + 2] as number;
    return length < LENGTH_MIN ? NOT_OURS : frameBytes(length);
  },

  looksLike(bytes, at, end) {
    return (
      end - at >= HEADER_BYTES &&
      bytes[at] === 0x05 &&
      bytes[at + 1] === 0x64 &&
      (bytes[at + 2] as number) >= LENGTH_MIN &&
      isCrcRight(bytes, at, at + 8)
    );
  },

  /** A datagram may carry several frames; over TCP there is one. */
  dissect(message, sink) {
    const { bytes, end } = message;
    for (let at = message.at; at < end;) {
      if (end - at < HEADER_BYTES) {
        sink.violation('frame shorter than its header');
        return;
      }
      const length = bytes[at + 2] as number;
      if (bytes[at] !== 0x05 || bytes[at + 1] !== 0x64 || length < LENGTH_MIN) {
        sink.violation('no start of a frame');
        return;
      }
      if (!isCrcRight(bytes, at, at + 8)) {
        sink.violation('link header CRC is wrong');
        return;
      }
      const next = at + frameBytes(length);
      if (next > end) {
        sink.violation('frame shorter than its length field');
        return;
      }
      frame(message, at, length - LENGTH_MIN, sink);
      at = next;
    }
  },
};

function frame(message: Message, at: number, userBytes: number, sink: Sink): void {
  const { bytes } = message;
  for (let done = 0, block = at + HEADER_BYTES; done < userBytes;) {
    const blockBytes = Math.min(BLOCK_BYTES, userBytes - done);
    if (!isCrcRight(bytes, block, block + blockBytes)) {
      sink.violation('data block CRC is wrong');
      return;
    }
    for (let i = 0; i < blockBytes; i++) user[done + i] = bytes[block + i] as number;
    done += blockBytes;
    block += blockBytes + 2;
  }
  const control = bytes[at + 3] as number;
  const destination = le16(bytes, at + 4);
  const source = le16(bytes, at + 6);
  resetOperation(operation);
  if (userBytes === 0) {
    const isPrimary = (control & PRIMARY) !== 0;
    const code = control & 0x0f;
    operation.name = (isPrimary ? LINK_PRIMARY[code] : LINK_SECONDARY[code]) || `link-function-${code}`;
    operation.action = isPrimary && code === 0 ? 'session' : 'other';
    operation.isResponse = !isPrimary;
    operation.unit = (control & FROM_MASTER) !== 0 ? destination : source;
    sink.operation(operation);
    return;
  }
  if (!isFirstFragment(message.memory, user[0] as number, source, destination, sink)) return;
  if (userBytes < 3) {
    sink.violation('application layer shorter than its header');
    return;
  }
  application(message.memory, (control & FROM_MASTER) !== 0, userBytes, destination, source, sink);
}

/** Follows the transport sequence of a message in several fragments, per direction. */
function isFirstFragment(
  memory: Memory,
  transport: number,
  source: number,
  destination: number,
  sink: Sink,
): boolean {
  const key = source < destination ? 'up' : 'down';
  const sequence = transport & 0x3f;
  const [from, to, last] = (memory[key] ?? []) as number[];
  const isFirst = (transport & FIRST) !== 0;
  // Of a message whose beginning was not seen nothing is known; a fragment sent again is not an error.
  if (!isFirst && from === source && to === destination && last !== undefined)
    if (sequence !== last && sequence !== ((last + 1) & 0x3f)) sink.violation('transport sequence jumps');
  if ((transport & FINAL) !== 0) delete memory[key];
  else memory[key] = [source, destination, sequence];
  return isFirst;
}

/**
 * A master counts its requests, per outstation, and keeps the number of one that it sends again. What was recorded and is sent once more counts otherwise; so does what
 * somebody else puts in between, and what is left when requests were lost.
 */
function countRequest(memory: Memory, destination: number, sink: Sink): void {
  const sequence = (user[1] as number) & SEQUENCE;
  const [to, last] = (memory['request-sequence'] ?? []) as number[];
  if (to === destination && last !== undefined && sequence !== last && sequence !== ((last + 1) & SEQUENCE))
    sink.violation('application sequence jumps');
  memory['request-sequence'] = [destination, sequence];
}

function application(
  memory: Memory,
  isFromMaster: boolean,
  end: number,
  destination: number,
  source: number,
  sink: Sink,
): void {
  const code = user[2] as number;
  const known = FUNCTIONS.get(code);
  const isAnswer = code >= ANSWER_MIN;
  if (known === undefined) sink.violation('function is not defined');
  else if (isAnswer === isFromMaster) sink.violation('direction bit and function disagree');
  operation.code = code;
  operation.name = known?.[0] ?? `function-${code}`;
  operation.action = known?.[1] ?? 'other';
  operation.isResponse = isAnswer;
  operation.unit = isAnswer ? source : destination;
  let at = 3;
  if (!isAnswer && code !== CONFIRM && isFromMaster) countRequest(memory, destination, sink);
  if (isAnswer) {
    if (end < 5) sink.violation('answer without internal indications');
    else operation.exception = refusal(user[4] as number);
    at = 5;
  }
  if (end > at) objects(at, end, sink);
  // Setting the clock is more than writing a value.
  if (code === 2 && operation.object.startsWith('g50v')) operation.action = 'control';
  sink.operation(operation);
}

/** The second byte of the internal indications. */
function refusal(indications: number): string {
  if ((indications & 1) !== 0) return 'function-not-supported';
  if ((indications & 2) !== 0) return 'object-unknown';
  return (indications & 4) !== 0 ? 'parameter-error' : '';
}

/** The first object header, its first index and value. */
function objects(start: number, end: number, sink: Sink): void {
  if (end - start < 3) {
    sink.violation('object header is cut');
    return;
  }
  const name = `g${user[start] as number}v${user[start + 1] as number}`;
  operation.object = name;
  const prefix = ((user[start + 2] as number) >> 4) & 7;
  const range = (user[start + 2] as number) & 0x0f;
  let at = start + 3;
  let index = -1;
  if (range <= 5) {
    const width = 1 << (range % 3);
    if (end - at < 2 * width) {
      sink.violation('object range is cut');
      return;
    }
    index = unsigned(at, width);
    const last = unsigned(at + width, width);
    if (last < index) sink.violation('object range ends before it begins');
    else operation.count = last - index + 1;
    at += 2 * width;
  } else if (range >= 7 && range <= 9) {
    const width = 1 << (range - 7);
    if (end - at < width) {
      sink.violation('object range is cut');
      return;
    }
    operation.count = unsigned(at, width);
    at += width;
  } else if (range === 0x0b && end > at) {
    operation.count = user[at++] as number;
  } else if (range !== 6) {
    sink.violation(`object range ${hex(range, 1)} is not defined or cut`);
    return;
  }
  const prefixWidth = prefix === 0 || prefix > 6 ? 0 : 1 << ((prefix - 1) % 3);
  if (prefixWidth > 0 && operation.count > 0) {
    if (end - at < prefixWidth) {
      sink.violation('object prefix is cut');
      return;
    }
    if (prefix <= 3) index = unsigned(at, prefixWidth);
    at += prefixWidth;
  }
  if (index >= 0) operation.object = `${name}:${index}`;
  const statusAt = STATUS_AT.get(name);
  if (statusAt !== undefined && operation.isResponse && operation.exception === '' && at + statusAt < end) {
    const status = (user[at + statusAt] as number) & 0x7f;
    operation.exception = STATUSES[status] ?? `control-status-${status}`;
  }
  operation.value = valueOf(name, at, end);
}

/** NaN where the object has no number, or where none follows: a read names objects without their values. */
function valueOf(name: string, start: number, end: number): number {
  const [skip, encoding] = VALUES.get(name) ?? [0, ''];
  const at = start + skip;
  if (encoding === '' || at + ENCODED_BYTES[encoding] > end || operation.count === 0) return NaN;
  switch (encoding) {
    case 'byte':
      return user[at] as number;
    case 'bit7':
      return (user[at] as number) >> 7;
    case 'u16':
      return le16(user, at);
    case 'i16':
      return userView.getInt16(at, true);
    case 'u32':
      return le32(user, at);
    case 'i32':
      return userView.getInt32(at, true);
    case 'u48':
      return le16(user, at + 4) * 2 ** 32 + le32(user, at);
    case 'f32':
      return userView.getFloat32(at, true);
    case 'f64':
      return userView.getFloat64(at, true);
  }
}

function unsigned(at: number, width: number): number {
  return width === 1 ? (user[at] as number) : width === 2 ? le16(user, at) : le32(user, at);
}

function frameBytes(length: number): number {
  const userBytes = length - LENGTH_MIN;
  return HEADER_BYTES + userBytes + 2 * Math.ceil(userBytes / BLOCK_BYTES);
}

/** Whether the CRC of `bytes[at, end)` stands at `end`. */
function isCrcRight(bytes: Uint8Array, at: number, end: number): boolean {
  let crc = 0;
  for (let i = at; i < end; i++)
    crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ (bytes[i] as number)) & 0xff] as number);
  return le16(bytes, end) === (~crc & 0xffff);
}
