/**
 * SMB 1 (MS-CIFS, MS-SMB), little-endian:
 *
 *   0 0xff `SMB` (4)   4 command (1)   5 status (4)   9 flags (1)   10 flags2 (2)   12 process high (2)   14 signature (8)
 *   22 reserved (2)   24 tree (2)   26 process (2)   28 user (2)   30 multiplex (2)   32 words (1)   33 words (2 each)
 *   then bytes: length (2), data
 *
 * Places inside a message count from its header. What MS17-010 needs and leaves behind has its own names: a transaction that peeks at
 * file 0 (the test for the patch), transactions that go on in secondary messages, and a session setup of TRANSACTION2, which no client
 * sends but DoublePulsar's, whose answer adds 0x10 or 0x11 to the multiplex number it was asked with (0x41).
 */
import { le16, le32, text } from './byte-reader.ts';
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
import { dosStatus, recallFile, rememberFile, statusName, throughPipe } from './smb-status.ts';

const HEADER_BYTES = 32;
const FLAG_RESPONSE = 0x80;
const FLAG2_NT_STATUS = 0x4000;
const FLAG2_UNICODE = 0x8000;
/** Commands of one message, each of which says where the next one stands. */
const CHAIN_MAX = 4;
const CHAIN_END = 0xff;

const TRANS = 0x25;
const READ_ANDX = 0x2e;
const WRITE_ANDX = 0x2f;
const TRANS2 = 0x32;
const NEGOTIATE = 0x72;
const SESSION_SETUP_ANDX = 0x73;
const TREE_CONNECT_ANDX = 0x75;
const NT_TRANSACT = 0xa0;
const NT_CREATE_ANDX = 0xa2;

const COMMANDS: ReadonlyMap<number, readonly [name: string, action: Action]> = new Map([
  [0x00, ['create-directory', 'file']],
  [0x01, ['delete-directory', 'file']],
  [0x02, ['open', 'file']],
  [0x03, ['create', 'file']],
  [0x04, ['close', 'file']],
  [0x05, ['flush', 'file']],
  [0x06, ['delete', 'file']],
  [0x07, ['rename', 'file']],
  [0x08, ['query-information', 'file']],
  [0x09, ['set-information', 'file']],
  [0x0a, ['read', 'file']],
  [0x0b, ['write', 'file']],
  [0x10, ['check-directory', 'file']],
  [0x1a, ['read-raw', 'file']],
  [0x1d, ['write-raw', 'file']],
  [0x24, ['locking', 'file']],
  [TRANS, ['trans', 'control']],
  [0x26, ['trans-secondary', 'control']],
  [0x2b, ['echo', 'session']],
  [0x2d, ['open', 'file']],
  [READ_ANDX, ['read', 'file']],
  [WRITE_ANDX, ['write', 'file']],
  [TRANS2, ['trans2', 'control']],
  [0x33, ['trans2-secondary', 'control']],
  [0x34, ['find-close2', 'file']],
  [0x70, ['tree-connect', 'session']],
  [0x71, ['tree-disconnect', 'session']],
  [NEGOTIATE, ['negotiate', 'session']],
  [SESSION_SETUP_ANDX, ['session-setup', 'session']],
  [0x74, ['logoff', 'session']],
  [TREE_CONNECT_ANDX, ['tree-connect', 'session']],
  [0x80, ['query-information-disk', 'file']],
  [NT_TRANSACT, ['nt-transact', 'control']],
  [0xa1, ['nt-transact-secondary', 'control']],
  [NT_CREATE_ANDX, ['nt-create', 'file']],
  [0xa4, ['nt-cancel', 'session']],
  [0xa5, ['nt-rename', 'file']],
] as const);

const ANDX: ReadonlySet<number> = new Set([
  0x24,
  0x2d,
  READ_ANDX,
  WRITE_ANDX,
  SESSION_SETUP_ANDX,
  0x74,
  TREE_CONNECT_ANDX,
  NT_CREATE_ANDX,
]);

