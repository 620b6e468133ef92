/**
 * LDAP (RFC 4511), as far as it shows who looks a directory through: which operation, with which filter, and why it was refused. BER:
 *
 *   0x30 { INTEGER id, operation { … } }        operation: 0x60 bind, 0x63 search, 0x64 entry, 0x65 done, 0x66 modify …
 *
 * After a SASL bind each buffer has four bytes of length (RFC 4422, section 3.7) and a token before it; where it is signed and not sealed, the message
 * stands readable behind the token. After StartTLS there are TLS records.
 */
import { createElement, readElement, unsignedOf } from './ber.ts';
import { be32, text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';

const SIMPLE = 0x80;
const ENTRY = 0x64;
const ATTRIBUTES_MAX = 32;
const JAVA_CODE: ReadonlySet<string> = new Set(['javacodebase', 'javaserializeddata', 'javafactory']);
const TAG_SEQUENCE = 0x30;
const TAG_INTEGER = 0x02;
const TAG_ENUMERATED = 0x0a;
const BIND = 0x60;
const SEARCH = 0x63;
const OPERATIONS: ReadonlyMap<number, readonly [name: string, action: Action]> = new Map([
  [BIND, ['bind', 'session']],
  [0x61, ['bind', 'session']],
  [0x42, ['unbind', 'session']],
  [SEARCH, ['search', 'read']],
  [0x64, ['search-entry', 'read']],
  [0x65, ['search', 'read']],
  [0x73, ['search-reference', 'read']],
  [0x66, ['modify', 'write']],
  [0x67, ['modify', 'write']],
  [0x68, ['add', 'write']],
  [0x69, ['add', 'write']],
  [0x4a, ['delete', 'write']],
  [0x6b, ['delete', 'write']],
  [0x6c, ['modify-dn', 'write']],
  [0x6d, ['modify-dn', 'write']],
  [0x6e, ['compare', 'read']],
  [0x6f, ['compare', 'read']],
  [0x50, ['abandon', 'other']],
  [0x77, ['extended', 'other']],
  [0x78, ['extended', 'other']],
  [0x79, ['intermediate', 'other']],
]);
/** Answers that begin with a result code. */
const RESULTS: ReadonlySet<number> = new Set([0x61, 0x65, 0x67, 0x69, 0x6b, 0x6d, 0x6f, 0x78]);
/** Section 4.1.9. Compare false and true, referral, and the next step of a SASL bind are no refusals. */
const NO_REFUSALS: ReadonlySet<number> = new Set([0, 5, 6, 10, 14]);
const REFUSALS: ReadonlyMap<number, string> = new Map([
  [1, 'operations-error'],
  [3, 'time-limit-exceeded'],
  [4, 'size-limit-exceeded'],
  [7, 'method-not-supported'],
  [8, 'stronger-auth-required'],
  [32, 'no-such-object'],
  [34, 'invalid-dn'],
  [48, 'inappropriate-authentication'],
  [49, 'invalid-credentials'],
  [50, 'insufficient-access-rights'],
  [51, 'busy'],
  [53, 'unwilling-to-perform'],
  [68, 'entry-already-exists'],
]);
/** Of a search: base object, scope, aliases, two limits and types-only stand before the filter (section 4.5.1). */
const FIELDS_BEFORE_FILTER = 6;
const SCOPES = ['base', 'one-level', 'subtree'];
/** Filters are nested; what tools send is four deep. */
const FILTER_DEPTH_MAX = 12;
const AND = 0xa0;
const OR = 0xa1;
const NOT = 0xa2;
const SUBSTRINGS = 0xa4;
const PRESENT = 0x87;
const EXTENSIBLE = 0xa9;
const COMPARISONS: ReadonlyMap<number, string> = new Map([
  [0xa3, '='],
  [0xa5, '>='],
  [0xa6, '<='],
  [0xa8, '~='],
]);
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
/** Of Kerberos 60 with a rotated checksum, of NTLMSSP 16. */
const TOKEN_BYTES_MAX = 64;

const element = createElement();
const operation = createOperation('ldap');

function messageBytes(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < 5) return NEED_MORE;
  const first = bytes[at] as number;
  if (first === TAG_SEQUENCE) {
    const size = bytes[at + 1] as number;
    const digits = size & 0x7f;
    if (size < 0x80) return 2 + size;
    if (digits === 0 || digits > 4) return NOT_OURS;
    if (end - at < 2 + digits) return NEED_MORE;
    const length = unsignedOf(bytes, at + 2, at + 2 + digits);
    return length > MESSAGE_BYTES_MAX ? NOT_OURS : 2 + digits + length;
  }
  // A TLS record: content type, version 3.x, length.
  if (first >= 0x14 && first <= 0x17 && bytes[at + 1] === 3) return 5 + (((bytes[at + 3] as number) << 8) | (bytes[at + 4] as number)); // prettier-ignore
  if (first === 0 && be32(bytes, at) > 0) return 4 + be32(bytes, at);
  return NOT_OURS;
}

