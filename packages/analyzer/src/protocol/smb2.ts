/**
 * SMB 2 and 3 (MS-SMB2), little-endian:
 *
 *   0 0xfe `SMB` (4)   4 header length = 64 (2)   6 charge (2)   8 status (4)   12 command (2)   14 credits (2)   16 flags (4)
 *   20 where the next message of a chain begins (4)   24 message (8)   32 process (4)   36 tree (4)   40 session (8)
 *   48 signature (16)   64 body, which begins with its own length (2)
 *
 * Places inside a message count from its header. Names of files stand only where they are opened: the last ones are remembered.
 */
import { hex, le16, le32 } from './byte-reader.ts';
import {
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Action,
  type Memory,
  type Sink,
} from './dissector.ts';
import { recall, remember } from './memo.ts';
import { tellNtlm, wideText } from './ntlmssp.ts';
import { recallFile, rememberFile, statusName, throughPipe } from './smb-status.ts';

const HEADER_BYTES = 64;
const FLAG_RESPONSE = 1;
const STATUS_PENDING = 0x103;
/** A chain may be long; what is told of it is not. */
const CHAIN_MAX = 32;
const CONTROL_PIPE_TRANSCEIVE = 0x0011_c017;
const COMPOUND_FILE = 0xffff_ffff;

const NEGOTIATE = 0;
const SESSION_SETUP = 1;
const TREE_CONNECT = 3;
const CREATE = 5;
const CLOSE = 6;
const READ = 8;
const WRITE = 9;
const IOCTL = 11;

const COMMANDS: readonly (readonly [name: string, action: Action])[] = [
  ['negotiate', 'session'],
  ['session-setup', 'session'],
  ['logoff', 'session'],
  ['tree-connect', 'session'],
  ['tree-disconnect', 'session'],
  ['create', 'file'],
  ['close', 'file'],
  ['flush', 'file'],
  ['read', 'file'],
  ['write', 'file'],
  ['lock', 'file'],
  ['ioctl', 'control'],
  ['cancel', 'session'],
  ['echo', 'session'],
  ['query-directory', 'file'],
  ['change-notify', 'file'],
  ['query-info', 'file'],
  ['set-info', 'file'],
  ['oplock-break', 'other'],
];

const DIALECTS: ReadonlyMap<number, string> = new Map([
  [0x0202, 'SMB 2.0.2'],
  [0x0210, 'SMB 2.1'],
  [0x02ff, 'SMB 2.?'],
  [0x0300, 'SMB 3.0'],
  [0x0302, 'SMB 3.0.2'],
  [0x0311, 'SMB 3.1.1'],
]);

const operation = createOperation('smb');

/** Reads all messages of a chain. */
export function dissectSmb2(bytes: Uint8Array, at: number, end: number, memory: Memory, sink: Sink): void {
  let next = at;
  for (let i = 0; i < CHAIN_MAX; i++) {
    if (end - next < HEADER_BYTES) {
      sink.violation('message shorter than its header');
      return;
    }
    if (le32(bytes, next) !== 0x424d_53fe) {
      sink.violation('chain leads to no message');
      return;
    }
    if (le16(bytes, next + 4) !== HEADER_BYTES) sink.violation('header length is not 64');
    const offset = le32(bytes, next + 20);
    const isLast = offset === 0 || next + offset >= end;
    if (offset !== 0 && offset < HEADER_BYTES) {
      sink.violation('chain leads into its own header');
      return;
    }
    one(bytes, next, isLast ? end : next + offset, memory, sink);
    if (offset === 0) return;
    if (isLast) {
      sink.violation('chain leads beyond the message');
      return;
    }
    next += offset;
  }
}

function one(bytes: Uint8Array, at: number, end: number, memory: Memory, sink: Sink): void {
  const code = le16(bytes, at + 12);
  const known = COMMANDS[code];
  resetOperation(operation);
  operation.code = code;
  operation.name = known?.[0] ?? `command-${code}`;
  operation.action = known?.[1] ?? 'other';
  operation.isResponse = (le32(bytes, at + 16) & FLAG_RESPONSE) !== 0;
  if (known === undefined) sink.violation('command is not defined');
  const body = at + HEADER_BYTES;
  if (operation.isResponse) response(bytes, at, body, end, memory, sink);
  else request(bytes, at, body, end, memory, sink);
}

