/**
 * OPC UA over TCP (OPC 10000-6), little-endian:
 *
 *   0 type: HEL, ACK, ERR, RHE, OPN, MSG, CLO (3)   3 F final, C more follows, A aborted (1)   4 length of all (4)
 *   MSG, CLO: 8 channel (4)   12 token (4)   16 sequence (4)   20 request (4)   24 body
 *   OPN: 8 channel (4)   12 security policy, certificate and thumbprint (each a length (4) and bytes), then as above
 *
 * A body begins with the NodeId of its type, which is the service; then a request header or a response header. Of a message
 * in several chunks only the first is decoded. Where a security policy is in force a body is read only if it is signed and not
 * encrypted, which shows in a type that is known. What an answer is about stands in its request: the last are remembered.
 */
import { le16, le32, text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Dissector,
  type Memory,
  type Message,
  type Sink,
} from './dissector.ts';
import {
  isNumeric,
  le32At,
  nodeId,
  numeric,
  scalar,
  skip,
  skipExtension,
  skipString,
  skipStrings,
  string,
  u32,
  u8,
  reader,
} from './opcua-reader.ts';
import { SERVICES, answeredBy, statusName } from './opcua-services.ts';

const HEADER_BYTES = 8;
const BODY_AT = 24;
const MESSAGE_BYTES_MAX = 0x100_0000;
const POLICY_NONE = 'http://opcfoundation.org/UA/SecurityPolicy#None';
const SERVICE_FAULT = 397;
const ATTRIBUTE_VALUE = 13;
const ACTIVATE_SESSION = 467;
/** How a user says who it is, by the type of the token; without one it is anonymous. */
const TOKENS: ReadonlyMap<number, string> = new Map([
  [0, 'anonymous'],
  [321, 'anonymous'],
  [324, 'user-name'],
  [327, 'certificate'],
  [940, 'issued'],
]);
/** A status whose two highest bits say bad. */
const BAD = 0x8000_0000;

const operation = createOperation('opcua');

export const opcua: Dissector = {
  name: 'opcua',
  tcpPorts: [4840, 4841],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < HEADER_BYTES) return NEED_MORE;
    const length = le32(bytes, at + 4);
    const isOurs = isType(bytes, at) && length >= HEADER_BYTES && length <= MESSAGE_BYTES_MAX;
    return isOurs ? length : NOT_OURS;
  },

  looksLike(bytes, at, end) {
    return (
      end - at >= 32 &&
      text(bytes, at, at + 4) === 'HELF' &&
      le32(bytes, at + 4) <= 4128 &&
      le32(bytes, at + 28) + 32 === le32(bytes, at + 4)
    );
  },

  dissect(message, sink) {
    const { bytes, at, end, memory } = message;
    if (end - at < HEADER_BYTES || !isType(bytes, at)) {
      sink.violation('message without a header');
      return;
    }
    if (le32(bytes, at + 4) !== end - at) sink.violation('length field and message disagree');
    reader.bytes = bytes;
    reader.at = at + HEADER_BYTES;
    reader.end = end;
    reader.isCut = false;
    resetOperation(operation);
    operation.isResponse = !message.isFromClient;
    const type = text(bytes, at, at + 3);
    if (type === 'OPN') openChannel(message, sink);
    else if (type === 'MSG' || type === 'CLO') {
      reader.at = Math.min(end, at + BODY_AT);
      body(message, String(memory['policy'] ?? ''), sink);
    } else connection(type, sink);
  },
};

/** HEL, ACK, ERR and the reverse hello of a server that calls. */
function connection(type: string, sink: Sink): void {
  operation.action = 'session';
  operation.name =
    type === 'HEL' ? 'hello' : type === 'ACK' ? 'acknowledge' : type === 'ERR' ? 'error' : 'reverse-hello';
  operation.isResponse = type === 'ACK' || type === 'ERR';
  if (type === 'HEL') {
    skip(20);
    const url = string(256);
    if (url !== '') sink.fact('endpoint-url', url);
  } else if (type === 'RHE') {
    const uri = string(256);
    if (uri !== '') sink.fact('server-uri', uri);
  } else if (type === 'ERR') {
    operation.action = 'report';
    operation.exception = statusName(u32());
  }
  finish(sink);
}

function openChannel(message: Message, sink: Sink): void {
  const { memory } = message;
  skip(4);
  const policy = string(128);
  skipString();
  skipString();
  skip(8);
  if (policy === '') sink.violation('channel without a security policy');
  else if (memory['policy'] !== policy) {
    memory['policy'] = policy;
    sink.fact('security-policy', policy);
  }
  if (policy === POLICY_NONE) service(message, le32At(reader.at - 4), sink);
  else {
    operation.name = 'open-secure-channel';
    operation.action = 'session';
    finish(sink);
  }
}

function body(message: Message, policy: string, sink: Sink): void {
  const { bytes, at, end, memory } = message;
  if (end - at < BODY_AT) {
    sink.violation('message shorter than its header');
    return;
  }
  const request = le32(bytes, at + 20);
  const chunk = bytes[at + 3] as number;
  const key = message.isFromClient ? 'sent' : 'received';
  const isContinued = memory[key] === request;
  if (chunk === 0x43) memory[key] = request;
  else delete memory[key];
  if (chunk === 0x41) {
    operation.name = 'abort';
    operation.exception = statusName(u32());
    finish(sink);
    return;
  }
  if (isContinued) return;
  const type =
    end - at >= BODY_AT + 4 && bytes[reader.at] === 1 && bytes[reader.at + 1] === 0
      ? le16(bytes, reader.at + 2)
      : -1;
  const isKnown = SERVICES.has(type) || answeredBy(type) !== undefined || type === SERVICE_FAULT;
  // Without its beginning a channel may be encrypted: only what is surely a service is taken for one.
  if (isKnown || policy === POLICY_NONE) service(message, request, sink);
  else {
    operation.name = 'secured-message';
    finish(sink);
  }
}

