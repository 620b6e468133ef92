/**
 * Telnet (RFC 854): text, with commands in between that begin with 255.
 *
 *   255 command (1)                            255 251..254 option (1)               255 250 option ... 255 240
 *
 * What people type is not read. Of what the server shows, only the few words count that ask for a login or refuse it; the end of
 * the last segment is remembered, as such words are often cut in two.
 */
import { createOperation, resetOperation, type Dissector, type Message } from './dissector.ts';

const INTERPRET = 255;
const SUBNEGOTIATION = 250;
const SUBNEGOTIATION_END = 240;
const OPTION_FIRST = 251;
/** Longer output is no login dialogue: its end is looked at, where a prompt stands. */
const TEXT_BYTES_MAX = 1024;
const TAIL_CHARACTERS = 24;

const REFUSED =
  /login incorrect|incorrect (?:login|password)|login failed|authentication failed|bad password|access denied|invalid (?:login|password)/g;
const PROMPT = /(?:login|user ?name|user|password) ?: ?$/;

const operation = createOperation('telnet');

export const telnet: Dissector = {
  name: 'telnet',
  tcpPorts: [23],
  udpPorts: [],
  etherTypes: [],

  dissect(message, sink) {
    const { memory, isFromClient } = message;
    if (message.end <= message.at) return;
    // Whatever is typed at that prompt.
    if (isFromClient && memory['asksPassword'] === true && isTyped(message)) {
      memory['asksPassword'] = false;
      sink.fact('password', 'telnet');
    }
    if (memory['isBegun'] !== true) {
      memory['isBegun'] = true;
      resetOperation(operation);
      operation.action = 'session';
      operation.name = 'begin';
      operation.isResponse = !isFromClient;
      sink.operation(operation);
    }
    if (isFromClient) return;
    const shown = ((memory['tail'] as string | undefined) ?? '') + printed(message);
    let rest = 0;
    for (const match of shown.matchAll(REFUSED)) {
      rest = match.index + match[0].length;
      resetOperation(operation);
      operation.action = 'session';
      operation.name = 'login';
      operation.isResponse = true;
      operation.exception = 'login-incorrect';
      sink.operation(operation);
    }
    const prompt = PROMPT.exec(shown.slice(rest));
    if (prompt !== null) {
      rest = shown.length;
      resetOperation(operation);
      operation.action = 'session';
      memory['asksPassword'] = prompt[0].startsWith('password');
      operation.name = memory['asksPassword'] ? 'password-prompt' : 'login-prompt';
      operation.isResponse = true;
      sink.operation(operation);
    }
    memory['tail'] = shown.slice(Math.max(rest, shown.length - TAIL_CHARACTERS));
  },
};

function isTyped({ bytes, at, end }: Message): boolean {
  for (let i = at; i < end; i++) if ((bytes[i] as number) >= 0x20 && (bytes[i] as number) < 0x7f) return true;
  return false;
}

/** The text of a segment in small letters, without commands. */
function printed({ bytes, at, end }: Message): string {
  let out = '';
  for (let i = Math.max(at, end - TEXT_BYTES_MAX); i < end; i++) {
    const byte = bytes[i] as number;
    if (byte === INTERPRET) {
      const command = i + 1 < end ? (bytes[i + 1] as number) : 0;
      if (command === SUBNEGOTIATION) {
        i += 2;
        while (i + 1 < end && !(bytes[i] === INTERPRET && bytes[i + 1] === SUBNEGOTIATION_END)) i++;
        i++;
      } else i += command >= OPTION_FIRST && command < INTERPRET ? 2 : 1;
    } else if (byte >= 0x20 && byte < 0x7f) out += String.fromCharCode(byte).toLowerCase();
    else if (byte === 10) out += ' ';
  }
  return out;
}
