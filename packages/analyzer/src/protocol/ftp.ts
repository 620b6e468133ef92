/**
 * FTP control connections (RFC 959), lines of text:
 *
 *   command SP argument CR LF
 *   code SP text CR LF          code-text CR LF ... code SP text CR LF where an answer has several lines
 *
 * Where the next file goes (PORT, PASV and theirs) is told as the operation's value: the port.
 * An answer belongs to the command before it, which is remembered; the word behind PASS is a password and is neither told nor kept.
 * After AUTH the connection goes on in TLS, whose records are framed and not looked into.
 */
import { text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';
import { isFormatString } from './oddity.ts';
import { tlsRecordBytes } from './tls.ts';

const LINE_BYTES_MAX = 2048;
/** No user's name is longer; and what is shorter cannot tell printf much. */
const NAME_BYTES_MAX = 512;
const FORMAT_BYTES_MIN = 16;

const COMMANDS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['USER', 'session'],
  ['PASS', 'session'],
  ['ACCT', 'session'],
  ['AUTH', 'session'],
  ['PBSZ', 'session'],
  ['PROT', 'session'],
  ['REIN', 'session'],
  ['QUIT', 'session'],
  ['PORT', 'session'],
  ['EPRT', 'session'],
  ['PASV', 'session'],
  ['EPSV', 'session'],
  ['NOOP', 'session'],
  ['TYPE', 'session'],
  ['OPTS', 'session'],
  ['RETR', 'file'],
  ['STOR', 'file'],
  ['STOU', 'file'],
  ['APPE', 'file'],
  ['DELE', 'file'],
  ['RNFR', 'file'],
  ['RNTO', 'file'],
  ['MKD', 'file'],
  ['RMD', 'file'],
  ['CWD', 'file'],
  ['CDUP', 'file'],
  ['PWD', 'file'],
  ['LIST', 'file'],
  ['NLST', 'file'],
  ['MLSD', 'file'],
  ['SIZE', 'file'],
  ['MDTM', 'file'],
  ['SITE', 'control'],
  ['SYST', 'discover'],
  ['FEAT', 'discover'],
  ['HELP', 'discover'],
  ['STAT', 'discover'],
]);

/** Whose password is no secret. */
const ANONYMOUS = /^(?:anonymous|ftp)$/i;

const operation = createOperation('ftp');

export const ftp: Dissector = {
  name: 'ftp',
  tcpPorts: [21],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end <= at) return NEED_MORE;
    const first = bytes[at] as number;
    if (first >= 20 && first <= 24) return tlsRecordBytes(bytes, at, end);
    // Telnet's interrupt may stand in front of ABOR, and empty lines are harmless.
    if (first < 0x20 && first !== 10 && first !== 13) return NOT_OURS;
    for (let i = at; i < Math.min(end, at + LINE_BYTES_MAX); i++) if (bytes[i] === 10) return i + 1 - at;
    return end - at >= LINE_BYTES_MAX ? NOT_OURS : NEED_MORE;
  },

  looksLike(bytes, at, end) {
    return end - at >= 8 && /^(220[ -].*ftp|USER [\x21-\x7e]+\.\.$)/i.test(text(bytes, at, end));
  },

  dissect(message, sink) {
    const { bytes, at } = message;
    let last = Math.min(message.end, at + LINE_BYTES_MAX);
    const first = last > at ? (bytes[at] as number) : 0;
    if (first < 0x20) return;
    while (last > at && (bytes[last - 1] === 10 || bytes[last - 1] === 13)) last--;
    resetOperation(operation);
    if (message.isFromClient) command(message, last, sink);
    else reply(message, last, sink);
  },
};

function command(message: Message, end: number, sink: Sink): void {
  const { bytes, memory } = message;
  let at = message.at;
  while (at < end && (bytes[at] as number) >= 0x80) at++;
  let wordEnd = at;
  while (wordEnd < end && wordEnd < at + 8 && bytes[wordEnd] !== 0x20) wordEnd++;
  const word = text(bytes, at, wordEnd).toUpperCase();
  if (!/^[A-Z]{3,8}$/.test(word)) {
    sink.violation('command is not a word');
    return;
  }
  operation.name = word.toLowerCase();
  operation.action = COMMANDS.get(word) ?? 'other';
  if (word !== 'PASS' && word !== 'ACCT')
    operation.object = text(bytes, Math.min(wordEnd + 1, end), end, OBJECT_CHARACTERS_MAX);
  if (word === 'USER' && end - wordEnd > NAME_BYTES_MAX)
    sink.fact('overlong', `user with a name of ${end - wordEnd} bytes`);
  if (
    word !== 'PASS' &&
    end - wordEnd >= FORMAT_BYTES_MIN &&
    isFormatString(text(bytes, wordEnd, end, LINE_BYTES_MAX))
  )
    sink.fact('format-string', operation.name);
  if (word === 'PORT' || word === 'EPRT') operation.value = dataPort(operation.object);
  if (word === 'USER') {
    memory['user'] = operation.object;
    if (operation.object !== '') sink.fact('ftp-user', operation.object);
  } else if (word === 'PASS') {
    operation.object = (memory['user'] as string | undefined) ?? '';
    if (!ANONYMOUS.test(operation.object)) sink.fact('password', 'ftp');
  }
  memory['command'] = word;
  memory['object'] = operation.object;
  sink.operation(operation);
}

function reply(message: Message, end: number, sink: Sink): void {
  const { bytes, at, memory } = message;
  // Lines in the middle of an answer say anything, and its first one is repeated by its last.
  const begin = text(bytes, at, end, 4);
  if (!/^[1-6]\d\d( |$)/.test(begin)) return;
  const code = Number(begin.slice(0, 3));
  const word = memory['command'];
  operation.isResponse = true;
  operation.code = code;
  if (typeof word === 'string') {
    operation.name = word.toLowerCase();
    operation.action = COMMANDS.get(word) ?? 'other';
    operation.object = (memory['object'] as string | undefined) ?? '';
  } else {
    operation.name = 'banner';
    operation.action = 'session';
    const line = text(bytes, at + 4, end, 256);
    if (code === 220 && line !== '') sink.fact('ftp-server', line);
  }
  if (code === 227 || code === 229)
    operation.value = dataPort(text(bytes, at + 4, end, OBJECT_CHARACTERS_MAX));
  if (code >= 400) operation.exception = String(code);
  sink.operation(operation);
}

/** The port that the data connection goes to: `h1,h2,h3,h4,p1,p2` (RFC 959) or `|||port|`, `|1|address|port|` (RFC 2428); NaN where none stands there. */
function dataPort(words: string): number {
  const numbers = /(?:\d{1,3},){4}(\d{1,3}),(\d{1,3})/.exec(words);
  if (numbers !== null) return Number(numbers[1]) * 256 + Number(numbers[2]);
  return Number(/\|(\d{1,5})\|/.exec(words.replace(/\|[12]\|[^|]*\|/, '|'))?.[1] ?? NaN);
}
