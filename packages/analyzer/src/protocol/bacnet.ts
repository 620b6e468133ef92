/**
 * BACnet/IP (ASHRAE 135, annex J), big-endian:
 *
 *   BVLC   0 0x81   1 function   2 length of all (2)   (forwarded: 4 address and port of who sent it (6))
 *   NPDU   0 version = 1   1 control   (destination: network (2), length, address)   (source: the same)   (hop count)
 *   APDU   0 type and flags   confirmed: 1 sizes   2 invoke id   (segment: sequence, window)   service   then tagged data
 *
 * A tag is number, class and length in one byte or a few; opening and closing tags enclose what is built of others. Of a
 * message in several segments only the first is decoded. What a plain acknowledgement is about stands in its request: the last
 * are remembered by invoke id.
 */
import { be16, be24, be32 } from './byte-reader.ts';
import { CONFIRMED, ERRORS, OBJECT_TYPES, PROPERTIES, UNCONFIRMED, type Service } from './bacnet-names.ts';
import { createOperation, resetOperation, type Dissector, type Message, type Sink } from './dissector.ts';

const BVLC = 0x81;
const FORWARDED = 0x04;
const DISTRIBUTE = 0x09;
const BROADCAST = 0x0b;
const APPLICATION = -1;
const TAG_OBJECT = 12;

const BVLC_FUNCTIONS: readonly string[] = ['bvlc-result', 'write-broadcast-table', 'read-broadcast-table', 'read-broadcast-table-ack', '', 'register-foreign-device', 'read-foreign-devices', 'read-foreign-devices-ack', 'delete-foreign-device', '', '', '', 'secure-bvlc']; // prettier-ignore
const NETWORK_MESSAGES: ReadonlyMap<number, string> = new Map([[0, 'who-is-router'], [1, 'i-am-router'], [2, 'i-could-be-router'], [3, 'reject-to-network'], [4, 'router-busy'], [5, 'router-available'], [6, 'initialize-routing-table'], [7, 'initialize-routing-table-ack'], [8, 'establish-connection'], [9, 'disconnect-connection'], [0x12, 'what-is-network-number'], [0x13, 'network-number-is']]); // prettier-ignore
const REJECTS: readonly string[] = ['other', 'buffer-overflow', 'inconsistent-parameters', 'invalid-parameter-data-type', 'invalid-tag', 'missing-required-parameter', 'parameter-out-of-range', 'too-many-arguments', 'undefined-enumeration', 'unrecognized-service']; // prettier-ignore
const ABORTS: readonly string[] = ['other', 'buffer-overflow', 'invalid-apdu-in-this-state', 'preempted-by-higher-priority-task', 'segmentation-not-supported', 'security-error', 'insufficient-security', 'window-size-out-of-range', 'application-exceeded-reply-time', 'out-of-resources', 'tsm-timeout', 'apdu-too-long']; // prettier-ignore

/** Requests waiting for their answers, as [invoke id, object, property] three by three. */
const PENDING_NUMBERS_MAX = 3 * 8;
/** 8 is an operator's hand; 1, 2 and 5 are life safety and critical equipment. 16 is what a program writes. */
const MANUAL_PRIORITY = 8;
/** More tags than this are not looked at. */
const TAGS_MAX = 512;

const operation = createOperation('bacnet');
/** The tag at hand: `number` is its own, `kind` says how it is to be read, contents in `[from, to)`. */
const tag = { number: 0, kind: '' as 'application' | 'context' | 'open' | 'close', from: 0, to: 0 };
/** What was found in the message at hand; -1 where there is none. */
const found = { object: -1, property: -1, value: NaN, count: 0, vendor: -1, priority: NaN };

export const bacnet: Dissector = {
  name: 'bacnet',
  tcpPorts: [],
  udpPorts: [47_808],
  etherTypes: [],

  looksLike(bytes, at, end) {
    return (
      end - at >= 6 &&
      bytes[at] === BVLC &&
      (bytes[at + 1] as number) <= 0x0c &&
      be16(bytes, at + 2) === end - at
    );
  },

  dissect(message, sink) {
    const { bytes, at, end } = message;
    if (end - at < 4 || bytes[at] !== BVLC) {
      sink.violation('message without a header');
      return;
    }
    const code = bytes[at + 1] as number;
    if (be16(bytes, at + 2) !== end - at) sink.violation('length field and message disagree');
    resetOperation(operation);
    if (code === FORWARDED || (code >= DISTRIBUTE && code <= BROADCAST))
      network(message, at + (code === FORWARDED ? 10 : 4), sink);
    else link(bytes, at, end, code, sink);
  },
};

/** What devices say to the one that carries broadcasts between networks. */
function link(bytes: Uint8Array, at: number, end: number, code: number, sink: Sink): void {
  operation.code = code;
  operation.name = BVLC_FUNCTIONS[code] ?? `bvlc-${code}`;
  operation.isResponse = code === 0 || code === 3 || code === 7;
  if (code === 1 || code === 8) operation.action = 'control';
  else if (code === 5) operation.action = 'session';
  else if (code !== 0 && code < 8) operation.action = 'read';
  else if (code > 0x0c) sink.violation('function is not defined');
  if (code === 0 && end - at >= 6) {
    const result = be16(bytes, at + 4);
    if (result !== 0) operation.exception = `bvlc-result-${result}`;
  }
  sink.operation(operation);
}