function dissect(message: Message, sink: Sink): void {
  const { bytes, end } = message;
  let at = messageAt(bytes, message.at, end);
  // A datagram, or a sealed buffer, may hold several.
  while (at !== -1 && readElement(element, bytes, at, end) && element.tag === TAG_SEQUENCE) {
    const next = element.to;
    one(message, element.from, element.to, sink);
    at = next < end ? next : -1;
  }
}

/** Where the LDAP message begins, behind the token of a signed buffer; -1 where it cannot be read. */
function messageAt(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end || bytes[at] === TAG_SEQUENCE) return at < end ? at : -1;
  if (bytes[at] !== 0) return -1;
  for (let from = at + 4; from < Math.min(end, at + 4 + TOKEN_BYTES_MAX); from++) {
    if (bytes[from] !== TAG_SEQUENCE || !readElement(element, bytes, from, end) || element.isCut) continue;
    const { from: inside, to } = element;
    if (readElement(element, bytes, inside, to) && element.tag === TAG_INTEGER && element.to - element.from <= 4 && element.to < to && OPERATIONS.has(bytes[element.to] as number)) return from; // prettier-ignore
  }
  return -1;
}

/** The message whose content is `bytes[from, to)`. */
function one(message: Message, from: number, to: number, sink: Sink): void {
  const { bytes } = message;
  if (!readElement(element, bytes, from, to) || element.tag !== TAG_INTEGER) return;
  const body = element.to;
  if (!readElement(element, bytes, body, to)) return;
  const known = OPERATIONS.get(element.tag);
  if (known === undefined) return;
  const { from: inside, to: last } = element;
  const tag = bytes[body] as number;
  resetOperation(operation);
  [operation.name, operation.action] = known;
  operation.code = tag;
  operation.isResponse = !message.isFromClient;
  if (RESULTS.has(tag)) operation.exception = refusal(bytes, inside, last);
  else if (tag === SEARCH) search(bytes, inside, last);
  else if (tag === 0x4a) operation.object = text(bytes, inside, last, OBJECT_CHARACTERS_MAX);
  else operation.object = firstName(bytes, inside, last, tag === BIND);
  if (tag === BIND && hasPassword(bytes, element.to, last)) sink.fact('password', 'ldap');
  if (tag === ENTRY) javaAttributes(bytes, element.to, last, sink);
  sink.operation(operation);
}

/** Behind the name of a simple bind (section 4.2). */
function hasPassword(bytes: Uint8Array, at: number, to: number): boolean {
  return readElement(element, bytes, at, to) && element.tag === SIMPLE && element.to > element.from;
}

/** Attributes of an entry that make a Java client load code or objects (RFC 2713): `at` stands behind the entry's name. */
function javaAttributes(bytes: Uint8Array, at: number, to: number, sink: Sink): void {
  if (!readElement(element, bytes, at, to) || element.tag !== TAG_SEQUENCE) return;
  const last = element.to;
  let next = element.from;
  for (let i = 0; i < ATTRIBUTES_MAX && readElement(element, bytes, next, last); i++) {
    next = element.to;
    if (!readElement(element, bytes, element.from, element.to)) return;
    const name = text(bytes, element.from, element.to, 32);
    if (JAVA_CODE.has(name.toLowerCase())) sink.fact('java-attribute', name);
  }
}

