/**
 * S7comm (Siemens; as Wireshark and snap7 describe it), inside ISO on TCP, big-endian:
 *
 *   0 0x32   1 kind: job 1, ack 2, ack-data 3, userdata 7   2 reserved (2)   4 reference (2)   6 parameter bytes (2)
 *   8 data bytes (2)   10 error class, error code, in ack and ack-data only
 *
 *   parameters      0 function (1)   read and write: 1 items (1), then each item
 *   item            0 0x12   1 length = 10   2 syntax = 0x10   3 type (1)   4 count (2)   6 DB (2)   8 area (1)   9 address in bits (3)
 *   data            per item: 0 return code (1)   1 transport size (1)   2 length (2)   4 value, filled to an even length
 *
 * Remembered: whether the connection was seen to begin and was set up, and what the last jobs were about.
 */
import { float32 } from './ber.ts';
import { be16, be24, be32, hex, text } from './byte-reader.ts';
import { createOperation, resetOperation, type Action, type Message, type Sink } from './dissector.ts';
import { rememberObject, takeObject } from './pending-object.ts';
import { S7_PLUS, dissectS7Plus } from './s7-plus.ts';
import { readUserdata } from './s7-userdata.ts';

const CLASSIC = 0x32;
const HEAD_BYTES = 10;

const KIND_JOB = 1;
const KIND_ACK = 2;
const KIND_ACK_DATA = 3;
const KIND_USERDATA = 7;
const USERDATA_REFERENCES = 0x1_0000;

const SETUP = 0xf0;
const READ = 0x04;
const WRITE = 0x05;
const PI_SERVICE = 0x28;
const PLC_STOP = 0x29;

const FUNCTIONS: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [0x00, ['cpu-services', 'other']],
  [READ, ['read-var', 'read']],
  [WRITE, ['write-var', 'write']],
  [0x1a, ['request-download', 'program']],
  [0x1b, ['download-block', 'program']],
  [0x1c, ['download-ended', 'program']],
  [0x1d, ['start-upload', 'program']],
  [0x1e, ['upload', 'program']],
  [0x1f, ['end-upload', 'program']],
  [PI_SERVICE, ['pi-service', 'control']],
  [PLC_STOP, ['plc-stop', 'control']],
  [SETUP, ['setup-communication', 'session']],
] as const);

/** Program invocations by name; those that load or remove blocks change the program. */
const INVOCATIONS: Readonly<Record<string, readonly [string, Action]>> = {
  P_PROGRAM: ['plc-start', 'control'],
  _INSE: ['insert-block', 'program'],
  _IN2E: ['insert-block', 'program'],
  _DELE: ['delete-block', 'program'],
  _GARB: ['compress-memory', 'control'],
  _MODU: ['copy-ram-to-rom', 'program'],
};

const AREAS: Readonly<Record<number, string>> = {
  0x03: 'SYS', 0x05: 'SF', 0x06: 'AI', 0x07: 'AQ', 0x1c: 'C', 0x1d: 'T', 0x1e: 'IEC-C', 0x1f: 'IEC-T',
  0x80: 'P', 0x81: 'I', 0x82: 'Q', 0x83: 'M', 0x86: 'L', 0x87: 'V',
}; // prettier-ignore
const AREA_DB = 0x84;
const AREA_INSTANCE_DB = 0x85;

const BLOCK_TYPES: Readonly<Record<string, string>> = {
  '08': 'OB', '09': 'CMOD', '0A': 'DB', '0B': 'SDB', '0C': 'FC', '0D': 'SFC', '0E': 'FB', '0F': 'SFB',
}; // prettier-ignore

const ERROR_CLASSES: Readonly<Record<number, string>> = {
  0x81: 'application-relationship',
  0x82: 'object-definition',
  0x83: 'no-resources',
  0x84: 'service-processing',
  0x85: 'supplies',
  0x87: 'access-error',
};

const SUCCESS = 0xff;
const RETURN_CODES: Readonly<Record<number, string>> = {
  0x01: 'hardware-error',
  0x03: 'access-not-allowed',
  0x05: 'invalid-address',
  0x06: 'type-not-supported',
  0x07: 'type-inconsistent',
  0x0a: 'object-does-not-exist',
};

const operation = createOperation('s7comm');

export function looksLikeS7(bytes: Uint8Array, at: number, end: number): boolean {
  return at < end && (bytes[at] === CLASSIC || bytes[at] === S7_PLUS);
}