function network(message: Message, start: number, sink: Sink): void {
  const { bytes, end } = message;
  if (end - start < 2) {
    sink.violation('message shorter than its header');
    return;
  }
  if (bytes[start] !== 1) {
    sink.violation('network version is not one');
    return;
  }
  const control = bytes[start + 1] as number;
  let at = start + 2;
  for (const bit of [0x20, 0x08]) {
    if ((control & bit) === 0) continue;
    at += at + 3 <= end ? 3 + (bytes[at + 2] as number) : 3;
  }
  if ((control & 0x20) !== 0) at += 1;
  if (at >= end) sink.violation('network header is cut');
  else if ((control & 0x80) !== 0) {
    const code = bytes[at] as number;
    operation.code = code;
    operation.name = NETWORK_MESSAGES.get(code) ?? `network-message-${code}`;
    operation.action = code <= 2 || code >= 0x12 ? 'discover' : code === 6 ? 'control' : 'other';
    operation.isResponse = code === 1 || code === 3 || code === 7 || code === 0x13;
    if (code <= 2 && at + 3 <= end) operation.object = `network:${be16(bytes, at + 1)}`;
    sink.operation(operation);
  } else application(message, at, sink);
}

function application(message: Message, at: number, sink: Sink): void {
  const { bytes, end } = message;
  const head = bytes[at] as number;
  const type = head >> 4;
  const isSegmented = (type === 0 || type === 3) && (head & 8) !== 0;
  const invokeAt = type === 0 ? at + 2 : at + 1;
  const codeAt = type === 1 ? at + 1 : invokeAt + (isSegmented ? 3 : 1);
  if (type === 4) return;
  if (type > 7 || codeAt >= end) {
    sink.violation(type > 7 ? 'message type is not defined' : 'message shorter than its header');
    return;
  }
  if (isSegmented && bytes[invokeAt + 1] !== 0) return;
  const code = bytes[codeAt] as number;
  const invoke = type === 1 ? -1 : (bytes[invokeAt] as number);
  const known = type === 1 ? UNCONFIRMED[code] : CONFIRMED[code];
  found.object = found.property = found.vendor = -1;
  found.value = found.priority = NaN;
  found.count = 0;
  operation.isResponse = type >= 2 || known?.isAnswer === true;
  if (type <= 5) {
    operation.code = code;
    operation.name = known?.name ?? `${type === 1 ? 'unconfirmed-' : ''}service-${code}`;
    operation.action = known?.action ?? 'other';
    if (known === undefined) sink.violation('service is not defined');
  }
  const isTagged = type <= 1 || type === 3;
  if (isTagged && known !== undefined) {
    const isWhole = search(bytes, codeAt + 1, end, known, type === 3);
    if (!isWhole && !isSegmented) sink.violation('tags and message disagree');
  }
  if (type === 0) remember(message, invoke);
  else if (type >= 2) recall(message, invoke);
  if (type === 5) operation.exception = errorName(bytes, codeAt + 1, end);
  else if (type === 6 || type === 7) {
    operation.name = type === 6 ? 'reject' : 'abort';
    operation.exception = `${operation.name}-${(type === 6 ? REJECTS : ABORTS)[code] ?? code}`;
  }
  operation.object = objectName();
  operation.count = found.count;
  operation.value = found.value;
  if (type === 1 && code === 0) identity(sink);
  // Priorities above those of automation: whoever writes there takes the point away from it.
  if (type === 0 && found.priority >= 1 && found.priority <= MANUAL_PRIORITY)
    sink.fact('write-priority', `${found.priority} ${operation.object}`);
  sink.operation(operation);
}

/** A device that says who it is names its instance and its maker. */
function identity(sink: Sink): void {
  if (found.object >= 0) sink.fact('device-instance', String(found.object % 0x40_0000));
  if (found.vendor >= 0) sink.fact('vendor-id', String(found.vendor));
}

/**
 * The first object, property and value of a service, where its definition has them. An acknowledgement encloses what it reads in
 * another tag than a request. False where a tag is longer than the message.
 */