const PIPE_PEEK = 0x23;
const PIPE_TRANSACT = 0x26;
const TRANS2_SESSION_SETUP = 0x0e;
const TRANS2_NAMES: readonly string[] = [
  'open',
  'find-first',
  'find-next',
  'query-fs',
  'set-fs',
  'query-path',
  'set-path',
  'query-file',
  'set-file',
  'fsctl',
  'ioctl',
  'notify-first',
  'notify-next',
  'create-directory',
  'session-setup',
  '',
  'get-referral',
  'report-inconsistency',
];
const DOUBLEPULSAR_ANSWERS: ReadonlySet<number> = new Set([0x51, 0x52]);

const operation = createOperation('smb');

/** Reads one message with the commands chained in it. */
export function dissectSmb1(bytes: Uint8Array, at: number, end: number, memory: Memory, sink: Sink): void {
  if (end - at < HEADER_BYTES + 3) {
    sink.violation('message shorter than its header');
    return;
  }
  let code = bytes[at + 4] as number;
  let words = at + HEADER_BYTES;
  for (let i = 0; i < CHAIN_MAX; i++) {
    const data = words + 1 + (bytes[words] as number) * 2;
    if (data > end) {
      sink.violation('words beyond the end of the message');
      return;
    }
    one(bytes, at, words + 1, data, end, code, memory, sink);
    if (!ANDX.has(code) || data - words < 5 || bytes[words + 1] === CHAIN_END) return;
    code = bytes[words + 1] as number;
    const next = at + le16(bytes, words + 3);
    // Chains only lead forwards; an offset of 0 ends them too.
    if (next <= words || next >= end) return;
    words = next;
  }
}

function one(
  bytes: Uint8Array,
  at: number,
  words: number,
  data: number,
  end: number,
  code: number,
  memory: Memory,
  sink: Sink,
): void {
  const known = COMMANDS.get(code);
  resetOperation(operation);
  operation.code = code;
  operation.name = known?.[0] ?? `command-${code}`;
  operation.action = known?.[1] ?? 'other';
  operation.isResponse = ((bytes[at + 9] as number) & FLAG_RESPONSE) !== 0;
  if (known === undefined) sink.violation('command is not defined');
  if (operation.isResponse) response(bytes, at, words, data, end, memory, sink);
  else request(bytes, at, words, data, end, memory, sink);
}

function request(
  bytes: Uint8Array,
  at: number,
  words: number,
  data: number,
  end: number,
  memory: Memory,
  sink: Sink,
): void {
  const room = data - words;
  const multiplex = le16(bytes, at + 30);
  const isUnicode = (le16(bytes, at + 10) & FLAG2_UNICODE) !== 0;
  let payload = -1;
  let payloadEnd = -1;
  let file = -1;
  switch (operation.code) {
    case SESSION_SETUP_ANDX:
      tellNtlm(bytes, data, end, sink);
      break;
    case TREE_CONNECT_ANDX:
      if (room >= 8) operation.object = nameAt(bytes, at, data + 2 + le16(bytes, words + 6), end, isUnicode);
      remember(memory, 'smbNames', `m${multiplex}`, operation.object);
      break;
    case NT_CREATE_ANDX:
      operation.object = nameAt(bytes, at, data + 2, end, isUnicode);
      remember(memory, 'smbNames', `m${multiplex}`, operation.object);
      break;
    case READ_ANDX:
      if (room >= 12) {
        file = le16(bytes, words + 4);
        operation.value = le16(bytes, words + 10);
      }
      break;
    case WRITE_ANDX:
      if (room >= 24) {
        file = le16(bytes, words + 4);
        operation.value = le16(bytes, words + 20);
        payload = at + le16(bytes, words + 22);
        payloadEnd = Math.min(end, payload + operation.value);
      }
      break;
    case TRANS:
      // parameters count and place at 18 and 20, data at 22 and 24, number of setup words at 26, setup words from 28
      if (room >= 32 && (bytes[words + 26] as number) >= 2) {
        const kind = le16(bytes, words + 28);
        file = le16(bytes, words + 30);
        if (kind === PIPE_PEEK) operation.name = file === 0 ? 'peek-named-pipe-fid0' : 'peek-named-pipe';
        else if (kind === PIPE_TRANSACT) {
          operation.name = 'transact-named-pipe';
          payload = at + le16(bytes, words + 24);
          payloadEnd = Math.min(end, payload + le16(bytes, words + 22));
        }
      }
      break;
    case TRANS2:
      if (room >= 30 && (bytes[words + 26] as number) >= 1) {
        const kind = le16(bytes, words + 28);
        operation.name = `trans2-${TRANS2_NAMES[kind] || kind}`;
        if (kind === TRANS2_SESSION_SETUP) memory['isTrans2SessionSetup'] = true;
      }
      break;
    case NT_TRANSACT:
      if (room >= 11) operation.value = le32(bytes, words + 7);
      break;
  }
  if (file >= 0) {
    operation.object = recall(memory, 'smbFiles', String(file));
    rememberFile(memory, multiplex, file);
  }
  sink.operation(operation);
  if (payload >= data) throughPipe(bytes, payload, payloadEnd, memory, file, operation, sink);
}