function service(message: Message, request: number, sink: Sink): void {
  const { memory } = message;
  const start = reader.at;
  nodeId();
  const type = reader.isCut || !isNumeric(start) ? -1 : numeric(start);
  const asked = SERVICES.get(type);
  const answered = answeredBy(type);
  operation.code = type;
  operation.name = asked?.[0] ?? answered?.[0] ?? `service-${type < 0 ? 'unknown' : type}`;
  operation.action = asked?.[1] ?? answered?.[1] ?? 'other';
  if (asked !== undefined) {
    operation.isResponse = false;
    if (requestHeader()) {
      if (type === ACTIVATE_SESSION) userToken(sink);
      else requestBody(type);
    }
    if (operation.object !== '') remember(memory, request, operation.object);
  } else if (answered !== undefined || type === SERVICE_FAULT) {
    operation.isResponse = true;
    if (type === SERVICE_FAULT) operation.name = 'service-fault';
    operation.object = recall(memory, request);
    responseBody(type);
  }
  finish(sink);
}

/** Signature (algorithm, bytes), software certificates (bytes, signature), locales, then the token. */
function userToken(sink: Sink): void {
  skipString();
  skipString();
  const certificates = u32();
  if (certificates !== 0 && certificates !== 0xffff_ffff) return;
  if (!skipStrings()) return;
  const start = reader.at;
  nodeId();
  const token = reader.isCut || !isNumeric(start) ? undefined : TOKENS.get(numeric(start));
  if (token !== undefined) sink.fact('user-token', token);
}

/** The first node that a request is about, how many there are, and the value that is written. */
function requestBody(type: number): void {
  if (type === 631) skip(12);
  else if (type === 751) skip(8);
  else if (type === 527) {
    nodeId();
    skip(16);
  } else if (type !== 673 && type !== 712 && type !== 500 && type !== 560 && type !== 566) return;
  const count = u32();
  if (reader.isCut || count === 0 || count === 0xffff_ffff) return;
  operation.count = count;
  operation.object = nodeId();
  if (type === 712) operation.object = `${operation.object}/${nodeId()}`.slice(0, OBJECT_CHARACTERS_MAX);
  if (type !== 673) return;
  const attribute = u32();
  if (attribute !== ATTRIBUTE_VALUE)
    operation.object = `${operation.object}/attr:${attribute}`.slice(0, OBJECT_CHARACTERS_MAX);
  skipString();
  operation.value = dataValue();
}

/** Time (8), handle (4), result (4), diagnostics, strings, extension; then results, of which the first is looked at. */
function responseBody(type: number): void {
  skip(12);
  const result = u32();
  if (reader.isCut) return;
  if (result >= BAD) operation.exception = statusName(result);
  // What comes behind diagnostics is left alone: they are rare and nested.
  if (operation.exception !== '' || u8() !== 0 || !skipStrings() || !skipExtension()) return;
  if (type !== 634 && type !== 676 && type !== 715) return;
  const count = u32();
  if (reader.isCut || count === 0 || count === 0xffff_ffff) return;
  operation.count = count;
  if (type === 634) operation.value = dataValue();
  else {
    const status = u32();
    if (status >= BAD) operation.exception = statusName(status);
  }
}

/** Session (NodeId), time (8), handle (4), diagnostics (4), audit entry, timeout (4), extension. */
function requestHeader(): boolean {
  nodeId();
  skip(16);
  skipString();
  skip(4);
  return skipExtension();
}

/** A DataValue's number; NaN for arrays and what is no number. A bad status of the value becomes the exception. */
function dataValue(): number {
  const mask = u8();
  let value = NaN;
  if ((mask & 1) !== 0) {
    const type = u8();
    value = scalar(type);
    if (Number.isNaN(value) && (type === 0 || type > 11)) return NaN;
  }
  if ((mask & 2) !== 0) {
    const status = u32();
    if (status >= BAD && !reader.isCut) operation.exception = statusName(status);
  }
  return value;
}

function finish(sink: Sink): void {
  // The first chunk of several may end anywhere; what was read until then stands.
  if (operation.code < 0 && reader.isCut) sink.violation('message shorter than its contents');
  sink.operation(operation);
}

function isType(bytes: Uint8Array, at: number): boolean {
  const chunk = bytes[at + 3] as number;
  return (
    /^(HEL|ACK|ERR|RHE|OPN|MSG|CLO)$/.test(text(bytes, at, at + 3)) &&
    (chunk === 0x46 || chunk === 0x43 || chunk === 0x41)
  );
}

/** Requests that wait for their answers. */
const SLOTS = 4;

function remember(memory: Memory, request: number, object: string): void {
  const slot = ((memory['next'] as number | undefined) ?? 0) % SLOTS;
  memory[`request${slot}`] = `${request} ${object}`;
  memory['next'] = (slot + 1) % SLOTS;
}

function recall(memory: Memory, request: number): string {
  for (let slot = 0; slot < SLOTS; slot++) {
    const entry = memory[`request${slot}`];
    if (typeof entry !== 'string' || !entry.startsWith(`${request} `)) continue;
    delete memory[`request${slot}`];
    return entry.slice(entry.indexOf(' ') + 1);
  }
  return '';
}
