/**
 * CIP (Common Industrial Protocol, explicit messages), little-endian, as EtherNet/IP carries it:
 *
 *   request   0 service (1)            1 path length in words (1)   2 path (EPATH)                       then data
 *   answer    0 service | 0x80 (1)     2 general status (1)         3 words of additional status (1)     then data
 *
 * A path names class, instance and attribute, or a tag by its symbol. Service codes from 0x4b on mean something else in each
 * class. Services inside others (multiple service packet, unconnected send) are reported, not their wrapping. What an answer
 * is about stands only in the request: the last requests of a conversation are remembered by the key that the caller gives.
 */
import { hex, le16, le32, text } from './byte-reader.ts';
import { CLASS_MANAGER, CLASS_PCCC, FILE_LETTERS, PCCC, nameService } from './cip-services.ts';
import { OBJECT_CHARACTERS_MAX, resetOperation } from './dissector.ts';
import type { Action, Memory, Operation, Sink } from './dissector.ts';

const REPLY_BIT = 0x80;
const MULTIPLE = 0x0a;
const UNCONNECTED_SEND = 0x52;
const PARTIAL = 0x06;
const EMBEDDED_ERROR = 0x1e;
const INNER_MAX = 16;
const DEPTH_MAX = 3;

const STATUSES: readonly string[] = ['', 'connection-failure', 'resource-unavailable', 'invalid-parameter-value', 'path-segment-error', 'path-destination-unknown', 'partial-transfer', 'connection-lost', 'service-not-supported', 'invalid-attribute-value', 'attribute-list-error', 'already-in-requested-mode', 'object-state-conflict', 'object-already-exists', 'attribute-not-settable', 'privilege-violation', 'device-state-conflict', 'reply-too-large', 'fragmented-primitive', 'not-enough-data', 'attribute-not-supported', 'too-much-data', 'object-does-not-exist', 'fragmentation-sequence-error', 'no-stored-attribute-data', 'store-failure', 'request-too-large', 'response-too-large', 'missing-attribute-list-entry', 'invalid-attribute-list', 'embedded-service-error', 'vendor-specific', 'invalid-parameter']; // prettier-ignore

/** What the path at hand says. */
const path = { end: 0, object: '', classId: -1, isSymbolic: false };
/** Lines `code name action object` of the message at hand: gathered from a request, used up by an answer. */
let asked: string[] = [];

/** Reports the services in `bytes[at, end)`. `key` pairs an answer with its request. */
export function dissectCip(
  bytes: Uint8Array,
  at: number,
  end: number,
  key: string,
  memory: Memory,
  operation: Operation,
  sink: Sink,
): void {
  if (at >= end) return;
  const isAnswer = ((bytes[at] as number) & REPLY_BIT) !== 0;
  asked = isAnswer ? recall(memory, key) : [];
  service(bytes, at, end, 0, operation, sink);
  if (!isAnswer && asked.length > 0) remember(memory, key, asked);
}

function service(
  bytes: Uint8Array,
  at: number,
  end: number,
  depth: number,
  operation: Operation,
  sink: Sink,
): void {
  if (end - at < 2) {
    sink.violation('CIP message shorter than its header');
    return;
  }
  resetOperation(operation);
  operation.code = (bytes[at] as number) & ~REPLY_BIT;
  operation.isResponse = ((bytes[at] as number) & REPLY_BIT) !== 0;
  if (operation.isResponse) answer(bytes, at, end, depth, operation, sink);
  else request(bytes, at, end, depth, operation, sink);
}

function request(
  bytes: Uint8Array,
  at: number,
  end: number,
  depth: number,
  operation: Operation,
  sink: Sink,
): void {
  const { code } = operation;
  const data = at + 2 + 2 * (bytes[at + 1] as number);
  if (data > end) sink.violation('CIP path is longer than its message');
  readPath(bytes, at + 2, Math.min(data, end));
  const { classId, object } = path;
  if (code === MULTIPLE && depth < DEPTH_MAX) {
    inner(bytes, data, end, depth, operation, sink);
    return;
  }
  if (code === UNCONNECTED_SEND && classId === CLASS_MANAGER && depth < DEPTH_MAX) {
    const length = data + 4 <= end ? le16(bytes, data + 2) : end;
    if (data + 4 + length <= end) service(bytes, data + 4, data + 4 + length, depth + 1, operation, sink);
    else sink.violation('embedded message is longer than its packet');
    return;
  }
  operation.object = object;
  nameService(operation, classId, path.isSymbolic);
  if (data <= end) requestData(bytes, data, end, classId, operation);
  if (asked.length < INNER_MAX)
    asked.push(`${code} ${operation.name} ${operation.action} ${operation.object}`);
  sink.operation(operation);
}