/** Reads one message: `bytes[at, end)`, which holds only its beginning where `isWhole` is false. `message` says who sent it. */
export function dissectS7(
  message: Message,
  bytes: Uint8Array,
  at: number,
  end: number,
  isWhole: boolean,
  sink: Sink,
): void {
  if (bytes[at] === S7_PLUS) {
    dissectS7Plus(message, bytes, at, end, isWhole, sink);
    return;
  }
  const { memory } = message;
  resetOperation(operation);
  operation.unit = typeof memory['unit'] === 'number' ? memory['unit'] : -1;
  const kind = end - at >= HEAD_BYTES ? (bytes[at + 1] as number) : 0;
  const hasError = kind === KIND_ACK || kind === KIND_ACK_DATA;
  const parameters = at + HEAD_BYTES + (hasError ? 2 : 0);
  if (end - at < HEAD_BYTES || parameters > end) {
    sink.violation('S7 message shorter than its header');
    return;
  }
  const data = parameters + be16(bytes, at + 6);
  if (data > end ? isWhole : data + be16(bytes, at + 8) !== end && isWhole)
    sink.violation('S7 lengths and message disagree');
  const reference = be16(bytes, at + 4);
  const parametersEnd = Math.min(data, end);
  const dataEnd = Math.min(parametersEnd + be16(bytes, at + 8), end);
  if (kind === KIND_USERDATA) {
    readUserdata(operation, bytes, parameters, parametersEnd, dataEnd, sink);
    // Jobs and userdata count their references apart.
    if (operation.isResponse) operation.object = takeObject(memory, reference + USERDATA_REFERENCES);
    else if (operation.object !== '')
      rememberObject(memory, reference + USERDATA_REFERENCES, operation.object);
    sink.operation(operation);
    return;
  }
  if (kind !== KIND_JOB && !hasError) {
    sink.violation('S7 message kind is not defined');
    return;
  }
  operation.isResponse = hasError;
  if (hasError) {
    const errorClass = bytes[at + 10] as number;
    if (errorClass !== 0 || bytes[at + 11] !== 0)
      operation.exception = `${ERROR_CLASSES[errorClass] ?? 'error'} ${hex(be16(bytes, at + 10), 4)}`;
    operation.object = takeObject(memory, reference);
  }
  // A bare acknowledgement says nothing of what it acknowledges.
  if (parametersEnd > parameters) {
    const code = bytes[parameters] as number;
    const known = FUNCTIONS.get(code);
    operation.code = code;
    operation.name = known?.[0] ?? `function-${code}`;
    operation.action = known?.[1] ?? 'other';
    if (known === undefined) sink.violation('S7 function is not defined');
    if (hasError) answer(bytes, code, parameters, parametersEnd, dataEnd);
    else job(bytes, code, parameters, parametersEnd, dataEnd, sink);
  } else operation.name = 'acknowledge';
  if (kind === KIND_JOB) {
    if (operation.code === SETUP) memory['isSetUp'] = true;
    else if (memory['isConnected'] === true && memory['isSetUp'] !== true)
      sink.violation('job before setup communication');
    if (operation.object !== '') rememberObject(memory, reference, operation.object);
  }
  sink.operation(operation);
}

function job(bytes: Uint8Array, code: number, at: number, data: number, end: number, sink: Sink): void {
  if (code === READ || code === WRITE) {
    if (data - at < 2) {
      sink.violation('S7 job without its items');
      return;
    }
    operation.count = bytes[at + 1] as number;
    operation.object = itemObject(bytes, at + 2, data);
    // Behind an S7ANY head the item's type stands at 3.
    const isAny = data - at >= 14 && bytes[at + 4] === 0x10;
    if (code === WRITE) operation.value = dataValue(bytes, data, end, isAny ? (bytes[at + 5] as number) : 0);
  } else if (code === SETUP) {
    if (data - at >= 8) operation.object = `pdu:${be16(bytes, at + 6)}`;
  } else if (code === PI_SERVICE) invocation(bytes, at, data);
  else if (code === PLC_STOP) {
    if (data - at >= 7)
      operation.object = text(bytes, at + 7, Math.min(data, at + 7 + (bytes[at + 6] as number)));
  } else if (code >= 0x1a && code <= 0x1f && data - at > 9)
    operation.object = blockOf(text(bytes, at + 9, Math.min(data, at + 9 + (bytes[at + 8] as number)), 32));
}

