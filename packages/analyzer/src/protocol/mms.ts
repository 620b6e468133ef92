/**
 * MMS (ISO 9506-2, as IEC 61850-8-1 uses it), inside ISO on TCP: session, presentation, then BER. Some devices leave the two out.
 *
 *   session        0 type: data 01 00 01 00, connect 0d, accept 0e, finish 09, abort 19; each but data with parameters, user data in c1
 *   presentation   data 61 { 30 { 02 context, a0 PDU } }; connect 31 { a2 { 61 { 30 { 02, a0 { 60 ACSE { be { 28 { a0 PDU } } } } } } } }
 *   PDU            a0 request, a1 answer, a2 error, a3 unconfirmed, a4 reject, a8 initiate: 02 invoke id, then the service by its tag
 *   read           a4 { a1 { a0 { 30 { a0 name } } | a1 name of a list } }, answer a4 { a1 { values or 80 error } }
 *   write          a5 { a0 { 30 { a0 name } } | a1 name of a list, a0 { values } }, answer a5 { 80 error or 81 }
 *   name           80 of the device, a1 { 1a domain, 1a item }, 82 of the association
 *
 * Remembered: what the last requests were about, by invoke id.
 */
import {
  countElements,
  createElement,
  findElement,
  firstValue,
  isConstructed,
  readElement,
  unsignedOf,
  type Element,
} from './ber.ts';
import { be16, text } from './byte-reader.ts';
import {
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Memory,
  type Message,
  type Sink,
} from './dissector.ts';
import { DATA_ACCESS_ERRORS, SERVICES } from './mms-services.ts';
import { rememberObject, takeObject } from './pending-object.ts';

/** Session types with user data, and those that are told by themselves. */
const SESSION_DATA = 0x01;
const SESSION_CONNECT = 0x0d;
const SESSION_ACCEPT = 0x0e;
const SESSION_ENDS: Readonly<Record<number, string>> = {
  0x08: 'finish-refused', 0x09: 'finish', 0x0a: 'disconnect', 0x0c: 'refuse', 0x19: 'abort', 0x1a: 'abort-accept',
}; // prettier-ignore
const SESSION_USER_DATA = 0xc1;
const SESSION_EXTENDED_USER_DATA = 0xc2;

const SERVICE_READ = 4;
const SERVICE_WRITE = 5;
const SERVICE_DEFINE_LIST = 11;
/** Their argument is the name of a domain or program invocation and nothing else. */
const NAMED_BY_CONTENT: ReadonlySet<number> = new Set([27, 28, 29, 36, 37, 39, 45]);

/** PDUs without a service, by the number of their tag: what they are, and whether they answer. */
const PLAIN_PDUS: Readonly<Record<number, readonly [string, boolean]>> = {
  4: ['reject', true], 5: ['cancel', false], 6: ['cancel', true], 7: ['cancel', true], 8: ['initiate', false],
  9: ['initiate', true], 10: ['initiate', true], 11: ['conclude', false], 12: ['conclude', true],
  13: ['conclude', true],
}; // prettier-ignore
const REFUSALS: ReadonlySet<number> = new Set([4, 7, 10, 13]);

const UNCONFIRMED: readonly string[] = ['information-report', 'unsolicited-status', 'event-notification'];

/** IEC 61850 writes to these to operate something. */
const CONTROL_ITEM = /\$(Oper|SBO|SBOw|Cancel)(\$|$)/;

const DEPTH_MAX = 12;
const operation = createOperation('mms');
const pdu = createElement();
const service = createElement();
const specification = createElement();
const element = createElement();

/** An ISO session, or a PDU without one. */
export function looksLikeMms(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < 2) return false;
  const type = bytes[at] as number;
  return (
    isPdu(type) || type === SESSION_DATA || (type >= 0x08 && type <= 0x0e) || type === 0x19 || type === 0x1a
  );
}

function isPdu(tag: number): boolean {
  return (tag >= 0xa0 && tag <= 0xad) || (tag >= 0x85 && tag <= 0x8c);
}