function request(bytes: Uint8Array, at: number, body: number, end: number, memory: Memory, sink: Sink): void {
  const room = end - body;
  const message = le32(bytes, at + 24);
  let data = -1;
  let dataEnd = -1;
  let file = -1;
  switch (operation.code) {
    case SESSION_SETUP:
      tellNtlm(bytes, body, end, sink);
      break;
    case TREE_CONNECT:
      if (room >= 8)
        operation.object = named(bytes, at, end, le16(bytes, body + 4), le16(bytes, body + 6), sink);
      remember(memory, 'smbNames', `m${message}`, operation.object);
      break;
    case CREATE:
      if (room >= 48)
        operation.object = named(bytes, at, end, le16(bytes, body + 44), le16(bytes, body + 46), sink);
      remember(memory, 'smbNames', `m${message}`, operation.object);
      break;
    case CLOSE:
      if (room >= 24) file = le32(bytes, body + 8);
      break;
    case READ:
      if (room >= 32) {
        operation.value = le32(bytes, body + 4);
        file = le32(bytes, body + 16);
      }
      break;
    case WRITE:
      if (room >= 32) {
        operation.value = le32(bytes, body + 4);
        file = le32(bytes, body + 16);
        data = at + le16(bytes, body + 2);
        dataEnd = Math.min(end, data + operation.value);
      }
      break;
    case IOCTL:
      if (room >= 32) {
        const control = le32(bytes, body + 4);
        operation.value = control;
        file = le32(bytes, body + 8);
        if (control === CONTROL_PIPE_TRANSCEIVE) {
          data = at + le32(bytes, body + 24);
          dataEnd = Math.min(end, data + le32(bytes, body + 28));
        }
      }
      break;
  }
  if (file >= 0 && file !== COMPOUND_FILE) {
    operation.object = recall(memory, 'smbFiles', String(file));
    if (operation.code !== CLOSE) rememberFile(memory, message, file);
  }
  sink.operation(operation);
  if (data >= body) throughPipe(bytes, data, dataEnd, memory, file, operation, sink);
}

function response(
  bytes: Uint8Array,
  at: number,
  body: number,
  end: number,
  memory: Memory,
  sink: Sink,
): void {
  const room = end - body;
  const message = le32(bytes, at + 24);
  const status = le32(bytes, at + 8);
  let data = -1;
  let dataEnd = -1;
  let file = -1;
  operation.exception = statusName(status);
  if (status === STATUS_PENDING) {
    // Only says that the answer comes later.
    sink.operation(operation);
    return;
  }
  switch (operation.code) {
    case NEGOTIATE:
      if (room >= 6 && status === 0) {
        const dialect = le16(bytes, body + 4);
        sink.fact('dialect', DIALECTS.get(dialect) ?? hex(dialect, 4));
      }
      break;
    case TREE_CONNECT:
    case CREATE:
      operation.object = recall(memory, 'smbNames', `m${message}`);
      if (operation.code === CREATE && status === 0 && room >= 80 && operation.object !== '')
        remember(memory, 'smbFiles', String(le32(bytes, body + 64)), operation.object);
      break;
    case READ:
      file = recallFile(memory, message);
      if (room >= 16) {
        data = at + (bytes[body + 2] as number);
        dataEnd = Math.min(end, data + le32(bytes, body + 4));
      }
      break;
    case WRITE:
      file = recallFile(memory, message);
      break;
    case IOCTL:
      file = recallFile(memory, message);
      if (room >= 40 && le32(bytes, body + 4) === CONTROL_PIPE_TRANSCEIVE) {
        data = at + le32(bytes, body + 32);
        dataEnd = Math.min(end, data + le32(bytes, body + 36));
      }
      break;
  }
  if (file >= 0) operation.object = recall(memory, 'smbFiles', String(file));
  sink.operation(operation);
  if (data >= body) throughPipe(bytes, data, dataEnd, memory, file, operation, sink);
}

/** A name whose place and length a request gives. */
function named(
  bytes: Uint8Array,
  at: number,
  end: number,
  offset: number,
  length: number,
  sink: Sink,
): string {
  if (length === 0) return '';
  if (offset < HEADER_BYTES || at + offset + length > end) {
    sink.violation('name outside its message');
    return '';
  }
  return wideText(bytes, at + offset, at + offset + length, OBJECT_CHARACTERS_MAX);
}
