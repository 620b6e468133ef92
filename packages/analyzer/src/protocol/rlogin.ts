/**
 * The remote commands of BSD (RFC 1282 and their manuals), text with NUL behind each word:
 *
 *   rlogin (513)   client: NUL   name there NUL   name here NUL   terminal NUL           server: NUL, then what a terminal shows
 *   rsh (514)      client: port for errors NUL   name there NUL   name here NUL   command NUL        server: NUL, or 1 and why not
 *   rexec (512)    client: port for errors NUL   name NUL   password NUL   command NUL               server: the same
 *
 * rsh and rexec are read up to the first answer. The password of rexec is neither told nor kept beyond the command that follows it.
 */
import { text } from './byte-reader.ts';
import {
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Dissector,
  type Memory,
  type Message,
  type Operation,
  type Sink,
} from './dissector.ts';

const HEAD_CHARACTERS_MAX = 512;
/** Of a terminal's session: the dialogue of the login. */
const ANSWERS_MAX = 24;
const REFUSED = /login incorrect|permission denied|password incorrect|authentication failure/;

export const rlogin: Dissector = {
  name: 'rlogin',
  tcpPorts: [513],
  udpPorts: [],
  etherTypes: [],

  dissect(message, sink) {
    const { bytes, at, end, memory, isFromClient } = message;
    if (memory['done'] !== undefined || end <= at) return;
    if (isFromClient) {
      if (memory['isBegun'] === true) return;
      // The first NUL may come alone.
      const from = bytes[at] === 0 ? at + 1 : at;
      const isMarked = from > at || memory['isMarked'] === true;
      memory['isMarked'] = isMarked;
      if (from === end) return;
      const names = isMarked ? words(text0(message, from), 3) : null;
      memory['isBegun'] = true;
      if (names === null) memory['done'] = 'other';
      else asked(operations.rlogin, 'login', names[1] ?? '', sink);
      return;
    }
    const answers = ((memory['answers'] as number | undefined) ?? 0) + 1;
    memory['answers'] = answers;
    if (answers > ANSWERS_MAX) memory['done'] = true;
    if (REFUSED.test(text(bytes, at, end, 256).toLowerCase())) told(operations.rlogin, 'refused', sink);
  },
};

export const rsh = commandDissector('rsh', 514, 1);
export const rexec = commandDissector('rexec', 512, 1);

const operations = { rlogin: createOperation('rlogin') };

/** `user`: which of the words names who it is. */
function commandDissector(name: string, port: number, user: number): Dissector {
  const operation = createOperation(name);
  return {
    name,
    tcpPorts: [port],
    udpPorts: [],
    etherTypes: [],

    dissect(message, sink) {
      const { bytes, at, end, memory, isFromClient } = message;
      if (memory['done'] !== undefined || end <= at) return;
      if (isFromClient) head(message, memory, operation, user, sink);
      else if (memory['isAsked'] === true) {
        memory['done'] = true;
        told(operation, bytes[at] === 0 ? '' : REFUSED.test(text(bytes, at + 1, end, 256).toLowerCase()) ? 'refused' : 'error', sink); // prettier-ignore
      }
    },
  };
}

/** The words may come in several segments. */
function head(message: Message, memory: Memory, operation: Operation, user: number, sink: Sink): void {
  if (memory['isAsked'] === true) return;
  const before = (memory['head'] as string | undefined) ?? '';
  const so = (before + text0(message, message.at)).slice(0, HEAD_CHARACTERS_MAX);
  delete memory['head'];
  // Another use of the port: syslog's lines begin with `<`.
  if (!/^\d{0,5}(?:\n|$)/.test(so)) {
    memory['done'] = 'other';
    return;
  }
  const said = words(so, 4);
  if (said === null) {
    if (so.length >= HEAD_CHARACTERS_MAX) memory['done'] = true;
    else memory['head'] = so;
    return;
  }
  memory['isAsked'] = true;
  operation.object = '';
  asked(operation, 'command', `${said[user] ?? ''}: ${said[3] ?? ''}`, sink);
}

/** So many words, each with its end behind it; null where there are fewer. */
function words(joined: string, count: number): string[] | null {
  const list = joined.split('\n');
  return list.length > count ? list.slice(0, count) : null;
}

/** NUL as line ends, all else as `text` has it. */
function text0({ bytes, end }: Message, at: number): string {
  let out = '';
  for (let from = at; from < end && out.length < HEAD_CHARACTERS_MAX;) {
    let last = from;
    while (last < end && bytes[last] !== 0) last++;
    out += text(bytes, from, last, HEAD_CHARACTERS_MAX) + (last < end ? '\n' : '');
    from = last + 1;
  }
  return out;
}

function asked(operation: Operation, name: string, object: string, sink: Sink): void {
  resetOperation(operation);
  operation.action = 'session';
  operation.name = name;
  operation.object = object.slice(0, OBJECT_CHARACTERS_MAX);
  sink.operation(operation);
}

function told(operation: Operation, exception: string, sink: Sink): void {
  resetOperation(operation);
  operation.action = 'session';
  operation.name = 'login';
  operation.isResponse = true;
  operation.exception = exception;
  sink.operation(operation);
}
