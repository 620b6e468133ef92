/**
 * Modbus/TCP (Modbus Messaging on TCP/IP 1.0b, Modbus Application Protocol 1.1b3), big-endian:
 *
 *   0 transaction (2)   2 protocol = 0 (2)   4 length of what follows (2)   6 unit (1)   7 function (1)   8 data
 *
 * An answer repeats the function, with 0x80 added where the device refuses; which register it is about stands only in the
 * request, so the last requests of a conversation are remembered by transaction. Two functions are many: diagnostics (8) says what it does in the two
 * bytes behind it, the encapsulated interface (43) in the one; both are repeated in the answer.
 */
import { be16 } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';
import { UMAS, nameByUmas } from './umas.ts';

const HEADER_BYTES = 7;
/** Unit, function and 252 bytes of data; larger lengths break the protocol. */
const LENGTH_MAX = 254;
const EXCEPTION_BIT = 0x80;

type Shape = 'range' | 'single' | 'multiple' | 'other';

interface FunctionCode {
  readonly name: string;
  readonly action: Action;
  readonly table: string;
  /** How the request's data begins: address and count, address and value, address and count and bytes. */
  readonly shape: Shape;
  readonly countMax: number;
}

const FUNCTIONS: ReadonlyMap<number, FunctionCode> = new Map([
  [1, { name: 'read-coils', action: 'read', table: 'coil', shape: 'range', countMax: 2000 }],
  [2, { name: 'read-discrete-inputs', action: 'read', table: 'discrete', shape: 'range', countMax: 2000 }],
  [3, { name: 'read-holding-registers', action: 'read', table: 'holding', shape: 'range', countMax: 125 }],
  [4, { name: 'read-input-registers', action: 'read', table: 'input', shape: 'range', countMax: 125 }],
  [5, { name: 'write-single-coil', action: 'write', table: 'coil', shape: 'single', countMax: 1 }],
  [6, { name: 'write-single-register', action: 'write', table: 'holding', shape: 'single', countMax: 1 }],
  [7, { name: 'read-exception-status', action: 'read', table: '', shape: 'other', countMax: 0 }],
  [8, { name: 'diagnostics', action: 'control', table: '', shape: 'other', countMax: 0 }],
  [11, { name: 'get-comm-event-counter', action: 'read', table: '', shape: 'other', countMax: 0 }],
  [12, { name: 'get-comm-event-log', action: 'read', table: '', shape: 'other', countMax: 0 }],
  [15, { name: 'write-multiple-coils', action: 'write', table: 'coil', shape: 'multiple', countMax: 1968 }],
  [16, { name: 'write-multiple-registers', action: 'write', table: 'holding', shape: 'multiple', countMax: 123 }],
  [17, { name: 'report-server-id', action: 'discover', table: '', shape: 'other', countMax: 0 }],
  [20, { name: 'read-file-record', action: 'file', table: '', shape: 'other', countMax: 0 }],
  [21, { name: 'write-file-record', action: 'program', table: '', shape: 'other', countMax: 0 }],
  [22, { name: 'mask-write-register', action: 'write', table: 'holding', shape: 'single', countMax: 1 }],
  [23, { name: 'read-write-multiple-registers', action: 'write', table: 'holding', shape: 'range', countMax: 125 }],
  [24, { name: 'read-fifo-queue', action: 'read', table: '', shape: 'other', countMax: 0 }],
  [43, { name: 'read-device-identification', action: 'discover', table: '', shape: 'other', countMax: 0 }],
  // Schneider Electric's engineering tools speak through this one.
  [UMAS, { name: 'umas', action: 'other', table: '', shape: 'other', countMax: 0 }],
] as const); // prettier-ignore