function response(
  bytes: Uint8Array,
  at: number,
  words: number,
  data: number,
  end: number,
  memory: Memory,
  sink: Sink,
): void {
  const room = data - words;
  const multiplex = le16(bytes, at + 30);
  const isNtStatus = (le16(bytes, at + 10) & FLAG2_NT_STATUS) !== 0;
  let payload = -1;
  let payloadEnd = -1;
  let file = -1;
  operation.exception = isNtStatus ? statusName(le32(bytes, at + 5)) : dosStatus(bytes, at + 5);
  switch (operation.code) {
    case NEGOTIATE:
      // Seventeen words answer NT LM 0.12; the number of a dialect means a place in the request's list.
      if (room >= 2 && le16(bytes, words) === 0xffff) operation.exception = 'no-common-dialect';
      else if (room >= 2) sink.fact('dialect', room === 34 ? 'NT LM 0.12' : 'SMB 1, older than NT LM 0.12');
      break;
    case TREE_CONNECT_ANDX:
      operation.object = recall(memory, 'smbNames', `m${multiplex}`);
      break;
    case NT_CREATE_ANDX:
      operation.object = recall(memory, 'smbNames', `m${multiplex}`);
      if (room >= 7 && operation.object !== '')
        remember(memory, 'smbFiles', String(le16(bytes, words + 5)), operation.object);
      break;
    case READ_ANDX:
      file = recallFile(memory, multiplex);
      if (room >= 14) {
        payload = at + le16(bytes, words + 12);
        payloadEnd = Math.min(end, payload + le16(bytes, words + 10));
      }
      break;
    case WRITE_ANDX:
      file = recallFile(memory, multiplex);
      break;
    case TRANS:
      file = recallFile(memory, multiplex);
      if (room >= 16) {
        payload = at + le16(bytes, words + 14);
        payloadEnd = Math.min(end, payload + le16(bytes, words + 12));
      }
      break;
    case TRANS2:
      if (memory['isTrans2SessionSetup'] === true && DOUBLEPULSAR_ANSWERS.has(multiplex))
        operation.name = 'doublepulsar-response';
      break;
  }
  if (file >= 0) operation.object = recall(memory, 'smbFiles', String(file));
  sink.operation(operation);
  if (payload >= data) throughPipe(bytes, payload, payloadEnd, memory, file, operation, sink);
}

/** Text in UTF-16 begins at an even distance from the header. */
function nameAt(bytes: Uint8Array, header: number, at: number, end: number, isUnicode: boolean): string {
  if (isUnicode) return wideText(bytes, at + ((at - header) & 1), end, OBJECT_CHARACTERS_MAX);
  let last = at;
  while (last < end && bytes[last] !== 0) last++;
  return text(bytes, at, last, OBJECT_CHARACTERS_MAX);
}