function requestData(
  bytes: Uint8Array,
  data: number,
  end: number,
  classId: number,
  operation: Operation,
): void {
  const { code, name } = operation;
  if (classId === CLASS_PCCC && code === 0x4b) pccc(bytes, data, end, operation);
  else if (name === 'read-tag' || name === 'read-tag-fragmented')
    operation.count = data + 2 <= end ? le16(bytes, data) : 0;
  else if ((name === 'write-tag' || name === 'write-tag-fragmented') && data + 4 <= end) {
    operation.count = le16(bytes, data + 2);
    operation.value = typed(bytes, le16(bytes, data), data + (code === 0x53 ? 8 : 4), end);
  } else if (name === 'set-attribute-single') operation.value = plain(bytes, data, end);
  else if (name === 'forward-open' || name === 'large-forward-open') {
    // What is connected to stands behind the parameters.
    const sizeAt = data + (code === 0x54 ? 35 : 39);
    if (sizeAt >= end) return;
    readPath(bytes, sizeAt + 1, Math.min(end, sizeAt + 1 + 2 * (bytes[sizeAt] as number)));
    if (path.object !== '') operation.object = path.object;
  }
}

function answer(
  bytes: Uint8Array,
  at: number,
  end: number,
  depth: number,
  operation: Operation,
  sink: Sink,
): void {
  const { code } = operation;
  if (end - at < 4) {
    sink.violation('CIP answer shorter than its header');
    return;
  }
  const status = bytes[at + 2] as number;
  const data = at + 4 + 2 * (bytes[at + 3] as number);
  if (code === MULTIPLE && (status === 0 || status === EMBEDDED_ERROR) && depth < DEPTH_MAX) {
    inner(bytes, data, end, depth, operation, sink);
    return;
  }
  const [askedCode = '', name = '', action = '', ...object] = (asked.shift() ?? '').split(' ');
  if (askedCode === String(code)) {
    operation.name = name;
    operation.action = action as Action;
    operation.object = object.join(' ');
  } else nameService(operation, -1, false);
  // More data than one answer holds is no refusal.
  if (status !== 0 && status !== PARTIAL) operation.exception = STATUSES[status] ?? `status-${hex(status)}`;
  else if (operation.name.startsWith('read-tag') && data + 2 <= end)
    operation.value = typed(bytes, le16(bytes, data), data + 2, end);
  else if (operation.name === 'get-attribute-single' && data <= end)
    operation.value = plain(bytes, data, end);
  else if (operation.name.startsWith('pccc-') && data < end) {
    const head = data + (bytes[data] as number);
    const refusal = head + 1 < end ? (bytes[head + 1] as number) : 0;
    if (refusal !== 0) operation.exception = `pccc-status-${hex(refusal)}`;
  }
  sink.operation(operation);
}

/** Each service of a multiple service packet: a count, then offsets from that count. */
function inner(
  bytes: Uint8Array,
  data: number,
  end: number,
  depth: number,
  operation: Operation,
  sink: Sink,
): void {
  const count = data + 2 <= end ? le16(bytes, data) : 0;
  if (count === 0 || data + 2 + 2 * count > end) {
    sink.violation('multiple service packet is cut');
    return;
  }
  for (let i = 0; i < Math.min(count, INNER_MAX); i++) {
    const from = data + le16(bytes, data + 2 + 2 * i);
    const to = i + 1 < count ? data + le16(bytes, data + 4 + 2 * i) : end;
    if (from < data + 2 + 2 * count || to <= from || to > end) {
      sink.violation('offsets of a multiple service packet disagree');
      return;
    }
    service(bytes, from, to, depth + 1, operation, sink);
  }
}

/** Requestor (its length first), command, status, transaction (2), function, and the address of a logical read or write. */
function pccc(bytes: Uint8Array, data: number, end: number, operation: Operation): void {
  operation.name = 'execute-pccc';
  const head = data < end ? data + (bytes[data] as number) : end;
  if (head + 4 > end) return;
  const command = bytes[head] as number;
  const hasFunction = command === 0x06 || command === 0x0f;
  const sub = hasFunction && head + 4 < end ? (bytes[head + 4] as number) : 0;
  const known = PCCC.get((command << 8) | sub);
  operation.name = known?.[0] ?? `pccc-${hex(command)}-${hex(sub)}`;
  operation.action = known?.[1] ?? 'other';
  if (command !== 0x0f || sub < 0xa1 || sub > 0xab || known === undefined) return;
  let at = head + 6;
  const field = (): number => {
    if (at >= end) return 0;
    const byte = bytes[at++] as number;
    if (byte !== 0xff || at + 2 > end) return byte;
    at += 2;
    return le16(bytes, at - 2);
  };
  const file = field();
  const type = field();
  const element = field();
  const sub3 = (sub & 7) >= 2 ? field() : 0;
  operation.object = `${FILE_LETTERS.get(type) ?? `file-${hex(type)}-`}${file}:${element}${sub3 === 0 ? '' : `.${sub3}`}`;
  if ((sub === 0xa9 || sub === 0xaa) && at + 2 <= end) operation.value = le16(bytes, at);
}

