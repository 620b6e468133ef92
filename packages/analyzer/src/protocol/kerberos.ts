/**
 * Kerberos 5 (RFC 4120), as far as guessing and forging show in it: which message, for whom, with which encryption, and why it was refused. BER, each message
 * in an application tag that is its kind; over TCP with four bytes of length before it.
 *
 *   AS-REQ 0x6a { … [4] body { … [8] encryption types … } }   AS-REP 0x6b   TGS-REQ 0x6c   TGS-REP 0x6d   AP-REQ 0x6e   KRB-ERROR 0x7e { … [6] error-code … }
 */
import { createElement, findElement, readElement, signedOf } from './ber.ts';
import { be32 } from './byte-reader.ts';
import { NEED_MORE, NOT_OURS, createOperation, resetOperation, type Dissector, type Message, type Sink } from './dissector.ts'; // prettier-ignore

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
const ENCRYPTION_TYPES_MAX = 8;
const ERRORS: ReadonlyMap<number, string> = new Map([
  [6, 'principal-unknown'],
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

/** `etype:23,18`: what the client offers, in its order, from the request that `outer` holds; '' where it cannot be read. */
function encryptionTypes(bytes: Uint8Array): string {
  const path = [TAG_SEQUENCE, TAG_BODY, TAG_SEQUENCE, TAG_ENCRYPTION_TYPES, TAG_SEQUENCE];
  let { from, to } = outer;
  for (const tag of path) {
    if (!findElement(inner, bytes, from, to, tag)) return '';
    ({ from, to } = inner);
  }
  const types: number[] = [];
  for (let at = from; types.length < ENCRYPTION_TYPES_MAX && readElement(field, bytes, at, to); at = field.to)
    if (field.tag === TAG_INTEGER && field.to > field.from) types.push(signedOf(bytes, field.from, field.to)); // prettier-ignore
  return types.length === 0 ? '' : `etype:${types.join(',')}`;
}

function dissect(message: Message, at: number, sink: Sink): void {
  const { bytes, end } = message;
  if (!readElement(outer, bytes, at, end)) return;
  const name = KINDS.get(outer.tag);
  if (name === undefined) return;
  resetOperation(operation);
  operation.code = outer.tag;
  operation.name = name;
  operation.action = 'session';
  operation.isResponse = !message.isFromClient;
  if (outer.tag === KIND_AS_REQ || outer.tag === KIND_TGS_REQ) operation.object = encryptionTypes(bytes);
  if (outer.tag === KIND_ERROR && findElement(inner, bytes, outer.from, outer.to, TAG_SEQUENCE)) {
    if (
      findElement(field, bytes, inner.from, inner.to, TAG_ERROR_CODE) &&
      readElement(field, bytes, field.from, field.to)
    ) {
      const code = field.to > field.from ? (bytes[field.to - 1] as number) : 0;
      operation.exception = ERRORS.get(code) ?? `error-${code}`;
    }
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
