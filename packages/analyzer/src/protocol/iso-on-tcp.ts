/**
 * ISO on TCP (RFC 1006, RFC 905), big-endian: what S7 controllers and IEC 61850 devices both speak on port 102.
 *
 *   TPKT   0 version = 3   1 reserved   2 length with this head (2)
 *   COTP   4 length of the head behind this byte   5 type   6 connect: destination (2), source (2), class (1), parameters
 *          data: end of the message (1 bit), number (7 bits)
 *
 * A message may come in several data TPDUs. Only the head of such a message is remembered (in hexadecimal) until its end is there, since
 * what was asked for stands at the beginning; the reader behind is told that it is not whole.
 */
import { be16, text } from './byte-reader.ts';
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
import { dissectMms, looksLikeMms } from './mms.ts';
import { dissectS7, looksLikeS7 } from './s7comm.ts';

const TPKT_BYTES = 4;
const TPKT_VERSION = 3;
/** The least there is: TPKT, a COTP length and a type. */
const LENGTH_MIN = 7;
/** Of a message in several parts, so much is remembered. */
const HEAD_BYTES_MAX = 256;

const TYPE_CONNECT = 0xe0;
const TYPE_CONFIRM = 0xd0;
const TYPE_DISCONNECT = 0x80;
const TYPE_DISCONNECT_CONFIRM = 0xc0;
const TYPE_DATA = 0xf0;
const TYPE_ERROR = 0x70;
const END_OF_MESSAGE = 0x80;
const PARAMETER_CALLING = 0xc1;
const PARAMETER_CALLED = 0xc2;

/** Before the first message nobody knows who speaks; the selectors of S7 tell. */
const UNKNOWN_PROTOCOL = 'cotp';

const operation = createOperation(UNKNOWN_PROTOCOL);

export const isoOnTcp: Dissector = {
  name: 's7comm',
  tcpPorts: [102],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < TPKT_BYTES) return end > at && bytes[at] !== TPKT_VERSION ? NOT_OURS : NEED_MORE;
    const length = be16(bytes, at + 2);
    return bytes[at] !== TPKT_VERSION || bytes[at + 1] !== 0 || length < LENGTH_MIN ? NOT_OURS : length;
  },

  looksLike(bytes, at, end) {
    if (end - at < LENGTH_MIN + 4 || bytes[at] !== TPKT_VERSION || bytes[at + 1] !== 0) return false;
    if (be16(bytes, at + 2) !== end - at) return false;
    const head = bytes[at + 4] as number;
    const type = bytes[at + 5] as number;
    // Remote desktops begin like this too, but without selectors.
    if (type === TYPE_CONNECT && head === end - at - TPKT_BYTES - 1)
      return selector(bytes, at + 11, end, PARAMETER_CALLED) >= 0;
    if (type !== TYPE_DATA || head !== 2) return false;
    return looksLikeS7(bytes, at + LENGTH_MIN, end);
  },

  dissect(message, sink) {
    const { bytes, at, end } = message;
    if (end - at < LENGTH_MIN) {
      sink.violation('message shorter than its header');
      return;
    }
    const length = be16(bytes, at + 2);
    if (length !== end - at) sink.violation('length field and message disagree');
    const head = bytes[at + 4] as number;
    const payload = at + TPKT_BYTES + 1 + head;
    if (head < 2 || payload > end) {
      sink.violation('COTP head longer than the message');
      return;
    }
    const type = bytes[at + 5] as number;
    if (type === TYPE_DATA) data(message, payload, sink);
    else session(message, type, payload, sink);
  },
};

function data(message: Message, payload: number, sink: Sink): void {
  const { bytes, at, end, memory } = message;
  const key = message.isFromClient ? 'partsOfClient' : 'partsOfServer';
  const parts = memory[key];
  const isEnd = ((bytes[at + 6] as number) & END_OF_MESSAGE) !== 0;
  if (isEnd && parts === undefined) {
    handOver(message, bytes, payload, end, true, sink);
    return;
  }
  const kept = typeof parts === 'string' ? parts : '';
  const free = HEAD_BYTES_MAX - kept.length / 2;
  const all = kept + Buffer.from(bytes.subarray(payload, Math.min(end, payload + free))).toString('hex');
  if (!isEnd) {
    memory[key] = all;
    return;
  }
  delete memory[key];
  const assembled = Buffer.from(all, 'hex');
  // A head that is full may be all there was; what matters is that nothing behind it is missed by a length check.
  handOver(message, assembled, 0, assembled.byteLength, assembled.byteLength < HEAD_BYTES_MAX, sink);
}

function handOver(
  message: Message,
  bytes: Uint8Array,
  at: number,
  end: number,
  isWhole: boolean,
  sink: Sink,
): void {
  // An empty message keeps a connection alive.
  if (at >= end) return;
  if (looksLikeS7(bytes, at, end)) dissectS7(message, bytes, at, end, isWhole, sink);
  else if (looksLikeMms(bytes, at, end)) dissectMms(message, bytes, at, end, isWhole, sink);
  else if (isTlsRecord(bytes, at, end) || message.memory['isSecured'] === true) secured(message, sink);
  else sink.violation('neither S7 nor an ISO session');
}