const DIAGNOSTICS = 8;
/** What diagnostics do by their sub-function: some only ask, some change how the device talks. */
const SUBFUNCTIONS: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [0, ['return-query-data', 'read']], [1, ['restart-communications', 'control']], [2, ['return-diagnostic-register', 'read']],
  [3, ['change-ascii-delimiter', 'control']], [4, ['force-listen-only', 'control']], [10, ['clear-counters', 'control']],
  [11, ['return-bus-message-count', 'read']], [12, ['return-bus-error-count', 'read']], [13, ['return-bus-exception-count', 'read']],
  [14, ['return-server-message-count', 'read']], [15, ['return-server-no-response-count', 'read']], [16, ['return-server-nak-count', 'read']],
  [17, ['return-server-busy-count', 'read']], [18, ['return-bus-overrun-count', 'read']], [20, ['clear-overrun-counter', 'control']],
] as const); // prettier-ignore

const ENCAPSULATED = 43;
const INTERFACES: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [13, ['canopen-general-reference', 'other']],
  [14, ['read-device-identification', 'discover']],
] as const);

const EXCEPTIONS: readonly string[] = [
  '',
  'illegal-function',
  'illegal-data-address',
  'illegal-data-value',
  'server-device-failure',
  'acknowledge',
  'server-device-busy',
  'negative-acknowledge',
  'memory-parity-error',
  '',
  'gateway-path-unavailable',
  'gateway-target-failed',
];

/** Requests waiting for their answers, as [transaction, address, count] three by three: enough for what clients pipeline. */
const PENDING_NUMBERS_MAX = 3 * 16;

const operation = createOperation('modbus');

export const modbus: Dissector = {
  name: 'modbus',
  tcpPorts: [502, 802],
  udpPorts: [502],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < 6) return NEED_MORE;
    if (be16(bytes, at + 2) !== 0) return NOT_OURS;
    // A length that cannot be is framed all the same, so that it is told; only what no device could mean ends the framing.
    const length = be16(bytes, at + 4);
    return length < 2 || length > 4096 ? NOT_OURS : 6 + length;
  },

  looksLike(bytes, at, end) {
    if (end - at < HEADER_BYTES + 1) return false;
    const length = be16(bytes, at + 4);
    return (
      be16(bytes, at + 2) === 0 &&
      6 + length === end - at &&
      length >= 2 &&
      length <= LENGTH_MAX &&
      FUNCTIONS.has((bytes[at + 7] as number) & ~EXCEPTION_BIT) &&
      !isBer(bytes, at)
    );
  },

  dissect(message, sink) {
    const { bytes, at, end } = message;
    if (end - at < HEADER_BYTES + 1) {
      sink.violation('message shorter than its header');
      return;
    }
    const length = be16(bytes, at + 4);
    if (be16(bytes, at + 2) !== 0) sink.violation('protocol identifier is not zero');
    if (length > LENGTH_MAX) sink.violation('length above 254');
    else if (6 + length !== end - at) sink.violation('length field and message disagree');
    const raw = bytes[at + 7] as number;
    const code = raw & ~EXCEPTION_BIT;
    const known = FUNCTIONS.get(code);
    resetOperation(operation);
    operation.code = code;
    operation.name = known?.name ?? `function-${code}`;
    operation.action = known?.action ?? 'other';
    operation.unit = bytes[at + 6] as number;
    operation.isResponse = !message.isFromClient;
    if (raw === DIAGNOSTICS || raw === ENCAPSULATED) nameBySubfunction(message, raw, sink);
    else if (raw === UMAS) nameByUmas(operation, message, at + HEADER_BYTES + 1, sink);
    if (message.isFromClient) request(message, known, raw, sink);
    else response(message, known, raw, sink);
    sink.operation(operation);
  },
};

/** A BER sequence with four bytes of length, an integer in it (LDAP, SNMP): zeros and a length stand just where Modbus has them. */
function isBer(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0x30 && bytes[at + 1] === 0x84 && bytes[at + 6] === 0x02;
}