/** Fills `path` from the segments in `bytes[at, end)`; stops at one that it does not know. */
function readPath(bytes: Uint8Array, start: number, end: number): void {
  path.object = '';
  path.classId = -1;
  path.isSymbolic = false;
  for (let at = start; at + 1 < end;) {
    const segment = bytes[at] as number;
    if (segment === 0x34) at += 10;
    else if (segment >> 5 === 1) {
      const format = segment & 3;
      const width = format === 0 ? 1 : format === 1 ? 2 : 4;
      const from = at + (format === 0 ? 1 : 2);
      if (from + width > end) return;
      logical(
        (segment >> 2) & 7,
        width === 1 ? (bytes[from] as number) : width === 2 ? le16(bytes, from) : le32(bytes, from),
      );
      at = from + width;
    } else if (segment === 0x91) {
      const length = bytes[at + 1] as number;
      const symbol = text(bytes, at + 2, Math.min(end, at + 2 + length));
      append(symbol, path.isSymbolic ? '.' : '/');
      path.isSymbolic = true;
      at += 2 + length + (length & 1);
    } else if (segment === 0x80) at += 2 + 2 * (bytes[at + 1] as number);
    else if (segment >> 5 === 0) {
      // A port and an address behind it, or its length, then the address.
      const isLong = (segment & 0x10) !== 0;
      at += isLong ? 2 + (bytes[at + 1] as number) : 2;
      if ((segment & 0x0f) === 0x0f) at += 2;
      at += (at - start) & 1;
    } else if (segment >> 4 === 4) at += 2;
    else return;
  }
}

function logical(type: number, value: number): void {
  if (type === 0) {
    path.classId = value;
    append(`class:${hex(value)}`, '/');
  } else if (type === 1) append(`instance:${value}`, '/');
  else if (type === 2) append(path.isSymbolic ? `[${value}]` : `member:${value}`, path.isSymbolic ? '' : '/');
  else if (type === 3) append(`point:${value}`, '/');
  else if (type === 4) append(`attr:${value}`, '/');
}

function append(part: string, separator: string): void {
  path.object = (path.object + (path.object === '' ? '' : separator) + part).slice(0, OBJECT_CHARACTERS_MAX);
}

/** The first value of an elementary type. */
function typed(bytes: Uint8Array, type: number, at: number, end: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const has = (width: number): boolean => at + width <= end;
  if (type === 0xc1) return has(1) ? (bytes[at] as number) & 1 : NaN;
  if (type === 0xc2) return has(1) ? view.getInt8(at) : NaN;
  if (type === 0xc3) return has(2) ? view.getInt16(at, true) : NaN;
  if (type === 0xc4) return has(4) ? view.getInt32(at, true) : NaN;
  if (type === 0xc5) return has(8) ? Number(view.getBigInt64(at, true)) : NaN;
  if (type === 0xc6 || type === 0xd1) return has(1) ? (bytes[at] as number) : NaN;
  if (type === 0xc7 || type === 0xd2) return has(2) ? le16(bytes, at) : NaN;
  if (type === 0xc8 || type === 0xd3) return has(4) ? le32(bytes, at) : NaN;
  if (type === 0xca) return has(4) ? view.getFloat32(at, true) : NaN;
  if (type === 0xcb) return has(8) ? view.getFloat64(at, true) : NaN;
  return NaN;
}

/** An attribute of unknown type: a number where it is as long as one. */
function plain(bytes: Uint8Array, at: number, end: number): number {
  if (end - at === 1) return bytes[at] as number;
  if (end - at === 2) return le16(bytes, at);
  return end - at === 4 ? le32(bytes, at) : NaN;
}

/** Requests that wait for their answers: few at a time, each with as many lines as fit. */
const SLOTS = 4;
const SLOT_CHARACTERS_MAX = 300;

function remember(memory: Memory, key: string, lines: readonly string[]): void {
  const slot = ((memory['cip'] as number | undefined) ?? 0) % SLOTS;
  let entry = key;
  for (const line of lines) {
    if (entry.length + 1 + line.length > SLOT_CHARACTERS_MAX) break;
    entry += `\n${line}`;
  }
  memory[`cip${slot}`] = entry;
  memory['cip'] = (slot + 1) % SLOTS;
}

function recall(memory: Memory, key: string): string[] {
  for (let slot = 0; slot < SLOTS; slot++) {
    const entry = memory[`cip${slot}`];
    if (typeof entry !== 'string' || !entry.startsWith(`${key}\n`)) continue;
    delete memory[`cip${slot}`];
    return entry.slice(key.length + 1).split('\n');
  }
  return [];
}
