/**
 * MELSOFT's own framing, which Mitsubishi's engineering tools speak with a controller (TCP 5007, UDP 5006, 5560). It is not published; this is what can be seen on the wire:
 *
 *   0 0x57 request, 0xd7 answer   1 …   19 bytes that follow (2, little-endian)
 *   21 0x1c request, 0x9c answer   22 …   23 distance d   24 …   25 end code (2, little-endian, answers only)
 *   23 + d function (2, big-endian)   then a number that answers repeat (2), and data
 *
 *   0 0x5a asks for a connection, 0xda grants it   3 what for
 *
 * Functions are of the same families as SLMP's commands; those that are the same number are called the same, and of a few others it is known what they do from what they carry.
 * The rest keeps its number, and is what its family is.
 *
 *   open-file   0 the number (2)   2 …   9 1 to write (1)   10 drive (1)   then the name, and more
 *
 * Tools leave notes for themselves in a controller, such as where the sources are; only who opens a program or parameters to write them changes what it does.
 * What is then written names the file by a number and over UDP comes from another port: so it is the opening that is told.
 */
import { be16, hex, le16 } from './byte-reader.ts';
import type { Action, Message, Operation, Sink } from './dissector.ts';
import { NEED_MORE, NOT_OURS, OBJECT_CHARACTERS_MAX } from './dissector.ts';
import { COMMANDS, endCodeName } from './slmp-commands.ts';

const REQUEST = 0x57;
const ANSWER = 0xd7;
const CONNECT = 0x5a;
const CONNECTED = 0xda;
const CONNECT_BYTES = 4;
const HEADER_BYTES = 21;
const DATA_REQUEST = 0x1c;
const DATA_ANSWER = 0x9c;
/** Of header and function; nobody asks for so much at once. */
const LENGTH_MAX = 8192;

const FUNCTIONS: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [0x0121, ['read-cpu-model', 'discover']], [0x0131, ['log-in', 'session']], [0x185f, ['find-file', 'file']], [0x1867, ['open-file', 'file']], [0x1868, ['read-file', 'file']],
  [0x1869, ['write-file', 'file']], [0x186a, ['close-file', 'file']],
] as const); // prettier-ignore
/** Brings a user's name in UTF-16; what it is refused with differs with the name. */
const LOG_IN = 0x0131;
const OPEN_FILE = 0x1867;
/** Behind the function. */
const OPEN_MODE_OFFSET = 9;
/** Programs, function blocks, parameters; with Q those of earlier controllers. */
const CHANGES_CONTROLLER = /\.(PRG|PFB|PRM|QPG|QPA)$/i;

/** By the high byte. What families 0x0b and 0x17 do is not known. */
const FAMILIES: ReadonlyMap<number, Action> = new Map([[0x01, 'session'], [0x04, 'read'], [0x08, 'read'], [0x10, 'control'], [0x14, 'write'], [0x18, 'file']] as const); // prettier-ignore

/** Whether what begins at `at` < `end` begins as MELSOFT does. */
export function isMelsoft(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at];
  return first === REQUEST || first === ANSWER || first === CONNECT || first === CONNECTED;
}

/** See Dissector.messageBytes; `at` < `end` and isMelsoft. */
export function melsoftBytes(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at];
  if (first === CONNECT) return end - at < 3 ? NEED_MORE : bytes[at + 1] === 0 && bytes[at + 2] === 0 ? CONNECT_BYTES : NOT_OURS; // prettier-ignore
  // Its length is not known: it comes alone.
  if (first === CONNECTED) return end - at < CONNECT_BYTES ? NEED_MORE : end - at;
  if (end - at < HEADER_BYTES) return NEED_MORE;
  const length = le16(bytes, at + 19);
  return length === 0 || length > LENGTH_MAX ? NOT_OURS : HEADER_BYTES + length;
}

/** One whole message, and nothing but what these tools send; what asks for connections is too short to be sure. */
export function looksLikeMelsoft(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < HEADER_BYTES + 6 || (bytes[at] !== REQUEST && bytes[at] !== ANSWER)) return false;
  return (
    HEADER_BYTES + le16(bytes, at + 19) === end - at &&
    be16(bytes, at + 5) === 0x1111 &&
    bytes[at + HEADER_BYTES] === (bytes[at] === REQUEST ? DATA_REQUEST : DATA_ANSWER)
  );
}

/** Fills the operation, which was reset, and tells it. */
export function dissectMelsoft(operation: Operation, { bytes, at, end }: Message, sink: Sink): void {
  const first = bytes[at] as number;
  operation.isResponse = (first & 0x80) !== 0;
  if (first === CONNECT || first === CONNECTED) {
    if (end - at < CONNECT_BYTES) return;
    operation.name = 'connect';
    operation.action = 'session';
    operation.code = bytes[at + 3] as number;
    sink.operation(operation);
    return;
  }
  if (end - at < HEADER_BYTES + 6) return;
  const data = at + HEADER_BYTES;
  if (bytes[data] !== (operation.isResponse ? DATA_ANSWER : DATA_REQUEST)) return;
  const functionAt = data + 2 + (bytes[data + 2] as number);
  if (functionAt + 2 > end) return;
  const code = be16(bytes, functionAt);
  const known = FUNCTIONS.get(code);
  const published = COMMANDS.get(code);
  operation.code = code;
  operation.name = known?.[0] ?? published?.name ?? `melsoft-${hex(code, 4)}`;
  operation.action = known?.[1] ?? published?.action ?? FAMILIES.get(code >> 8) ?? 'other';
  if (!operation.isResponse) {
    operation.object = fileName(bytes, functionAt + 4, end);
    if (code === OPEN_FILE) nameOpening(operation, bytes, functionAt + 2, end);
  }
  if (operation.isResponse && functionAt >= data + 6)
    operation.exception = refusal(le16(bytes, data + 4), code);
  sink.operation(operation);
}

function refusal(endCode: number, code: number): string {
  return code === LOG_IN && endCode !== 0 ? 'password-refused' : endCodeName(endCode, code);
}

function nameOpening(operation: Operation, bytes: Uint8Array, at: number, end: number): void {
  if (at + OPEN_MODE_OFFSET >= end || bytes[at + OPEN_MODE_OFFSET] !== 1) return;
  operation.name = 'open-file-to-write';
  if (CHANGES_CONTROLLER.test(operation.object)) operation.action = 'program';
}

/** Files stand in UTF-16 behind their drive, whose name begins with a dollar sign: `$MELPRJ$\CPU.PRM`. */
function fileName(bytes: Uint8Array, from: number, end: number): string {
  for (let at = from; at + 4 <= end; at++) {
    if (bytes[at] !== 0x24 || bytes[at + 1] !== 0 || bytes[at + 2] !== 0x4d || bytes[at + 3] !== 0) continue;
    let name = '';
    for (let i = at; i + 2 <= end && name.length < OBJECT_CHARACTERS_MAX; i += 2) {
      const unit = le16(bytes, i);
      if (unit < 0x20 || unit > 0x7e) break;
      name += String.fromCharCode(unit);
    }
    return name;
  }
  return '';
}
