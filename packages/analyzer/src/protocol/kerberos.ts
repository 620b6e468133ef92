/**
 * Kerberos 5 (RFC 4120), as far as guessing and forging show in it: which message, for whom, with which encryption, and why it was refused. BER, each message
 * in an application tag that is its kind; over TCP with four bytes of length before it.
 *
 *   AS-REQ 0x6a { … [4] body { … [1] client … [8] encryption types … } }   AS-REP 0x6b   TGS-REQ 0x6c   TGS-REP 0x6d   AP-REQ 0x6e
 *   KRB-ERROR 0x7e { … [6] error-code … [8] client … }        client { [0] kind   [1] { text … } }
 *
 * The client's name stands in the request; servers may leave it out where they refuse: the last one that was asked for is remembered. It is told of clients that
 * nobody knows, and not with the operation: who logs in next is no new thing that a machine does.
 */
import { createElement, findElement, readElement, signedOf } from './ber.ts';
import { be32, text } from './byte-reader.ts';
import { NEED_MORE, NOT_OURS, OBJECT_CHARACTERS_MAX, createOperation, resetOperation, type Dissector, type Message, type Sink } from './dissector.ts'; // prettier-ignore

const KINDS: ReadonlyMap<number, string> = new Map([
  [0x6a, 'as-req'],
  [0x6b, 'as-rep'],
  [0x6c, 'tgs-req'],
  [0x6d, 'tgs-rep'],
  [0x6e, 'ap-req'],
  [0x6f, 'ap-rep'],
  [0x7e, 'error'],
]);
const KIND_AS_REQ = 0x6a;
const KIND_TGS_REQ = 0x6c;
const KIND_ERROR = 0x7e;
const TAG_SEQUENCE = 0x30;
const TAG_ERROR_CODE = 0xa6;
const TAG_BODY = 0xa4;
const TAG_ENCRYPTION_TYPES = 0xa8;
const TAG_INTEGER = 0x02;
const TAG_STRING = 0x1b;
/** From the message to the parts of the client's name. */
const NAME_IN_REQUEST = [TAG_SEQUENCE, TAG_BODY, TAG_SEQUENCE, 0xa1, TAG_SEQUENCE, 0xa1, TAG_SEQUENCE];
const NAME_IN_ERROR = [TAG_SEQUENCE, 0xa8, TAG_SEQUENCE, 0xa1, TAG_SEQUENCE];
/** `operator`, `HTTP/historian`. */
const NAME_PARTS_MAX = 4;
const TYPES_IN_REQUEST = [TAG_SEQUENCE, TAG_BODY, TAG_SEQUENCE, TAG_ENCRYPTION_TYPES, TAG_SEQUENCE];
const ENCRYPTION_TYPES_MAX = 8;
const UNKNOWN = 'principal-unknown';
const ERRORS: ReadonlyMap<number, string> = new Map([
  [6, UNKNOWN],
  [7, 'service-unknown'],
  [14, 'encryption-not-supported'],
  [18, 'client-revoked'],
  [23, 'password-expired'],
  [24, 'preauth-failed'],
  [25, 'preauth-required'],
  [31, 'integrity-failed'],
  [37, 'clock-skew'],
  [52, 'too-big'],
  [68, 'wrong-realm'],
]);
const MESSAGE_BYTES_MAX = 256 * 1024;

const outer = createElement();
const inner = createElement();
const field = createElement();
const operation = createOperation('kerberos');

/** Goes from `outer` into one element after the other, to `inner`; false where one is missing. */
function descend(bytes: Uint8Array, path: readonly number[]): boolean {
  let { from, to } = outer;
  for (const tag of path) {
    if (!findElement(inner, bytes, from, to, tag)) return false;
    ({ from, to } = inner);
  }
  return true;
}

/** `etype:23,18`: what the client offers, in its order, from the request that `outer` holds; '' where it cannot be read. */
function encryptionTypes(bytes: Uint8Array): string {
  if (!descend(bytes, TYPES_IN_REQUEST)) return '';
  const types: number[] = [];
  for (
    let at = inner.from;
    types.length < ENCRYPTION_TYPES_MAX && readElement(field, bytes, at, inner.to);
    at = field.to
  )
    if (field.tag === TAG_INTEGER && field.to > field.from) types.push(signedOf(bytes, field.from, field.to)); // prettier-ignore
  return types.length === 0 ? '' : `etype:${types.join(',')}`;
}

/** The client's name in the message that `outer` holds; '' where it cannot be read. */
function clientName(bytes: Uint8Array, path: readonly number[]): string {
  if (!descend(bytes, path)) return '';
  const parts: string[] = [];
  for (let at = inner.from; parts.length < NAME_PARTS_MAX && readElement(field, bytes, at, inner.to); at = field.to)
    if (field.tag === TAG_STRING) parts.push(text(bytes, field.from, field.to, OBJECT_CHARACTERS_MAX)); // prettier-ignore
  return parts.join('/').slice(0, OBJECT_CHARACTERS_MAX);
}

/** '' where neither the refusal nor the request before it says whom: the last fact is of another. */
function tellUnknown({ bytes, memory }: Message, sink: Sink): void {
  const asked = memory['client'];
  sink.fact(
    'unknown-principal',
    clientName(bytes, NAME_IN_ERROR) || (typeof asked === 'string' ? asked : ''),
  );
}

function dissect(message: Message, at: number, sink: Sink): void {
  const { bytes, end, memory } = message;
  if (!readElement(outer, bytes, at, end)) return;
  const name = KINDS.get(outer.tag);
  if (name === undefined) return;
  resetOperation(operation);
  operation.code = outer.tag;
  operation.name = name;
  operation.action = 'session';
  operation.isResponse = !message.isFromClient;
  if (outer.tag === KIND_AS_REQ || outer.tag === KIND_TGS_REQ) operation.object = encryptionTypes(bytes);
  if (outer.tag === KIND_AS_REQ) memory['client'] = clientName(bytes, NAME_IN_REQUEST);
  if (outer.tag === KIND_ERROR && findElement(inner, bytes, outer.from, outer.to, TAG_SEQUENCE)) {
    if (
      findElement(field, bytes, inner.from, inner.to, TAG_ERROR_CODE) &&
      readElement(field, bytes, field.from, field.to)
    ) {
      const code = field.to > field.from ? (bytes[field.to - 1] as number) : 0;
      operation.exception = ERRORS.get(code) ?? `error-${code}`;
    }
    if (operation.exception === UNKNOWN) tellUnknown(message, sink);
  }
  sink.operation(operation);
}

export const kerberos: Dissector = {
  name: 'kerberos',
  tcpPorts: [],
  udpPorts: [88],
  etherTypes: [],
  dissect(message, sink) {
    dissect(message, message.at, sink);
  },
};

export const kerberosOverTcp: Dissector = {
  name: 'kerberos',
  tcpPorts: [88],
  udpPorts: [],
  etherTypes: [],
  messageBytes(bytes, at, end) {
    if (end - at < 4) return NEED_MORE;
    const length = be32(bytes, at);
    return length === 0 || length > MESSAGE_BYTES_MAX ? NOT_OURS : 4 + length;
  },
  dissect(message, sink) {
    dissect(message, message.at + 4, sink);
  },
};
