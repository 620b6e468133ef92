/**
 * DCE/RPC over connections (C706, MS-RPCE); the byte order stands in each message:
 *
 *   0 version = 5 (1)   1 minor (1)   2 kind (1)   3 flags (1)   4 data representation (4)   8 length of all (2)   10 length of its
 *   authentication (2)   12 call (4)
 *   bind: 16 fragment sizes (4)   20 group (4)   24 contexts (1)   25 reserved (3)   28 contexts, each: number (2), transfer syntaxes (1),
 *   reserved (1), interface (16), its version (4), transfer syntaxes (20 each)
 *   request: 16 size hint (4)   20 context (2)   22 operation (2)        fault: 24 status (4)
 *
 * Which interface a context stands for is said once, by the bind; which operation an answer belongs to only by its call: both are
 * remembered. The same messages travel through SMB's named pipes: smb.ts hands them over with the pipe as `scope`.
 */
import { be16, be32, hex, le16, le32 } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  createOperation,
  resetOperation,
  type Dissector,
  type Memory,
  type Operation,
  type Sink,
} from './dissector.ts';
import { ACTIONS, FEATURES_PREFIX, INTERFACES } from './dcerpc-interfaces.ts';
import { tellOddArguments } from './dcerpc-oddity.ts';
import { recall, remember } from './memo.ts';
import { tellNtlm } from './ntlmssp.ts';

const HEADER_BYTES = 16;
const KIND_REQUEST = 0;
const KIND_RESPONSE = 2;
const KIND_FAULT = 3;
const KIND_BIND = 11;
const KIND_BIND_ACK = 12;
const KIND_BIND_NAK = 13;
const KIND_ALTER = 14;
const KIND_ALTER_ACK = 15;
const KIND_AUTH3 = 16;
const KIND_MAX = 19;
const FLAG_FIRST = 1;
const CONTEXT_BYTES = 24;
const TRANSFER_BYTES = 20;
const CONTEXTS_MAX = 8;

const FAULTS: ReadonlyMap<number, string> = new Map([
  [5, 'access-denied'],
  [0x721, 'security-package-error'],
  [0x6f7, 'bad-stub-data'],
  [0x1c01_0002, 'operation-range-error'],
  [0x1c01_0003, 'unknown-interface'],
  [0x1c01_000b, 'protocol-error'],
  [0x1c00_001a, 'context-mismatch'],
]);

/** Calls waiting for their answers, as [scope, call, context, operation] four by four. */
const PENDING_NUMBERS_MAX = 4 * 12;

const operation = createOperation('dcerpc');

export const dcerpc: Dissector = {
  name: 'dcerpc',
  tcpPorts: [135],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < HEADER_BYTES) return end > at && bytes[at] !== 5 ? NOT_OURS : NEED_MORE;
    return isHeader(bytes, at, end) ? fragmentBytes(bytes, at) : NOT_OURS;
  },

  looksLike(bytes, at, end) {
    if (!isHeader(bytes, at, end)) return false;
    const kind = bytes[at + 2] as number;
    const length = fragmentBytes(bytes, at);
    if (kind === KIND_BIND) return length >= 28 + CONTEXT_BYTES + TRANSFER_BYTES && length === end - at;
    return (
      kind === KIND_REQUEST &&
      ((bytes[at + 3] as number) & FLAG_FIRST) !== 0 &&
      length >= 24 &&
      length <= 8192
    );
  },

  dissect({ bytes, at, end, memory }, sink) {
    resetOperation(operation);
    if (isHeader(bytes, at, end)) dissectDcerpc(bytes, at, end, memory, 0, operation, sink);
    else sink.violation('message shorter than its header, or of another version');
  },
};

/** Whether a message begins at `at`: strict enough to find those among the bytes that are written to files. */
export function isHeader(bytes: Uint8Array, at: number, end: number): boolean {
  return (
    end - at >= HEADER_BYTES &&
    bytes[at] === 5 &&
    (bytes[at + 1] as number) <= 1 &&
    (bytes[at + 2] as number) <= KIND_MAX &&
    ((bytes[at + 4] as number) & 0xee) === 0 &&
    (bytes[at + 5] as number) <= 3 &&
    be16(bytes, at + 6) === 0 &&
    fragmentBytes(bytes, at) >= HEADER_BYTES
  );
}

function isLittle(bytes: Uint8Array, at: number): boolean {
  return ((bytes[at + 4] as number) & 0x10) !== 0;
}

function fragmentBytes(bytes: Uint8Array, at: number): number {
  return isLittle(bytes, at) ? le16(bytes, at + 8) : be16(bytes, at + 8);
}

/**
 * Reads one message that has passed `isHeader` and gives at most one operation, in the carrier's `out`, whose protocol and object stay as they
 * are. `scope` tells the pipes of one connection apart.
 */
