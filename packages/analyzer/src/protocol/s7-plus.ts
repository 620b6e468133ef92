/**
 * S7comm-plus (Siemens S7-1200 and S7-1500), inside ISO on TCP, big-endian:
 *
 *   0 0x72   1 version (1)   2 length (2)   4 the message or a part of it   trailer, behind the last part: 72, version, 00 00
 *   message: in version 3 first 0x20 and a digest (32), then
 *            0 opcode (1)   1 reserved (2)   3 function (2)   5 reserved (2)   7 sequence (2)   9 session (4), in requests
 *
 *
 *   set-variable   14 object (4)   18 addresses (VLQ)   then each address (VLQ), flags (1), type (1), value
 *
 * Notifications have no function. Remembered: whether a message in several parts is under way, per direction.
 */
import { be16, hex } from './byte-reader.ts';
import { createOperation, resetOperation, type Action, type Message, type Sink } from './dissector.ts';

export const S7_PLUS = 0x72;

const OPCODES: Readonly<Record<number, string>> = {
  0x31: 'request',
  0x32: 'response',
  0x33: 'notification',
};
const RESPONSE = 0x32;
const NOTIFICATION = 0x33;
const KEEP_ALIVE = 0xff;
const DIGEST_BYTES = 32;
const FUNCTIONS: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [0x04bb, ['explore', 'discover']],
  [0x04ca, ['create-object', 'session']],
  [0x04d4, ['delete-object', 'session']],
  [0x04f2, ['set-variable', 'write']],
  [0x04fc, ['get-variable', 'read']],
  [0x0524, ['set-var-substreamed', 'write']],
  [0x0542, ['set-multi-variables', 'write']],
  [0x054c, ['get-multi-variables', 'read']],
  [0x0556, ['begin-sequence', 'session']],
  [0x0560, ['end-sequence', 'session']],
  [0x056b, ['invoke', 'control']],
  [0x057c, ['get-link', 'read']],
  [0x0586, ['get-vars-substreamed', 'read']],
] as const);

const SET_VARIABLE = 0x04f2;
/** The execution unit's object, and its attribute that asks for another state: one address, 2167, no flags, type DINT. */
const EXECUTION_UNIT_AT = 14;
const STATE_REQUEST: readonly number[] = [0, 0, 0, 0x34, 1, 0x90, 0x77, 0, 8];
const STATES: Readonly<Record<number, string>> = { 1: 'plc-stop', 3: 'plc-start' };

const operation = createOperation('s7comm');

/** Reads one message: `bytes[at, end)`, which holds only its beginning where `isWhole` is false. `message` says who sent it. */
export function dissectS7Plus(
  message: Message,
  bytes: Uint8Array,
  at: number,
  end: number,
  isWhole: boolean,
  sink: Sink,
): void {
  if (end - at < 4) {
    sink.violation('S7comm-plus message shorter than its header');
    return;
  }
  const { unit } = message.memory;
  resetOperation(operation);
  operation.unit = typeof unit === 'number' ? unit : -1;
  const version = bytes[at + 1] as number;
  if (version === KEEP_ALIVE) return;
  const length = be16(bytes, at + 2);
  if (isWhole && length > end - at - 4) sink.violation('S7comm-plus length and message disagree');
  // A message that goes on in the next one has no trailer.
  const key = message.isFromClient ? 'isPlusOpenOfClient' : 'isPlusOpenOfServer';
  const isContinued = message.memory[key] === true;
  if (isWhole) message.memory[key] = end - at - 4 <= length;
  if (isContinued) return;
  let body = at + 4;
  if (version === 3 && body < end && bytes[body] === DIGEST_BYTES) body += 1 + DIGEST_BYTES;
  const opcode = body < end ? (bytes[body] as number) : 0;
  // The protocol is not published: what is not known here is not wrong.
  if (OPCODES[opcode] === undefined) return;
  operation.isResponse = opcode === RESPONSE;
  if (opcode === NOTIFICATION) {
    operation.name = 'notification';
    operation.action = 'report';
  } else if (end - body >= 5) {
    const code = be16(bytes, body + 3);
    const known = FUNCTIONS.get(code);
    operation.code = code;
    operation.name = known?.[0] ?? `function-${hex(code, 4)}`;
    operation.action = known?.[1] ?? 'other';
    if (code === SET_VARIABLE && !operation.isResponse) stateRequest(bytes, body + EXECUTION_UNIT_AT, end);
  } else {
    sink.violation('S7comm-plus message shorter than its header');
    return;
  }
  sink.operation(operation);
}

/** A stop or start is a variable that is set like any other. */
function stateRequest(bytes: Uint8Array, at: number, end: number): void {
  const value = at + STATE_REQUEST.length;
  if (value >= end || STATE_REQUEST.some((byte, i) => bytes[at + i] !== byte)) return;
  operation.name = STATES[bytes[value] as number] ?? 'set-operating-state';
  operation.action = 'control';
  operation.value = bytes[value] as number;
}
