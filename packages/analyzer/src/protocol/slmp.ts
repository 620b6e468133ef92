/**
 * SLMP, also called MC protocol, of Mitsubishi Electric's MELSEC controllers, as their reference manuals have it: frames 3E and 4E in binary, little-endian but for the subheader.
 * MELSOFT, which the engineering tools speak on the same ports, stands in a file of its own.
 *
 *   3E   0 0x5000 request, 0xd000 answer (2)   2 route (5)   7 bytes that follow (2)
 *   4E   0 0x5400 request, 0xd400 answer (2)   2 serial (2)   4 zero (2)   6 route (5)   11 bytes that follow (2)
 *
 *   route     0 network (1)   1 station (1)   2 module I/O (2)   4 multidrop station (1)
 *   request   0 monitoring timer (2)   2 command (2)   4 subcommand (2)   6 data
 *   answer    0 end code (2)   2 data; of a refusal: route (5), command (2), subcommand (2)
 *   devices   0 number (3)   3 code (1)   4 points (2)      0 number (4)   4 code (2)   6 points (2) where the subcommand's bit 1 is set
 *
 * Remembered: what the last requests were about, as answers do not repeat it; by their serial, which 3E does not have.
 */
import { be16, hex, le16, le24, le32 } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';
import { dissectMelsoft, isMelsoft, looksLikeMelsoft, melsoftBytes } from './melsoft.ts';
import { rememberObject, takeObject } from './pending-object.ts';
import { COMMANDS, READ, WRITE, WRITE_RANDOM, deviceName, endCodeName, type Shape } from './slmp-commands.ts';

const REQUEST_3E = 0x5000;
const ANSWER_3E = 0xd000;
const REQUEST_4E = 0x5400;
const ANSWER_4E = 0xd400;
/** Up to the bytes that are counted. */
const HEAD_3E_BYTES = 9;
const HEAD_4E_BYTES = 13;
const REQUEST_BYTES_MIN = 6;
/** 960 words and what is in front of them are far below. */
const LENGTH_MAX = 8192;
/** Subcommand: devices by bit; wide numbers and codes (iQ-R); with an extension in front, which is not read. */
const BY_BIT = 0x01;
const IS_WIDE = 0x02;
const IS_EXTENDED = 0x80;

const operation = createOperation('melsec');

export const slmp: Dissector = {
  name: 'melsec',
  tcpPorts: [5007, 5560, 5562],
  udpPorts: [5006, 5007, 5560, 5562, 61_451],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end <= at) return NEED_MORE;
    if (isMelsoft(bytes, at)) return melsoftBytes(bytes, at, end);
    if (end - at < 2) return NEED_MORE;
    const head = headBytes(be16(bytes, at));
    if (head === 0) return NOT_OURS;
    if (end - at < head) return NEED_MORE;
    const length = le16(bytes, at + head - 2);
    return length < 2 || length > LENGTH_MAX ? NOT_OURS : head + length;
  },

  looksLike,
  looksLikeDatagram: looksLike,

  dissect(message, sink) {
    const { bytes, at, end } = message;
    resetOperation(operation);
    if (end > at && isMelsoft(bytes, at)) {
      dissectMelsoft(operation, message, sink);
      return;
    }
    const head = end - at < 2 ? 0 : headBytes(be16(bytes, at));
    // Anything may come to a UDP port: what does not begin so is of somebody else.
    if (head === 0 || end - at < head + 2 || !isRoute(bytes, at + head - 7)) return;
    if (le16(bytes, at + head - 2) !== end - at - head) sink.violation('length field and message disagree');
    operation.unit = bytes[at + head - 6] as number;
    const serial = head === HEAD_4E_BYTES ? le16(bytes, at + 2) : 0;
    operation.isResponse = (bytes[at] as number) >= 0x80;
    if (operation.isResponse) answer(message, at + head, serial);
    else if (!request(message, at + head, serial, sink)) return;
    sink.operation(operation);
  },
};

/** How long what stands in front of the counted bytes is; 0 for what is no frame. */
function headBytes(subheader: number): number {
  if (subheader === REQUEST_3E || subheader === ANSWER_3E) return HEAD_3E_BYTES;
  return subheader === REQUEST_4E || subheader === ANSWER_4E ? HEAD_4E_BYTES : 0;
}

/** Own and other stations' CPUs (0x3ff, 0x3d0 and up), or a module by where it is plugged in. */
function isRoute(bytes: Uint8Array, at: number): boolean {
  const module = le16(bytes, at + 2);
  return module === 0x3ff || (module >= 0x3d0 && module <= 0x3e3) || module <= 0x1ff;
}

/** One whole message of a command that there is. */
function looksLike(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < HEAD_3E_BYTES + 2) return false;
  if (looksLikeMelsoft(bytes, at, end)) return true;
  const subheader = be16(bytes, at);
  const head = headBytes(subheader);
  if (head === 0 || end - at < head + 2 || !isRoute(bytes, at + head - 7)) return false;
  if (le16(bytes, at + head - 2) !== end - at - head) return false;
  if (head === HEAD_4E_BYTES && be16(bytes, at + 4) !== 0) return false;
  // Of an answer no more is known: the route to the own station is then asked for.
  if ((bytes[at] as number) >= 0x80) return le16(bytes, at + head - 5) === 0x3ff;
  return end - at >= head + REQUEST_BYTES_MIN && COMMANDS.has(le16(bytes, at + head + 2));
}