function answer(bytes: Uint8Array, code: number, at: number, data: number, end: number): void {
  if (code === SETUP && data - at >= 8) operation.object = `pdu:${be16(bytes, at + 6)}`;
  if ((code !== READ && code !== WRITE) || data - at < 2) return;
  operation.count = bytes[at + 1] as number;
  if (code === READ && data < end && bytes[data] === SUCCESS)
    operation.value = dataValue(bytes, data, end, 0);
  let next = data;
  for (let i = 0; i < operation.count && next < end && operation.exception === ''; i++) {
    const result = bytes[next] as number;
    if (result !== SUCCESS) operation.exception = RETURN_CODES[result] ?? `return-code-${result}`;
    if (code === WRITE) next += 1;
    else {
      if (end - next < 4) return;
      const length = dataBytes(bytes, next);
      next += 4 + length + (length & 1);
    }
  }
}

/** The first item of a read or write. */
function itemObject(bytes: Uint8Array, at: number, end: number): string {
  if (end - at < 3) return '';
  const syntax = bytes[at + 2] as number;
  if (syntax === 0x10 && end - at >= 12) {
    const db = be16(bytes, at + 6);
    const area = bytes[at + 8] as number;
    const address = be24(bytes, at + 9);
    const place = `${address >> 3}.${address & 7}`;
    if (area === AREA_DB) return `DB${db}.DBX${place}`;
    if (area === AREA_INSTANCE_DB) return `DI${db}.DIX${place}`;
    // Timers and counters are numbered, not addressed.
    if (area >= 0x1c && area <= 0x1f) return `${AREAS[area] as string}${address}`;
    return `${AREAS[area] ?? `area-${area}-`}${place}`;
  }
  if (syntax === 0xb0 && end - at >= 9) return `DB${be16(bytes, at + 5)}.DBX${be16(bytes, at + 7)}.0`;
  return `syntax:${hex(syntax)}`;
}

/** Bytes of a data item behind its head of four, which is there: its length is in bits for some transport sizes. */
function dataBytes(bytes: Uint8Array, at: number): number {
  const transport = bytes[at + 1] as number;
  const length = be16(bytes, at + 2);
  return transport >= 3 && transport <= 5 ? (length + 7) >> 3 : length;
}

/** The first value of a data item; `type` is what the request calls it, 0 where that is not known. */
function dataValue(bytes: Uint8Array, at: number, end: number, type: number): number {
  if (end - at < 5) return NaN;
  const transport = bytes[at + 1] as number;
  const length = Math.min(dataBytes(bytes, at), end - at - 4);
  const value = at + 4;
  if (length === 0) return NaN;
  if (transport === 3 || type === 1) return (bytes[value] as number) & 1;
  if (length >= 4 && (type === 8 || (type === 0 && transport === 7))) return float32(bytes, value);
  const isLong = type === 0 ? length === 4 : type === 6 || type === 7;
  const isWord = type === 0 ? length === 2 : type === 4 || type === 5;
  const isSigned = type === 5 || type === 7 || (type === 0 && transport === 5);
  if (isLong && length >= 4) return isSigned ? be32(bytes, value) | 0 : be32(bytes, value);
  if (isWord && length >= 2) return isSigned ? (be16(bytes, value) << 16) >> 16 : be16(bytes, value);
  return bytes[value] as number;
}

/** Function (1), unknown (7), argument length (2), argument, name length (1), name. */
function invocation(bytes: Uint8Array, at: number, end: number): void {
  if (end - at < 11) return;
  const argument = at + 10;
  const nameAt = argument + be16(bytes, at + 8) + 1;
  if (nameAt > end) return;
  const name = text(bytes, nameAt, Math.min(end, nameAt + (bytes[nameAt - 1] as number)), 32);
  const known = Object.hasOwn(INVOCATIONS, name) ? INVOCATIONS[name] : undefined;
  operation.name = known?.[0] ?? 'pi-service';
  operation.action = known?.[1] ?? 'control';
  operation.object = name;
  // Blocks: how many (1), 0 (1), then type, number and file system of the first, as in `_0A00001P`.
  if (known?.[1] === 'program' && nameAt - argument >= 10 && name !== '_MODU')
    operation.object = blockOf(`_${text(bytes, argument + 2, argument + 10, 8)}`);
}

/** `_0A00001P` is data block 1 in the passive file system. */
function blockOf(name: string): string {
  const match = /^_(0[89A-F])(\d{5})[ABP]/.exec(name);
  return match === null ? name : `${BLOCK_TYPES[match[1] as string] as string}${Number(match[2])}`;
}