export function dissectDcerpc(
  bytes: Uint8Array,
  at: number,
  end: number,
  memory: Memory,
  scope: number,
  out: Operation,
  sink: Sink,
): void {
  const [u16, u32] = isLittle(bytes, at) ? [le16, le32] : [be16, be32];
  const kind = bytes[at + 2] as number;
  const call = u32(bytes, at + 12);
  const last = Math.min(end, at + fragmentBytes(bytes, at));
  out.code = -1;
  out.action = 'session';
  switch (kind) {
    case KIND_BIND:
    case KIND_ALTER:
      out.name = kind === KIND_BIND ? 'bind' : 'alter-context';
      bind(bytes, at, last, memory, scope, out, sink);
      break;
    case KIND_REQUEST: {
      // The later fragments of a long request repeat what the first one says.
      if (((bytes[at + 3] as number) & FLAG_FIRST) === 0) return;
      if (last - at < 24) {
        sink.violation('request shorter than its header');
        return;
      }
      const context = u16(bytes, at + 20);
      const opnum = u16(bytes, at + 22);
      called(memory, scope, context, opnum, out);
      tellOddArguments(out.name, bytes, at + 24, last, sink);
      const pending = (memory['rpcCalls'] ??= []) as number[];
      if (pending.length >= PENDING_NUMBERS_MAX) pending.splice(0, 4);
      pending.push(scope, call, context, opnum);
      break;
    }
    case KIND_RESPONSE:
    case KIND_FAULT: {
      if (((bytes[at + 3] as number) & FLAG_FIRST) === 0) return;
      answered(memory, scope, call, out);
      if (kind === KIND_FAULT) {
        const status = last - at >= 28 ? u32(bytes, at + 24) : 0;
        out.exception = FAULTS.get(status) ?? hex(status, 8);
      }
      break;
    }
    case KIND_BIND_ACK:
    case KIND_ALTER_ACK:
      out.name = kind === KIND_BIND_ACK ? 'bind-ack' : 'alter-context-ack';
      out.isResponse = true;
      if (isRejected(bytes, at, last)) out.exception = 'rejected';
      break;
    case KIND_BIND_NAK:
      out.name = 'bind-nak';
      out.isResponse = true;
      out.exception = `reason-${last - at >= 18 ? u16(bytes, at + 16) : 0}`;
      break;
    case KIND_AUTH3:
      out.name = 'auth3';
      break;
    default:
      return;
  }
  if (kind === KIND_BIND || kind === KIND_ALTER || kind === KIND_AUTH3) tellNtlm(bytes, at, last, sink);
  sink.operation(out);
}

function called(memory: Memory, scope: number, context: number, opnum: number, out: Operation): void {
  const known = recall(memory, 'rpcContexts', `${scope}.${context}`);
  out.name = `${known === '' ? 'unknown' : known}:${opnum}`;
  out.action = ACTIONS.get(out.name) ?? 'other';
  out.code = opnum;
}

function answered(memory: Memory, scope: number, call: number, out: Operation): void {
  const pending = (memory['rpcCalls'] ?? []) as number[];
  out.isResponse = true;
  out.action = 'other';
  out.name = 'unknown:response';
  for (let i = 0; i < pending.length; i += 4) {
    if (pending[i] !== scope || pending[i + 1] !== call) continue;
    called(memory, scope, pending[i + 2] as number, pending[i + 3] as number, out);
    pending.splice(i, 4);
    return;
  }
}

function bind(
  bytes: Uint8Array,
  at: number,
  end: number,
  memory: Memory,
  scope: number,
  out: Operation,
  sink: Sink,
): void {
  if (end - at < 28) {
    sink.violation('bind shorter than its header');
    return;
  }
  const little = isLittle(bytes, at);
  const contexts = bytes[at + 24] as number;
  out.count = contexts;
  let next = at + 28;
  let told = '';
  for (let i = 0; i < contexts && i < CONTEXTS_MAX * 4; i++) {
    if (next + CONTEXT_BYTES > end) {
      sink.violation('context beyond the end of the bind');
      return;
    }
    const uuid = uuidAt(bytes, next + 4, little);
    const found = INTERFACES.get(uuid) ?? uuid;
    const number = little ? le16(bytes, next) : be16(bytes, next);
    remember(memory, 'rpcContexts', `${scope}.${number}`, found, CONTEXTS_MAX);
    // The same interface is offered once for each transfer syntax.
    if (found !== told && !uuid.startsWith(FEATURES_PREFIX)) {
      sink.fact('rpc-interface', found);
      if (told === '' && out.object === '') out.object = found;
      told = found;
    }
    next += CONTEXT_BYTES + (bytes[next + 2] as number) * TRANSFER_BYTES;
  }
}

/** Whether none of the contexts was accepted. */
function isRejected(bytes: Uint8Array, at: number, end: number): boolean {
  const u16 = isLittle(bytes, at) ? le16 : be16;
  if (end - at < 26) return false;
  // Fragment sizes and group, then the server's address with its length, filled up to four bytes.
  const address = 26 + u16(bytes, at + 24);
  const results = at + address + ((4 - (address % 4)) % 4);
  const count = results + 4 <= end ? (bytes[results] as number) : 0;
  for (let i = 0; i < count; i++) {
    const result = results + 4 + i * 24;
    if (result + 2 > end || u16(bytes, result) === 0) return false;
  }
  return count > 0;
}

function uuidAt(bytes: Uint8Array, at: number, little: boolean): string {
  const [u16, u32] = little ? [le16, le32] : [be16, be32];
  const tail = (from: number, to: number): string => {
    let out = '';
    for (let i = from; i < to; i++) out += (bytes[at + i] as number).toString(16).padStart(2, '0');
    return out;
  };
  const head = [
    u32(bytes, at).toString(16).padStart(8, '0'),
    u16(bytes, at + 4)
      .toString(16)
      .padStart(4, '0'),
  ];
  return [
    ...head,
    u16(bytes, at + 6)
      .toString(16)
      .padStart(4, '0'),
    tail(8, 10),
    tail(10, 16),
  ].join('-');
}