/** Reads one message: `bytes[at, end)`, which holds only its beginning where `isWhole` is false. `message` says who sent it. */
export function dissectMms(
  message: Message,
  bytes: Uint8Array,
  at: number,
  end: number,
  isWhole: boolean,
  sink: Sink,
): void {
  resetOperation(operation);
  const type = bytes[at] as number;
  if (isPdu(type)) {
    if (readElement(pdu, bytes, at, end)) readPdu(message, bytes, isWhole, sink);
    return;
  }
  if (SESSION_ENDS[type] !== undefined) {
    operation.action = 'session';
    operation.name = SESSION_ENDS[type];
    operation.code = type;
    operation.isResponse = type === 0x08 || type === 0x0a || type === 0x0c || type === 0x1a;
    if (type === 0x08 || type === 0x0c) operation.exception = 'refused';
    sink.operation(operation);
    return;
  }
  let from = -1;
  // Data stands behind an empty `give tokens`; in the connect it is a parameter.
  if (type === SESSION_DATA) from = end - at >= 4 && bytes[at + 1] === 0 && bytes[at + 2] === 1 ? at + 4 : -1;
  else if (type === SESSION_CONNECT || type === SESSION_ACCEPT) from = sessionUserData(bytes, at, end);
  if (from < 0) sink.violation('session message is not understood');
  else if (!findPdu(bytes, from, end, 0)) {
    if (isWhole) sink.violation('presentation without an MMS message');
  } else readPdu(message, bytes, isWhole, sink);
}

/** Where the user data of a connect begins; -1 when it is not there. A parameter: code (1), length (1, or ff and 2), value. */
function sessionUserData(bytes: Uint8Array, at: number, end: number): number {
  let next = at;
  for (let isHead = true; end - next >= 2; isHead = false) {
    const code = bytes[next] as number;
    let length = bytes[next + 1] as number;
    next += 2;
    if (length === 0xff) {
      if (end - next < 2) return -1;
      length = be16(bytes, next);
      next += 2;
    }
    if (!isHead && (code === SESSION_USER_DATA || code === SESSION_EXTENDED_USER_DATA)) return next;
    if (!isHead) next += length;
  }
  return -1;
}

/** Goes down through presentation and ACSE to the MMS PDU and leaves it in `pdu`. */
function findPdu(bytes: Uint8Array, at: number, end: number, depth: number): boolean {
  const inner = createElement();
  for (let next = at; readElement(inner, bytes, next, end); next = inner.to) {
    const { tag, from, to } = inner;
    // The value of a presentation context: MMS itself, or ACSE around it.
    if (tag === 0xa0 && to > from && (depth === 2 || depth >= 5) && isPdu(bytes[from] as number))
      return readElement(pdu, bytes, from, to);
    const isWrapper = tag === 0x61 || tag === 0x60 || tag === 0x31 || tag === 0x30 || tag === 0x28;
    const isNormalMode = tag === 0xa2 && depth === 1;
    const isUserInformation = tag === 0xbe || (tag === 0xa0 && depth >= 2);
    if (
      (isWrapper || isNormalMode || isUserInformation) &&
      depth < DEPTH_MAX &&
      findPdu(bytes, from, to, depth + 1)
    )
      return true;
  }
  return false;
}

function readPdu({ memory }: Message, bytes: Uint8Array, isWhole: boolean, sink: Sink): void {
  const kind = pdu.tag & 0x1f;
  if (pdu.isCut && isWhole) sink.violation('MMS message longer than what carries it');
  const plain = PLAIN_PDUS[kind];
  if (plain !== undefined) {
    operation.action = 'session';
    operation.name = plain[0];
    operation.isResponse = plain[1];
    if (REFUSALS.has(kind)) operation.exception = 'refused';
  } else if (kind === 3) unconfirmed(bytes);
  else if (!confirmed(memory, bytes, kind, sink)) return;
  sink.operation(operation);
}

/** Request 0, answer 1 or error 2; false when there is nothing to tell. */
function confirmed(memory: Memory, bytes: Uint8Array, kind: number, sink: Sink): boolean {
  if (!readElement(service, bytes, pdu.from, pdu.to)) {
    sink.violation('MMS message without an invoke id');
    return false;
  }
  // In an error the invoke id has a tag of its own.
  const invoke = unsignedOf(bytes, service.from, service.to);
  operation.isResponse = kind !== 0;
  if (kind === 2) {
    operation.name = 'error';
    operation.object = takeObject(memory, invoke);
    operation.exception = errorOf(bytes, service.to, pdu.to);
    return true;
  }
  // Modifiers, an ordinary sequence, may stand before the service.
  do {
    if (!readElement(service, bytes, service.to, pdu.to)) {
      sink.violation('MMS message without a service');
      return false;
    }
  } while (service.tag === 0x30);
  const number = service.tag > 0xff ? service.tag & 0x7f : service.tag & 0x1f;
  const known = SERVICES[number];
  operation.code = number;
  operation.name = known?.[0] ?? `service-${number}`;
  operation.action = known?.[1] ?? 'other';
  if (known === undefined) sink.violation('MMS service is not defined');
  if (kind === 0) {
    request(bytes, number);
    if (operation.object !== '') rememberObject(memory, invoke, operation.object);
  } else {
    operation.object = takeObject(memory, invoke);
    answer(bytes, number);
  }
  if (number === SERVICE_WRITE && CONTROL_ITEM.test(operation.object)) operation.action = 'control';
  return true;
}

