/**
 * RDP (MS-RDPBCGR) up to where it is encrypted: X.224 in TPKT, big-endian, what Microsoft adds is little-endian:
 *
 *   0 version = 3 (1)   1 reserved (1)   2 length with this header (2)   4 length of the X.224 header (1)   5 kind (1)
 *   connection request: 6 destination (2)   8 source (2)   10 class (1)   11 `Cookie: mstshash=name` CR LF, then a negotiation
 *   negotiation: kind (1): 1 request, 2 answer, 3 refusal   flags (1)   length = 8 (2)   protocols or reason (4)
 *
 * Then either TLS records follow, or TPKT and the short fast-path messages (0 action and flags (1)   1 length (1 or 2)) of RDP's own
 * security. Both are framed so that nothing else is taken for a message, and are not looked into.
 */
import { be16, le32, text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  createOperation,
  resetOperation,
  type Dissector,
  type Sink,
} from './dissector.ts';
import { tlsRecordBytes } from './tls.ts';

const KIND_CONNECTION_REQUEST = 0xe0;
const KIND_CONNECTION_CONFIRM = 0xd0;
const KIND_DISCONNECT = 0x80;
const KIND_DATA = 0xf0;
const NEGOTIATION_BYTES = 8;
const NEGOTIATION_REQUEST = 1;
const NEGOTIATION_ANSWER = 2;
const NEGOTIATION_REFUSAL = 3;

const PROTOCOLS: readonly (readonly [bit: number, name: string])[] = [
  [1, 'tls'],
  [2, 'credssp'],
  [4, 'rdstls'],
  [8, 'credssp-early'],
  [16, 'aad'],
];

const REFUSALS: readonly string[] = [
  '',
  'tls-required',
  'tls-not-allowed',
  'no-certificate',
  'inconsistent-flags',
  'credssp-required',
  'tls-with-user-required',
];

const COOKIE = 'Cookie: ';
/** The channel that is the server's own; a client that asks for it is after CVE-2019-0708. */
const INTERNAL_CHANNEL = 'MS_T120';

const operation = createOperation('rdp');

export const rdp: Dissector = {
  name: 'rdp',
  tcpPorts: [3389],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < 5) return NEED_MORE;
    const first = bytes[at] as number;
    if (first === 3) {
      const length = be16(bytes, at + 2);
      return bytes[at + 1] === 0 && length >= 7 ? length : NOT_OURS;
    }
    const record = tlsRecordBytes(bytes, at, end);
    if (record !== NOT_OURS) return record;
    if ((first & 3) !== 0) return NOT_OURS;
    const short = bytes[at + 1] as number;
    const length = (short & 0x80) === 0 ? short : ((short & 0x7f) << 8) | (bytes[at + 2] as number);
    return length < 3 ? NOT_OURS : length;
  },

  looksLike(bytes, at, end) {
    // S7 and MMS ask for a connection in the same way, without cookie and negotiation.
    if (end - at < 15 || bytes[at] !== 3 || bytes[at + 1] !== 0 || be16(bytes, at + 2) !== end - at)
      return false;
    if (bytes[at + 4] !== end - at - 5 || bytes[at + 5] !== KIND_CONNECTION_REQUEST) return false;
    return text(bytes, at + 11, end, COOKIE.length) === COOKIE || isNegotiation(bytes, at + 11, end);
  },

  dissect({ bytes, at, end }, sink) {
    if (end - at < 7 || bytes[at] !== 3 || bytes[at + 1] !== 0) return;
    const kind = bytes[at + 5] as number;
    resetOperation(operation);
    operation.action = 'session';
    operation.code = kind;
    if (kind === KIND_DATA) {
      data(bytes, at + 7, end, sink);
      return;
    }
    if (kind === KIND_DISCONNECT) {
      operation.name = 'disconnect-request';
      sink.operation(operation);
      return;
    }
    if (kind !== KIND_CONNECTION_REQUEST && kind !== KIND_CONNECTION_CONFIRM) return;
    if (be16(bytes, at + 2) !== end - at || (bytes[at + 4] as number) !== end - at - 5)
      sink.violation('length fields and message disagree');
    operation.isResponse = kind === KIND_CONNECTION_CONFIRM;
    operation.name = operation.isResponse ? 'connection-confirm' : 'connection-request';
    let next = at + 11;
    if (!operation.isResponse && text(bytes, next, end, COOKIE.length) === COOKIE)
      next = cookie(bytes, next, end, sink);
    if (isNegotiation(bytes, next, end)) negotiation(bytes, next, sink);
    sink.operation(operation);
  },
};

function isNegotiation(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < NEGOTIATION_BYTES) return false;
  const kind = bytes[at] as number;
  return (
    kind >= NEGOTIATION_REQUEST && kind <= NEGOTIATION_REFUSAL && bytes[at + 2] === 8 && bytes[at + 3] === 0
  );
}

/** Where the line ends. */
function cookie(bytes: Uint8Array, at: number, end: number, sink: Sink): number {
  let last = at;
  while (last < end && bytes[last] !== 13) last++;
  const value = text(bytes, at + COOKIE.length, last, 96);
  // `msts=` is a routing token and names nobody.
  const name = value.startsWith('mstshash=') ? value.slice('mstshash='.length) : '';
  if (name !== '') {
    operation.object = name;
    sink.fact('rdp-cookie', name);
  }
  return Math.min(end, last + 2);
}

function negotiation(bytes: Uint8Array, at: number, sink: Sink): void {
  const kind = bytes[at] as number;
  const value = le32(bytes, at + 4);
  if (kind === NEGOTIATION_REFUSAL) {
    operation.name = 'connection-failure';
    operation.exception = REFUSALS[value] || `failure-${value}`;
    return;
  }
  operation.value = value;
  const names = PROTOCOLS.filter(([bit]) => (value & bit) !== 0).map(([, name]) => name);
  sink.fact(kind === NEGOTIATION_ANSWER ? 'rdp-protocol' : 'rdp-offer', names.join('+') || 'rdp');
}

/** The two messages that begin a session without TLS: T.125 connect-initial and connect-response. */
function data(bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  if (end - at < 2 || bytes[at] !== 0x7f) return;
  const isInitial = bytes[at + 1] === 0x65;
  if (!isInitial && bytes[at + 1] !== 0x66) return;
  operation.name = isInitial ? 'mcs-connect-initial' : 'mcs-connect-response';
  operation.isResponse = !isInitial;
  if (isInitial && text(bytes, at, end, 2048).toUpperCase().includes(INTERNAL_CHANNEL))
    sink.violation('client asks for an internal channel');
  sink.operation(operation);
}