function nameBy(command: number): Shape {
  const known = COMMANDS.get(command);
  operation.code = command;
  operation.name = known?.name ?? `command-${hex(command, 4)}`;
  operation.action = known?.action ?? 'other';
  return known?.shape ?? 'other';
}

/** False where there is no command in it. */
function request({ bytes, end, memory }: Message, at: number, serial: number, sink: Sink): boolean {
  if (end - at < REQUEST_BYTES_MIN) {
    sink.violation('request shorter than its header');
    return false;
  }
  const command = le16(bytes, at + 2);
  const subcommand = le16(bytes, at + 4);
  const shape = nameBy(command);
  const data = at + REQUEST_BYTES_MIN;
  if (shape === 'label') readLabel(bytes, data, end);
  else if (shape !== 'other' && (subcommand & IS_EXTENDED) === 0) {
    const isRead = shape === 'range' ? readRange(bytes, data, end, command, subcommand) : readDevices(bytes, data, end, shape, command, subcommand); // prettier-ignore
    if (!isRead) sink.violation('request shorter than its command demands');
  }
  rememberObject(memory, serial, `${command} ${subcommand} ${operation.count} ${operation.object}`);
  return true;
}

/** The device whose number begins at `at`; -1 when it is cut, else where it ends. */
function readDevice(bytes: Uint8Array, at: number, end: number, subcommand: number): number {
  const isWide = (subcommand & IS_WIDE) !== 0;
  const after = at + (isWide ? 6 : 4);
  if (after > end) return -1;
  operation.object = isWide ? deviceName(le16(bytes, at + 4), le32(bytes, at)) : deviceName(bytes[at + 3] as number, le24(bytes, at)); // prettier-ignore
  return after;
}

function readRange(bytes: Uint8Array, at: number, end: number, command: number, subcommand: number): boolean {
  const after = readDevice(bytes, at, end, subcommand);
  if (after === -1 || after + 2 > end) return false;
  operation.count = le16(bytes, after);
  if (command === WRITE) operation.value = firstValue(bytes, after + 2, end, subcommand);
  return true;
}

/** Numbers of words and double words, of blocks of words and of bits, or of bits; then the devices, of which the first is told. */
function readDevices(
  bytes: Uint8Array,
  at: number,
  end: number,
  shape: Shape,
  command: number,
  subcommand: number,
): boolean {
  const isBits = shape === 'random' && (subcommand & BY_BIT) !== 0;
  const first = at + (isBits ? 1 : 2);
  if (first > end) return false;
  const words = bytes[at] as number;
  operation.count = words + (isBits ? 0 : (bytes[at + 1] as number));
  if (operation.count === 0) return true;
  const after = readDevice(bytes, first, end, subcommand);
  if (after === -1) return false;
  if (command !== WRITE_RANDOM) return true;
  if (isBits) operation.value = after < end ? (bytes[after] as number) & 1 : NaN;
  else if (words > 0) operation.value = after + 2 <= end ? le16(bytes, after) : NaN;
  else operation.value = after + 4 <= end ? le32(bytes, after) : NaN;
  return true;
}

/** 0 labels (2)   2 abbreviations (2), which are rare   4 characters (2)   6 name in UTF-16. */
function readLabel(bytes: Uint8Array, at: number, end: number): void {
  if (end - at < 6) return;
  operation.count = le16(bytes, at);
  if (le16(bytes, at + 2) !== 0) return;
  const after = Math.min(end, at + 6 + 2 * Math.min(le16(bytes, at + 4), OBJECT_CHARACTERS_MAX));
  let name = '';
  for (let i = at + 6; i + 2 <= after; i += 2) {
    const unit = le16(bytes, i);
    name += unit >= 0x20 && unit !== 0x7f && (unit < 0xd800 || unit > 0xf8ff) ? String.fromCharCode(unit) : '.'; // prettier-ignore
  }
  operation.object = name;
}

function firstValue(bytes: Uint8Array, at: number, end: number, subcommand: number): number {
  // Two bits a byte, the first in its upper half.
  if ((subcommand & BY_BIT) !== 0) return at < end ? ((bytes[at] as number) >> 4) & 1 : NaN;
  return at + 2 <= end ? le16(bytes, at) : NaN;
}

function answer({ bytes, end, memory }: Message, at: number, serial: number): void {
  const endCode = le16(bytes, at);
  const asked = takeObject(memory, serial);
  const [command = '', subcommand = '', count = ''] = asked.split(' ', 3);
  // A refusal says itself what it refuses, but not everybody's does.
  const refused = endCode !== 0 && end - at >= 9 ? le16(bytes, at + 7) : -1;
  const code = COMMANDS.has(refused) || asked === '' ? refused : Number(command);
  if (code === -1) operation.name = 'answer';
  else nameBy(code);
  operation.exception = endCodeName(endCode, code);
  if (asked === '' || code !== Number(command)) return;
  operation.object = asked.slice(command.length + subcommand.length + count.length + 3);
  operation.count = Number(count);
  if (endCode === 0 && code === READ) operation.value = firstValue(bytes, at + 2, end, Number(subcommand));
}