function request(bytes: Uint8Array, number: number): void {
  const { from, to } = service;
  if (number === SERVICE_READ) {
    if (findElement(specification, bytes, from, to, 0xa1))
      variables(bytes, specification.from, specification.to);
  } else if (number === SERVICE_WRITE) {
    const next = variables(bytes, from, to);
    if (findElement(element, bytes, next, to, 0xa0))
      operation.value = firstValue(bytes, element.from, element.to);
  } else if (isConstructed(service.tag)) {
    operation.object = firstName(bytes, from, to, 0);
    if (number === SERVICE_DEFINE_LIST && findElement(element, bytes, from, to, 0xa0))
      operation.count = countElements(element, bytes, element.from, element.to);
  } else if (NAMED_BY_CONTENT.has(number)) operation.object = text(bytes, from, to, OBJECT_CHARACTERS_MAX);
}

function answer(bytes: Uint8Array, number: number): void {
  let { from, to } = service;
  if (number === SERVICE_READ) {
    if (!findElement(specification, bytes, from, to, 0xa1)) return;
    ({ from, to } = specification);
    operation.value = firstValue(bytes, from, to);
  } else if (number !== SERVICE_WRITE) return;
  results(bytes, from, to);
}

/** Counts results and tells the first that failed. */
function results(bytes: Uint8Array, at: number, end: number): void {
  for (let next = at; readElement(element, bytes, next, end); next = element.to) {
    operation.count++;
    if (element.tag !== 0x80 || operation.exception !== '') continue;
    const error = unsignedOf(bytes, element.from, element.to);
    operation.exception = DATA_ACCESS_ERRORS[error] ?? 'data-access-error';
  }
}

/** informationReport: what it is about, then the values. */
function unconfirmed(bytes: Uint8Array): void {
  operation.action = 'report';
  const number = readElement(service, bytes, pdu.from, pdu.to) ? service.tag & 0x1f : -1;
  operation.code = number;
  operation.name = UNCONFIRMED[number] ?? `unconfirmed-${number}`;
  if (number !== 0) return;
  const { from, to } = service;
  const next = variables(bytes, from, to);
  if (!findElement(element, bytes, next, to, 0xa0)) return;
  const [listFrom, listTo] = [element.from, element.to];
  operation.value = firstValue(bytes, listFrom, listTo);
  operation.count = countElements(element, bytes, listFrom, listTo);
}

/** A list of variables or the name of one: fills object and count, and tells where it ends. */
function variables(bytes: Uint8Array, at: number, end: number): number {
  if (!readElement(element, bytes, at, end)) return end;
  const { tag, from, to } = element;
  operation.object = firstName(bytes, from, to, 0);
  operation.count = tag === 0xa0 ? countElements(element, bytes, from, to) : 1;
  return to;
}

/** The first name in `[at, end)`, without its domain; '' when there is none. */
function firstName(bytes: Uint8Array, at: number, end: number, depth: number): string {
  const inner: Element = createElement();
  for (let next = at; readElement(inner, bytes, next, end); next = inner.to) {
    const { tag, from, to } = inner;
    let name = '';
    if (tag === 0x1a && readElement(inner, bytes, to, end) && inner.tag === 0x1a)
      name = text(bytes, inner.from, inner.to, OBJECT_CHARACTERS_MAX);
    else if (tag === 0x1a || tag === 0x19) name = text(bytes, from, to, OBJECT_CHARACTERS_MAX);
    // Names of the device, a domain or an association; a number or flag in the same place is shorter.
    else if (tag >= 0x80 && tag <= 0x82 && to - from > 1) name = text(bytes, from, to, OBJECT_CHARACTERS_MAX);
    else if (isConstructed(tag) && depth < DEPTH_MAX) name = firstName(bytes, from, to, depth + 1);
    if (name !== '') return name;
    inner.to = Math.max(inner.to, to);
  }
  return '';
}

/** Class and code of a service error: a2 { a0 { 8x code } }. */
function errorOf(bytes: Uint8Array, at: number, end: number): string {
  if (!findElement(element, bytes, at, end, 0xa2)) return 'error';
  const [from, to] = [element.from, element.to];
  if (!findElement(element, bytes, from, to, 0xa0)) return 'error';
  if (!readElement(element, bytes, element.from, element.to)) return 'error';
  const code = unsignedOf(bytes, element.from, element.to);
  return `error-${element.tag & 0x1f}-${Number.isNaN(code) ? 'unknown' : code}`;
}
