/**
 * UMAS, the protocol of Schneider Electric's engineering tools, inside Modbus function 90. It is published by nobody but those who have read it off the wire (Modicon M221, M340, M580):
 *
 *   0 who holds the reservation (1)   1 function (1)   2 data              request
 *   0 the same (1)                    1 0xfe done, 0xfd refused (1)   2 data, or why (…)
 *
 * An answer does not repeat the function, so the last one of a conversation is remembered. Monitoring and looking at tables of variables are reading; most of an engineer's day is no change of a program.
 */
import { hex } from './byte-reader.ts';
import type { Action, Message, Operation, Sink } from './dissector.ts';

export const UMAS = 90;
const REFUSED = 0xfd;

/** Those of which it is known what they do; all others are `other`. */
const FUNCTIONS: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [0x01, ['init-communication', 'session']], [0x02, ['read-id', 'discover']], [0x03, ['read-project-info', 'read']], [0x04, ['read-plc-status', 'read']],
  [0x06, ['read-card-info', 'read']], [0x0a, ['echo', 'session']], [0x10, ['take-reservation', 'session']], [0x11, ['release-reservation', 'session']],
  [0x12, ['keep-reservation', 'session']], [0x20, ['read-memory-block', 'read']], [0x21, ['write-memory-block', 'write']], [0x22, ['read-variables', 'read']],
  [0x23, ['write-variables', 'write']], [0x24, ['read-table', 'read']], [0x25, ['write-table', 'write']], [0x28, ['read-physical-memory', 'program']],
  [0x29, ['write-physical-memory', 'program']], [0x30, ['initialize-upload', 'program']], [0x31, ['upload-block', 'program']], [0x32, ['end-upload', 'program']],
  [0x33, ['initialize-download', 'program']], [0x34, ['download-block', 'program']], [0x35, ['end-download', 'program']], [0x36, ['backup', 'program']],
  [0x39, ['read-ethernet-data', 'read']], [0x40, ['plc-start', 'control']], [0x41, ['plc-stop', 'control']], [0x50, ['monitor', 'read']],
  [0x58, ['check', 'read']], [0x70, ['read-io-object', 'read']], [0x71, ['write-io-object', 'write']], [0x73, ['read-module-status', 'read']],
] as const); // prettier-ignore

/** Names the operation, whose message has its data at `data`. */
export function nameByUmas(operation: Operation, message: Message, data: number, sink: Sink): void {
  const { bytes, end, memory, isFromClient } = message;
  if (end - data < 2) {
    if (isFromClient) sink.violation('request shorter than its function demands');
    return;
  }
  const second = bytes[data + 1] as number;
  if (isFromClient) memory['umas'] = second;
  else if (second === REFUSED) operation.exception = end - data > 2 ? `umas-error-${hex(bytes[data + 2] as number)}` : 'umas-error'; // prettier-ignore
  const code = memory['umas'] as number | undefined;
  if (code === undefined) return;
  const [name, action] = FUNCTIONS.get(code) ?? [`umas-${hex(code)}`, 'other'];
  operation.name = name;
  operation.action = action;
}
