/**
 * PROFINET (IEC 61158-6-10), big-endian. Straight on Ethernet (0x8892), behind the frame id (2):
 *
 *   cyclic data   2 data   then at the end of the frame: cycle counter (2)   data status (1)   transfer status (1)
 *   alarm         2 destination (2)   source (2)   6 type   7 flags   8 sequence (2)   ack (2)   12 length (2)   14 blocks
 *   DCP           2 service   3 service type   4 transaction (4)   8 delay (2)   10 length of the blocks (2)   12 blocks
 *   DCP block     option   suboption   length (2)   data, filled up to an even length
 *
 * Over UDP 34964 connections are made with DCE/RPC: a header of 80 bytes in the byte order that it names, parameters, and
 * blocks again in big-endian: type (2), length (2), version (2).
 */
import { be16, be32, hex, le16, le32, text } from './byte-reader.ts';
import {
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';

const ALARM_HIGH = 0xfc01;
const ALARM_LOW = 0xfe01;
const DCP_FIRST = 0xfefc;
const DCP_LAST = 0xfeff;
const DCP_HEADER_BYTES = 12;
const DCP_SET = 4;
const OPTION_IP = 1;
const OPTION_DEVICE = 2;
const OPTION_CONTROL = 5;
const OPTION_ALL = 255;
const CONTROL_RESPONSE = 4;
const RPC_HEADER_BYTES = 80;
/** Blocks of one message that are looked at. */
const BLOCKS_MAX = 64;
/** Last cycle counters, as [frame id and direction, counter] two by two. */
const CYCLE_NUMBERS_MAX = 2 * 16;

const DCP_SERVICES: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [3, ['dcp-get', 'read']],
  [DCP_SET, ['dcp-set', 'write']],
  [5, ['dcp-identify', 'discover']],
  [6, ['dcp-hello', 'discover']],
] as const); // prettier-ignore
const DCP_OBJECTS: ReadonlyMap<number, string> = new Map([
  [0x0101, 'mac-address'], [0x0102, 'ip-parameter'], [0x0103, 'full-ip-suite'], [0x0201, 'vendor'], [0x0202, 'station-name'], [0x0203, 'device-id'], [0x0204, 'device-role'], [0x0205, 'device-options'], [0x0206, 'alias-name'], [0x0207, 'device-instance'], [0x0208, 'oem-device-id'], [0x0501, 'start-transaction'], [0x0502, 'end-transaction'], [0x0503, 'signal'], [0x0504, 'response'], [0x0505, 'factory-reset'], [0x0506, 'reset-to-factory'], [0x0601, 'device-initiative'], [0xffff, 'all'],
]); // prettier-ignore
const DCP_ERRORS: readonly string[] = ['', 'option-not-supported', 'suboption-not-supported', 'suboption-not-set', 'resource-error', 'set-not-possible', 'in-operation']; // prettier-ignore

const ALARM_TYPES: readonly string[] = ['', 'diagnosis', 'process', 'pull', 'plug', 'status', 'update', 'redundancy', 'controlled-by-supervisor', 'released', 'plug-wrong-submodule', 'return-of-submodule', 'diagnosis-disappears', 'multicast-communication-mismatch', 'port-data-change', 'sync-data-changed']; // prettier-ignore

const OPERATIONS: readonly (readonly [string, Action])[] = [['connect', 'session'], ['release', 'session'], ['read', 'read'], ['write', 'write'], ['control', 'control'], ['read-implicit', 'read']]; // prettier-ignore
const CONTROL_COMMANDS: readonly string[] = ['prm-end', 'application-ready', 'release', 'done', 'ready-for-companion', 'ready-for-rt-class-3', 'prm-begin']; // prettier-ignore
/** The interface of a device, a controller, a supervisor and a parameter server, behind the first four bytes. */
const INTERFACE_TAIL = [0x6c97, 0x11d1, 0x8271] as const;
const MAPPER = 0xe1af_8308;

const operation = createOperation('profinet');

export const profinet: Dissector = {
  name: 'profinet',
  tcpPorts: [],
  udpPorts: [34_964],
  etherTypes: [0x8892],

  looksLike(bytes, at, end) {
    return (
      end - at >= RPC_HEADER_BYTES &&
      bytes[at] === 4 &&
      (bytes[at + 1] as number) <= 10 &&
      isInterface(bytes, at)
    );
  },

  dissect(message, sink) {
    const { bytes, at, end } = message;
    resetOperation(operation);
    if (end - at < 2) {
      sink.violation('message shorter than its header');
      return;
    }
    // A frame id never begins like the header of a connectionless call: version 4, and its interface.
    if (bytes[at] === 4 && end - at >= RPC_HEADER_BYTES && isInterface(bytes, at)) {
      call(message, sink);
      return;
    }
    const frameId = be16(bytes, at);
    operation.code = frameId;
    if (frameId >= DCP_FIRST && frameId <= DCP_LAST) dcp(bytes, at, end, sink);
    else if (frameId === ALARM_HIGH || frameId === ALARM_LOW) alarm(bytes, at, end, frameId, sink);
    else if (frameId >= 0x0100 && frameId < 0xf800) cyclic(message, frameId, sink);
    else {
      operation.name =
        frameId >= 0xff00 && frameId <= 0xff43 ? 'ptcp' : frameId < 0x0100 ? 'ptcp-sync' : 'rt-other';
      operation.object = `frame-id:${hex(frameId, 4)}`;
      sink.operation(operation);
    }
  },
};