function refusal(bytes: Uint8Array, from: number, to: number): string {
  if (!readElement(element, bytes, from, to) || element.tag !== TAG_ENUMERATED) return '';
  const code = unsignedOf(bytes, element.from, element.to);
  return NO_REFUSALS.has(code) ? '' : (REFUSALS.get(code) ?? `result-${code}`);
}

/** The distinguished name that the operation is about; a bind has its version before it. */
function firstName(bytes: Uint8Array, from: number, to: number, isBind: boolean): string {
  if (!readElement(element, bytes, from, to)) return '';
  if (isBind && !readElement(element, bytes, element.to, to)) return '';
  return element.tag === 0x04 ? text(bytes, element.from, element.to, OBJECT_CHARACTERS_MAX) : '';
}

/** `count` is the scope (1 base, 2 one level, 3 subtree), `object` the filter as RFC 4515 writes it, as much of it as there is room for. */
function search(bytes: Uint8Array, from: number, to: number): void {
  let at = from;
  for (let i = 0; i < FIELDS_BEFORE_FILTER; i++) {
    if (!readElement(element, bytes, at, to)) return;
    if (i === 1) operation.name = `search-${SCOPES[unsignedOf(bytes, element.from, element.to)] ?? 'other'}`;
    at = element.to;
  }
  operation.object = filter(bytes, at, to, 0, OBJECT_CHARACTERS_MAX).slice(0, OBJECT_CHARACTERS_MAX);
}

/** The filter that begins at `at`, in about `limit` characters. */
function filter(bytes: Uint8Array, at: number, end: number, depth: number, limit: number): string {
  if (limit <= 0 || depth > FILTER_DEPTH_MAX || !readElement(element, bytes, at, end)) return '';
  const { tag, from, to } = element;
  if (tag === PRESENT) return `(${text(bytes, from, to, limit)}=*)`;
  if (tag === AND || tag === OR || tag === NOT) {
    let out = tag === AND ? '(&' : tag === OR ? '(|' : '(!';
    for (let next = from; next < to && out.length < limit && readElement(element, bytes, next, to);) {
      const after = element.to;
      out += filter(bytes, next, to, depth + 1, limit - out.length);
      next = after;
    }
    return `${out})`;
  }
  const comparison = COMPARISONS.get(tag);
  if (comparison === undefined && tag !== SUBSTRINGS && tag !== EXTENSIBLE) return '';
  // Two or three strings: attribute, (rule,) value.
  const parts: string[] = [];
  for (let next = from; parts.length < 3 && readElement(element, bytes, next, to); next = element.to)
    parts.push(element.tag === TAG_SEQUENCE ? '*' : text(bytes, element.from, element.to, limit));
  if (tag === EXTENSIBLE) {
    const [rule = '', attribute = '', value = ''] = parts;
    return `(${attribute}:${rule}:=${value})`;
  }
  return `(${parts[0] ?? ''}${comparison ?? '='}${parts[1] ?? ''})`;
}

export const ldap: Dissector = {
  name: 'ldap',
  tcpPorts: [389, 3268],
  udpPorts: [389],
  etherTypes: [],
  messageBytes,

  // A bind with its version: the id and one number stand where nobody else has them.
  looksLike(bytes, at, end) {
    if (messageBytes(bytes, at, end) <= 0 || bytes[at] !== TAG_SEQUENCE) return false;
    if (!readElement(element, bytes, at, end) || element.isCut) return false;
    const { from, to } = element;
    if (!readElement(element, bytes, from, to) || element.tag !== TAG_INTEGER) return false;
    if (bytes[element.to] !== BIND || !readElement(element, bytes, element.to, to)) return false;
    return readElement(element, bytes, element.from, to) && element.tag === TAG_INTEGER && unsignedOf(bytes, element.from, element.to) === 3; // prettier-ignore
  },

  dissect,
};
