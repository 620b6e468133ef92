/**
 * Mail's three protocols of lines, up to where somebody is logged in or a mail begins: POP3 (RFC 1939), IMAP (RFC 9051), SMTP (RFC 5321). Behind that there are people's mails, which
 * are nobody's business here, and the reader says that it is done; so it does before TLS.
 *
 *   POP3   USER name  PASS word  APOP name digest  AUTH kind          +OK ...   -ERR ...   + (more is asked for)
 *   IMAP   tag LOGIN name word  tag AUTHENTICATE kind                 tag OK ...   tag NO ...   tag BAD ...   * ...   + ...
 *   SMTP   EHLO name  AUTH kind  MAIL  RCPT  VRFY name  DATA          code SP text   code-text (more lines follow)
 *
 * An answer belongs to the command before it, which is remembered. What comes while a login is in dialogue is a secret: it is neither told nor kept.
 */
import { text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Dissector,
  type Memory,
  type Message,
  type Operation,
  type Sink,
} from './dissector.ts';

/** A longer line is read as far as it has come: overflows have no end of line. */
const LINE_BYTES_MAX = 2048;
/** RFC 1939, RFC 5321 and what servers take: no name is longer. */
const NAME_BYTES_MAX = 512;

/** Why a server refuses who may know the password: the mailbox is open already, or the server has no time. */
const UNAVAILABLE = /\[(?:in-?use|sys|unavailable|serverbug|limit)|lock|busy|temporar|try again|too many/i;

/** Logins that show no password. */
const HIDDEN =
  /^apop |\b(?:cram|digest|scram|ntlm|gssapi|gss-spnego|kerberos|oauthbearer|xoauth2?|external)\b/i;

interface Command {
  readonly name: string;
  /** What is told of it. */
  readonly object: string;
}

interface Answer {
  readonly isGood: boolean;
  /** The dialogue goes on: the client's next line is a part of it. */
  readonly isMore: boolean;
  readonly code: number;
}

interface Language {
  /** Commands that are told, and whether a refusal of them is one of a login. */
  readonly commands: Readonly<Record<string, 'login' | 'tls' | 'mail' | 'name' | 'other'>>;
  /** Reads a command's line. */
  command(line: string, memory: Memory): Command;
  /** Reads an answer's line; null for lines that belong to none. */
  answer(line: string, memory: Memory): Answer | null;
  /** Words of a command for a dialogue that brings nothing yet: AUTH and a kind. */
  readonly dialogueWords: number;
  /** Whether this answer to a login says that name or password is wrong. */
  isRefusal(answer: Answer, line: string): boolean;
}

const POP3: Language = {
  dialogueWords: 2,
  commands: { user: 'name', pass: 'login', apop: 'login', auth: 'login', stls: 'tls', quit: 'other' },
  command: (line) => {
    const [word = '', first = ''] = line.split(' ', 2);
    const name = word.toLowerCase();
    return { name, object: name === 'user' || name === 'apop' ? first : '' };
  },
  answer: (line) =>
    line.startsWith('+OK') ? { isGood: true, isMore: false, code: -1 }
    : line.startsWith('-ERR') ? { isGood: false, isMore: false, code: -1 }
    : line.startsWith('+ ') || line === '+' ? { isGood: true, isMore: true, code: -1 }
    : null, // prettier-ignore
  isRefusal: (_, line) => !UNAVAILABLE.test(line),
};

const IMAP: Language = {
  dialogueWords: 3,
  commands: { login: 'login', authenticate: 'login', starttls: 'tls', logout: 'other' },
  command: (line, memory) => {
    const [tag = '', word = '', first = ''] = line.split(' ', 3);
    const name = word.toLowerCase();
    if (Object.hasOwn(IMAP.commands, name)) memory['tag'] = tag.slice(0, 32);
    // The name may be a literal, `{8}`, and comes in a line of its own then.
    return { name, object: name === 'login' && !first.startsWith('{') ? first.replaceAll('"', '') : '' };
  },
  answer: (line, memory) => {
    if (line.startsWith('+')) return { isGood: true, isMore: true, code: -1 };
    const [tag = '', word = ''] = line.split(' ', 2);
    if (tag === '*' || tag !== memory['tag']) return null;
    return { isGood: word.toUpperCase() === 'OK', isMore: false, code: -1 };
  },
  // BAD is a command that was not understood.
  isRefusal: (_, line) => / NO\b/i.test(line.slice(0, 48)) && !UNAVAILABLE.test(line),
};

const SMTP: Language = {
  dialogueWords: 2,
  commands: { ehlo: 'other', helo: 'other', auth: 'login', starttls: 'tls', data: 'mail', bdat: 'mail', vrfy: 'name', expn: 'name', quit: 'other' },
  command: (line) => {
    const [word = '', first = ''] = line.split(' ', 2);
    const name = word.toLowerCase();
    return { name, object: name === 'vrfy' || name === 'expn' || name === 'ehlo' || name === 'helo' ? first : '' };
  },
  answer: (line) => {
    if (!/^[2-5]\d\d(?: |$)/.test(line)) return null;
    const code = Number(line.slice(0, 3));
    return { isGood: code < 400, isMore: code === 334, code };
  },
  isRefusal: ({ code }) => code === 535,
}; // prettier-ignore

export const pop3 = mailDissector('pop3', [110], POP3, /^\+OK [^\r\n]*pop/i);
export const imap = mailDissector('imap', [143], IMAP, /^\* OK [^\r\n]*imap/i);
export const smtp = mailDissector('smtp', [25, 587, 2525], SMTP, /^220[ -][^\r\n]*smtp/i);

function mailDissector(
  name: string,
  tcpPorts: readonly number[],
  language: Language,
  banner: RegExp,
): Dissector {
  // prettier-ignore
  const operation = createOperation(name);
  return {
    name,
    tcpPorts,
    udpPorts: [],
    etherTypes: [],

    messageBytes(bytes, at, end) {
      if (end <= at) return NEED_MORE;
      const first = bytes[at] as number;
      if (first >= 0x80 || (first < 0x20 && first !== 10 && first !== 13)) return NOT_OURS;
      for (let i = at; i < Math.min(end, at + LINE_BYTES_MAX); i++) if (bytes[i] === 10) return i + 1 - at;
      return end - at >= LINE_BYTES_MAX ? end - at : NEED_MORE;
    },

    looksLike(bytes, at, end) {
      const first = bytes[at];
      if (end - at < 8 || (first !== 0x2b && first !== 0x2a && first !== 0x32)) return false;
      return banner.test(text(bytes, at, end, 128));
    },

    dissect(message, sink) {
      const { memory } = message;
      if (memory['done'] === true) return;
      const line = lineOf(message);
      resetOperation(operation);
      operation.action = 'session';
      if (message.isFromClient) command(message, line, language, operation, sink);
      else answer(memory, line, language, operation, sink);
    },
  };
}

function command(message: Message, line: string, language: Language, operation: Operation, sink: Sink): void {
  const { memory } = message;
  if (memory['inDialogue'] === true) {
    // An asterisk takes the login back.
    memory['hasAnswered'] = line !== '*';
    return;
  }
  if (line === '') return;
  const { name, object } = language.command(line, memory);
  const kind = Object.hasOwn(language.commands, name) ? language.commands[name] : undefined;
  memory['command'] = kind === undefined ? '' : name;
  if (kind === undefined) return;
  // Who only asks which kinds there are, or tries one that is unknown, guesses no password.
  memory['hasAnswered'] = !name.startsWith('auth') || line.split(' ').length > language.dialogueWords;
  operation.name = name;
  operation.object = object.slice(0, OBJECT_CHARACTERS_MAX);
  if (kind === 'login' && !HIDDEN.test(line)) sink.fact('password', operation.protocol);
  if (kind === 'name') operation.action = name === 'user' ? 'session' : 'discover';
  if (name === 'user' || object !== '') memory['object'] = operation.object;
  if ((kind === 'name' || kind === 'login') && object.length > NAME_BYTES_MAX)
    sink.fact('overlong', `${name} with a name of ${object.length} bytes`);
  // A mail in pieces begins without being asked for.
  if (name === 'bdat') memory['done'] = true;
  sink.operation(operation);
}

function answer(memory: Memory, line: string, language: Language, operation: Operation, sink: Sink): void {
  const name = memory['command'];
  const said = language.answer(line, memory);
  if (said === null || typeof name !== 'string' || name === '') return;
  memory['inDialogue'] = said.isMore;
  if (said.isMore) return;
  memory['command'] = '';
  const kind = language.commands[name];
  const isOver = kind === 'login' || kind === 'tls' || kind === 'mail';
  if (said.isGood && isOver) memory['done'] = true;
  operation.name = name;
  operation.isResponse = true;
  operation.code = said.code;
  operation.object = (memory['object'] as string | undefined) ?? '';
  if (!said.isGood)
    operation.exception =
      kind === 'login' && memory['hasAnswered'] === true && language.isRefusal(said, line)
        ? 'refused'
        : 'not-done';
  sink.operation(operation);
}

/** Without its end, bounded; other bytes than printable ASCII are dots. */
function lineOf({ bytes, at, end }: Message): string {
  let last = Math.min(end, at + LINE_BYTES_MAX);
  while (last > at && (bytes[last - 1] === 10 || bytes[last - 1] === 13)) last--;
  return text(bytes, at, last, LINE_BYTES_MAX);
}