/** Newer controllers speak TLS inside ISO on TCP; a record may go on in the next message, which then has no head. */
function isTlsRecord(bytes: Uint8Array, at: number, end: number): boolean {
  const type = bytes[at] as number;
  return end - at >= 5 && type >= 0x14 && type <= 0x17 && bytes[at + 1] === 3 && (bytes[at + 2] as number) <= 4; // prettier-ignore
}

function secured({ memory }: Message, sink: Sink): void {
  memory['isSecured'] = true;
  resetOperation(operation);
  operation.protocol = 's7comm';
  operation.name = 'secured-message';
  sink.operation(operation);
}

function session(message: Message, type: number, headEnd: number, sink: Sink): void {
  const { bytes, at, memory } = message;
  const kind = type & 0xf0;
  resetOperation(operation);
  operation.action = 'session';
  operation.code = type;
  if (kind === TYPE_CONNECT) {
    operation.name = 'connect';
    connect(bytes, at + 11, headEnd, memory);
    // A connection begins anew: nothing of an older one is left.
    memory['isConnected'] = true;
    delete memory['isSetUp'];
    delete memory['isSecured'];
    delete memory['partsOfClient'];
    delete memory['partsOfServer'];
  } else if (kind === TYPE_CONFIRM) {
    operation.name = 'connect';
    operation.isResponse = true;
  } else if (kind === TYPE_DISCONNECT) {
    operation.name = 'disconnect';
    // An answer to a connect that names no connection of its own is a refusal.
    if (!message.isFromClient && headEnd - at > 10 && be16(bytes, at + 8) === 0)
      operation.exception = `refused-${bytes[at + 10] as number}`;
  } else if (kind === TYPE_DISCONNECT_CONFIRM) {
    operation.name = 'disconnect';
    operation.isResponse = true;
  } else if (kind === TYPE_ERROR) {
    operation.name = 'tpdu-error';
    operation.exception = headEnd - at > 8 ? `cause-${bytes[at + 8] as number}` : 'no-cause';
  } else {
    operation.name = `tpdu-${type}`;
    operation.action = 'other';
    sink.violation('COTP type is not defined');
  }
  const protocol = memory['protocol'];
  operation.protocol = typeof protocol === 'string' ? protocol : UNKNOWN_PROTOCOL;
  operation.unit = typeof memory['unit'] === 'number' ? memory['unit'] : -1;
  operation.object = typeof memory['selectors'] === 'string' ? memory['selectors'] : '';
  sink.operation(operation);
}

/** Reads who calls whom: `0100>0102 rack 0 slot 2` for an S7 controller, `0000>0001` for others. */
function connect(bytes: Uint8Array, at: number, end: number, memory: Memory): void {
  const called = selector(bytes, at, end, PARAMETER_CALLED);
  const calledBytes = called < 0 ? 0 : (bytes[called - 1] as number);
  const calling = selector(bytes, at, end, PARAMETER_CALLING);
  let object = `${selectorText(bytes, calling)}>${selectorText(bytes, called)}`;
  memory['protocol'] = UNKNOWN_PROTOCOL;
  delete memory['unit'];
  // Two bytes: kind of the connection (1 engineering, 2 operator panel, 3 other), then rack and slot of the processor.
  const kind = calledBytes === 2 ? (bytes[called] as number) : 0;
  if (kind >= 1 && kind <= 3 && calling >= 0 && bytes[calling] !== 0) {
    const place = bytes[called + 1] as number;
    memory['protocol'] = 's7comm';
    memory['unit'] = place;
    object += ` rack ${place >> 5} slot ${place & 0x1f}`;
  } else if (called >= 0 && text(bytes, called, called + Math.min(calledBytes, 8)) === 'SIMATIC-')
    memory['protocol'] = 's7comm';
  memory['selectors'] = object;
}

/** Where the value of a parameter begins, its length one byte before; -1 where it is not there. */
function selector(bytes: Uint8Array, at: number, end: number, code: number): number {
  let next = at;
  while (end - next >= 2) {
    const value = next + 2;
    const length = bytes[next + 1] as number;
    if (length > end - value) return -1;
    if (bytes[next] === code) return value;
    next = value + length;
  }
  return -1;
}

/** Text where the selector is text, else hexadecimal; '' where there is none. */
function selectorText(bytes: Uint8Array, at: number): string {
  if (at < 0) return '';
  const length = Math.min(bytes[at - 1] as number, 32);
  const asText = text(bytes, at, at + length);
  if (length > 2 && !asText.includes('.')) return asText;
  let out = '';
  for (let i = at; i < at + Math.min(length, 16); i++)
    out += (bytes[i] as number).toString(16).padStart(2, '0');
  return out;
}