/** Values of one connection, of which the meaning was agreed upon when it was made. */
function cyclic(message: Message, frameId: number, sink: Sink): void {
  const { bytes, at, end, memory } = message;
  operation.name = 'rt-cyclic';
  operation.action = 'report';
  operation.object = `frame-id:${hex(frameId, 4)}`;
  if (end - at < 7) {
    sink.violation('frame shorter than its status');
    return;
  }
  const counter = be16(bytes, end - 4);
  operation.value = bytes[end - 2] as number;
  operation.count = end - at - 6;
  const key = frameId * 2 + (message.isFromClient ? 1 : 0);
  const cycles = (memory['cycles'] ??= []) as number[];
  let index = 0;
  while (index < cycles.length && cycles[index] !== key) index += 2;
  if (index >= cycles.length) {
    if (cycles.length >= CYCLE_NUMBERS_MAX) cycles.splice(0, 2);
    cycles.push(key, counter);
  } else {
    // The counter wraps: what is more than half the circle ahead is behind.
    if (((counter - (cycles[index + 1] as number)) & 0xffff) > 0x8000)
      sink.violation('cycle counter went back');
    cycles[index + 1] = counter;
  }
  sink.operation(operation);
}

function alarm(bytes: Uint8Array, at: number, end: number, frameId: number, sink: Sink): void {
  operation.name = frameId === ALARM_HIGH ? 'alarm-high' : 'alarm-low';
  operation.action = 'report';
  if (end - at < 14) {
    sink.violation('alarm shorter than its header');
    return;
  }
  const type = (bytes[at + 6] as number) & 0x0f;
  const length = be16(bytes, at + 12);
  if (type < 1 || type > 4) sink.violation('alarm type is not defined');
  operation.isResponse = type === 2 || type === 3;
  const block = at + 14;
  if (length > end - block) sink.violation('alarm is longer than its frame');
  else if (type === 4 && length >= 4) operation.exception = `status-${hex(be32(bytes, block), 8)}`;
  else if (type === 1 && length >= 16) {
    // A notification and its acknowledgement say type, interface, slot and subslot behind the block's header.
    const kind = be16(bytes, block + 6);
    operation.isResponse = (be16(bytes, block) & 0x8000) !== 0;
    operation.unit = be16(bytes, block + 12);
    operation.object = `${ALARM_TYPES[kind] || `alarm-${kind}`}/slot:${operation.unit}/subslot:${be16(bytes, block + 14)}`;
  }
  sink.operation(operation);
}

function dcp(bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  if (end - at < DCP_HEADER_BYTES) {
    sink.violation('DCP shorter than its header');
    return;
  }
  const code = bytes[at + 2] as number;
  const type = bytes[at + 3] as number;
  const known = DCP_SERVICES.get(code);
  if (known === undefined) sink.violation('DCP service is not defined');
  operation.code = code;
  operation.name = known?.[0] ?? `dcp-service-${code}`;
  operation.action = known?.[1] ?? 'other';
  operation.isResponse = (type & 1) !== 0;
  if ((type & 4) !== 0) operation.exception = 'service-not-supported';
  const length = be16(bytes, at + 10);
  const limit = Math.min(end, at + DCP_HEADER_BYTES + length);
  if (at + DCP_HEADER_BYTES + length > end) sink.violation('DCP length is longer than its frame');
  if (code === 3 && !operation.isResponse) names(bytes, at + DCP_HEADER_BYTES, limit);
  else blocks(bytes, at + DCP_HEADER_BYTES, limit, code, sink);
  sink.operation(operation);
}

/** What a get asks for: options and suboptions. */
function names(bytes: Uint8Array, start: number, end: number): void {
  for (let at = start; at + 2 <= end && operation.count < BLOCKS_MAX; at += 2) {
    if (operation.count === 0) operation.object = objectOf(bytes, at);
    operation.count++;
  }
}

function blocks(bytes: Uint8Array, start: number, end: number, code: number, sink: Sink): void {
  for (let at = start; at + 4 <= end && operation.count < BLOCKS_MAX;) {
    const option = bytes[at] as number;
    const suboption = bytes[at + 1] as number;
    const from = at + 4;
    const to = from + be16(bytes, at + 2);
    if (to > end) {
      sink.violation('DCP block is longer than its frame');
      return;
    }
    if (option === OPTION_CONTROL && suboption === CONTROL_RESPONSE && to - from >= 3) {
      // What became of one block: its name and an error.
      if (operation.object === '') operation.object = objectOf(bytes, from);
      const error = bytes[from + 2] as number;
      if (error !== 0 && operation.exception === '')
        operation.exception = DCP_ERRORS[error] ?? `block-error-${error}`;
      if (bytes[from] === OPTION_CONTROL) operation.action = 'control';
    } else {
      if (operation.count === 0) operation.object = objectOf(bytes, at);
      if (code === DCP_SET && option === OPTION_CONTROL && suboption > 2) operation.action = 'control';
      // Everything but a filter has a qualifier or a note in front.
      const skip = code === 5 && !operation.isResponse ? 0 : 2;
      describe(bytes, option, suboption, from + skip, to, sink);
    }
    operation.count++;
    at = to + ((to - from) & 1);
  }
}