function search(bytes: Uint8Array, start: number, end: number, service: Service, isAnswer: boolean): boolean {
  let depth = 0;
  let opened = -1;
  let applicationTags = 0;
  const propertyTag =
    isAnswer && service.answerProperty !== undefined ? service.answerProperty : service.property;
  const valueTag = isAnswer && service.answerValue !== undefined ? service.answerValue : service.value;
  for (let at = start, count = 0; at < end && count < TAGS_MAX; count++) {
    at = readTag(bytes, at, end);
    if (at < 0) return false;
    if (tag.kind === 'open') {
      depth++;
      opened = tag.number;
      continue;
    }
    if (tag.kind === 'close') {
      depth = Math.max(0, depth - 1);
      opened = -1;
      continue;
    }
    const length = tag.to - tag.from;
    if (tag.kind === 'application') {
      applicationTags++;
      if (opened >= 0 && opened === valueTag && Number.isNaN(found.value)) found.value = number(bytes);
      if (tag.number === TAG_OBJECT && service.object === APPLICATION && length === 4)
        found.object = be32(bytes, tag.from);
      // An I-Am: object, length, segmentation, vendor.
      if (service.object === APPLICATION && applicationTags === 4 && tag.number === 2)
        found.vendor = number(bytes);
      continue;
    }
    if (tag.number === service.object && length === 4 && found.object < 0)
      found.object = be32(bytes, tag.from);
    else if (tag.number === propertyTag && depth === service.depth && length <= 4) {
      if (found.property < 0) found.property = unsigned(bytes, tag.from, tag.to);
      found.count++;
    } else if (tag.number === service.priority && depth === service.depth && length === 1)
      found.priority = bytes[tag.from] as number;
    else if (service.scalar === tag.number && depth === 0) found.value = unsigned(bytes, tag.from, tag.to);
  }
  return true;
}

/** Fills `tag` and returns where the next begins; -1 where it is cut. */
function readTag(bytes: Uint8Array, start: number, end: number): number {
  const first = bytes[start] as number;
  let at = start + 1;
  tag.number = first >> 4;
  if (tag.number === 15) {
    if (at >= end) return -1;
    tag.number = bytes[at++] as number;
  }
  const isContext = (first & 8) !== 0;
  let length = first & 7;
  tag.kind = isContext ? (length === 6 ? 'open' : length === 7 ? 'close' : 'context') : 'application';
  // A boolean has its value where others have their length.
  if (length >= 6 && isContext) length = 0;
  else if (length === 5) {
    if (at >= end) return -1;
    length = bytes[at++] as number;
    if (length >= 254) {
      const width = length === 254 ? 2 : 4;
      if (at + width > end) return -1;
      length = width === 2 ? be16(bytes, at) : be32(bytes, at);
      at += width;
    }
  } else if (!isContext && tag.number === 1) {
    tag.from = start;
    tag.to = start;
    return at;
  }
  if (length > end - at) return -1;
  tag.from = at;
  tag.to = at + length;
  return at + length;
}

/** The application tag at hand as a number: boolean, unsigned, integer, real, double, enumerated. */
function number(bytes: Uint8Array): number {
  const { from, to } = tag;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  switch (tag.number) {
    case 1:
      return (bytes[from] as number) & 1;
    case 2:
    case 9:
      return unsigned(bytes, from, to);
    case 3:
      return to === from
        ? NaN
        : unsigned(bytes, from, to) - ((bytes[from] as number) > 127 ? 2 ** (8 * (to - from)) : 0);
    case 4:
      return to - from === 4 ? view.getFloat32(from) : NaN;
    case 5:
      return to - from === 8 ? view.getFloat64(from) : NaN;
    default:
      return NaN;
  }
}

function unsigned(bytes: Uint8Array, from: number, to: number): number {
  if (to - from === 1) return bytes[from] as number;
  if (to - from === 2) return be16(bytes, from);
  if (to - from === 3) return be24(bytes, from);
  return to - from === 4 ? be32(bytes, from) : NaN;
}

/** Class and code, both enumerated; some services put them inside another tag. */
function errorName(bytes: Uint8Array, start: number, end: number): string {
  const codes: number[] = [];
  for (let at = start; at >= 0 && at < end && codes.length < 2;) {
    at = readTag(bytes, at, end);
    if (
      at >= 0 &&
      tag.kind === 'application' &&
      tag.number === 9 &&
      tag.to - tag.from <= 4 &&
      tag.to > tag.from
    )
      codes.push(number(bytes));
  }
  const [group = 0, code = 0] = codes;
  return ERRORS.get(code) ?? `error-${group}-${code}`;
}

function objectName(): string {
  if (found.object < 0) return '';
  const type = Math.floor(found.object / 0x40_0000);
  const object = `${OBJECT_TYPES[type] || `type-${type}`}:${found.object % 0x40_0000}`;
  if (found.property < 0 || Number.isNaN(found.property)) return object;
  return `${object}.${PROPERTIES.get(found.property) ?? `property-${found.property}`}`;
}

function remember(message: Message, invoke: number): void {
  if (found.object < 0) return;
  const pending = (message.memory['pending'] ??= []) as number[];
  if (pending.length >= PENDING_NUMBERS_MAX) pending.splice(0, 3);
  pending.push(invoke, found.object, found.property);
}

function recall(message: Message, invoke: number): void {
  const pending = (message.memory['pending'] ?? []) as number[];
  for (let i = 0; i < pending.length; i += 3) {
    if (pending[i] !== invoke) continue;
    if (found.object < 0) {
      found.object = pending[i + 1] as number;
      found.property = pending[i + 2] as number;
    }
    pending.splice(i, 3);
    return;
  }
}