/** A refusal does not say which of them it refuses, and keeps the name of the function. */
function nameBySubfunction({ bytes, at, end, isFromClient }: Message, code: number, sink: Sink): void {
  const data = at + HEADER_BYTES + 1;
  const isDiagnostics = code === DIAGNOSTICS;
  if (end - data < (isDiagnostics ? 2 : 1)) {
    if (isFromClient) sink.violation('request shorter than its function demands');
    return;
  }
  const sub = isDiagnostics ? be16(bytes, data) : (bytes[data] as number);
  const known = (isDiagnostics ? SUBFUNCTIONS : INTERFACES).get(sub);
  // Numbers that are not assigned are makers' own: nobody knows what they do.
  operation.name = known?.[0] ?? `${isDiagnostics ? 'diagnostics' : 'encapsulated-interface'}-${sub}`;
  operation.action = known?.[1] ?? 'other';
}

function request(message: Message, known: FunctionCode | undefined, raw: number, sink: Sink): void {
  const { bytes, at, end, memory } = message;
  const data = at + HEADER_BYTES + 1;
  if ((raw & EXCEPTION_BIT) !== 0) sink.violation('exception code in a request');
  else if (known === undefined) sink.violation('function is not defined');
  if (known === undefined || known.shape === 'other') return;
  if (end - data < 4) {
    sink.violation('request shorter than its function demands');
    return;
  }
  const address = be16(bytes, data);
  const second = be16(bytes, data + 2);
  operation.object = `${known.table}:${address}`;
  operation.count = known.shape === 'single' ? 1 : second;
  if (known.shape === 'single') operation.value = known.table === 'coil' ? (second === 0 ? 0 : 1) : second;
  else if (second === 0 || second > known.countMax)
    sink.violation('quantity outside what the function allows');
  if (known.shape === 'single' && known.table === 'coil' && second !== 0 && second !== 0xff00)
    sink.violation('coil value is neither on nor off');
  if (known.shape === 'multiple') {
    const byteCount = end - data >= 5 ? (bytes[data + 4] as number) : 0;
    const demanded = known.table === 'coil' ? Math.ceil(second / 8) : second * 2;
    if (byteCount !== demanded || data + 5 + byteCount > end)
      sink.violation('byte count and quantity disagree');
    else if (known.table === 'coil') operation.value = (bytes[data + 5] as number) & 1;
    else operation.value = be16(bytes, data + 5);
  }
  const pending = (memory['pending'] ??= []) as number[];
  if (pending.length >= PENDING_NUMBERS_MAX) pending.splice(0, 3);
  pending.push(be16(bytes, at), address, operation.count);
}

function response(message: Message, known: FunctionCode | undefined, raw: number, sink: Sink): void {
  const { bytes, at, end, memory } = message;
  const data = at + HEADER_BYTES + 1;
  const pending = (memory['pending'] ?? []) as number[];
  const transaction = be16(bytes, at);
  let index = -1;
  for (let i = 0; i < pending.length; i += 3) if (pending[i] === transaction) index = i;
  if (index >= 0 && known !== undefined) {
    operation.object = `${known.table}:${pending[index + 1] as number}`;
    operation.count = pending[index + 2] as number;
    pending.splice(index, 3);
  }
  if ((raw & EXCEPTION_BIT) !== 0) {
    const code = end > data ? (bytes[data] as number) : 0;
    operation.exception = EXCEPTIONS[code] || `exception-${code}`;
    return;
  }
  if (known?.action !== 'read' || known.shape !== 'range' || end <= data) return;
  const byteCount = bytes[data] as number;
  if (data + 1 + byteCount !== end) {
    sink.violation('byte count and message disagree');
    return;
  }
  // One register or coil is a value; of many, the first stands for the range that is learnt.
  if (known.table === 'holding' || known.table === 'input')
    operation.value = byteCount >= 2 ? be16(bytes, data + 1) : NaN;
  else operation.value = byteCount >= 1 ? (bytes[data + 1] as number) & 1 : NaN;
}