function describe(
  bytes: Uint8Array,
  option: number,
  suboption: number,
  from: number,
  to: number,
  sink: Sink,
): void {
  if (from >= to) return;
  if (option === OPTION_DEVICE && suboption === 2) sink.fact('station-name', text(bytes, from, to, 240));
  else if (option === OPTION_DEVICE && suboption === 1) sink.fact('vendor', text(bytes, from, to, 240));
  else if (option === OPTION_DEVICE && suboption === 3 && to - from >= 4)
    sink.fact('device-id', `${hex(be16(bytes, from), 4)}:${hex(be16(bytes, from + 2), 4)}`);
  else if (option === OPTION_IP && suboption === 2 && to - from >= 12)
    sink.fact('ip-address', `${bytes[from]}.${bytes[from + 1]}.${bytes[from + 2]}.${bytes[from + 3]}`);
}

function objectOf(bytes: Uint8Array, at: number): string {
  const option = bytes[at] as number;
  const suboption = bytes[at + 1] as number;
  if (option === OPTION_ALL) return 'all';
  return DCP_OBJECTS.get((option << 8) | suboption) ?? `option:${option}.${suboption}`;
}

/** A connectionless call of DCE/RPC, its first fragment. */
function call(message: Message, sink: Sink): void {
  const { bytes, at, end } = message;
  const type = bytes[at + 1] as number;
  const isLittle = ((bytes[at + 4] as number) & 0x10) !== 0;
  const code = isLittle ? le16(bytes, at + 68) : be16(bytes, at + 68);
  const fragment = isLittle ? le16(bytes, at + 76) : be16(bytes, at + 76);
  // Only what asks and what answers: the others keep the call alive.
  if ((type !== 0 && type !== 2 && type !== 3 && type !== 6) || fragment !== 0) return;
  const isMapper = first(bytes, at) === MAPPER;
  const known = isMapper ? (['endpoint-lookup', 'discover'] as const) : OPERATIONS[code];
  operation.code = code;
  operation.name = known?.[0] ?? `operation-${code}`;
  operation.action = known?.[1] ?? 'other';
  operation.isResponse = type !== 0;
  const u32 = isLittle ? le32 : be32;
  const body = at + RPC_HEADER_BYTES;
  if (type === 3 || type === 6)
    operation.exception = end - body >= 4 ? `fault-${hex(u32(bytes, body), 8)}` : 'fault';
  else if (!isMapper) {
    if (type === 2 && end - body >= 4) {
      const status = u32(bytes, body);
      if (status !== 0) operation.exception = `status-${hex(status, 8)}`;
    }
    // Three numbers of an array are in front of the blocks, and the limit or the status and the length.
    if (end - body >= 26) rpcBlock(bytes, body + 20, end, sink);
    else if (type === 0) sink.violation('call without a block');
  }
  sink.operation(operation);
}

/** The first block: of a read or write where, of a control what, of a connect who. */
function rpcBlock(bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  const type = be16(bytes, at) & 0x7fff;
  if ((type === 0x0008 || type === 0x0009) && end - at >= 40) {
    operation.object = `slot:${be16(bytes, at + 28)}/subslot:${be16(bytes, at + 30)}/index:${hex(be16(bytes, at + 34), 4)}`;
    operation.count = be32(bytes, at + 36);
    operation.unit = be16(bytes, at + 28);
  } else if (type >= 0x0110 && type <= 0x0118 && end - at >= 32) {
    const command = be16(bytes, at + 28);
    operation.value = command;
    const bit = Math.log2(command & -command);
    operation.object = CONTROL_COMMANDS[bit] ?? `command:${hex(command, 4)}`;
  } else if (type === 0x0101 && !operation.isResponse && end - at >= 58) {
    const name = text(bytes, at + 58, Math.min(end, at + 58 + be16(bytes, at + 56)), 240);
    if (name !== '') sink.fact('initiator-station-name', name);
  }
}

/** The first part of the interface's identifier, in the byte order of the header. */
function first(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 4] as number) & 0x10) !== 0 ? le32(bytes, at + 24) : be32(bytes, at + 24);
}

function isInterface(bytes: Uint8Array, at: number): boolean {
  const isLittle = ((bytes[at + 4] as number) & 0x10) !== 0;
  const part = first(bytes, at);
  if (part === MAPPER) return true;
  const [a, b, c] = INTERFACE_TAIL;
  return (
    part >= 0xdea0_0001 &&
    part <= 0xdea0_0004 &&
    (isLittle ? le16(bytes, at + 28) : be16(bytes, at + 28)) === a &&
    (isLittle ? le16(bytes, at + 30) : be16(bytes, at + 30)) === b &&
    be16(bytes, at + 32) === c
  );
}
