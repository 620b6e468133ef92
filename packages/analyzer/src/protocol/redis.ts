/**
 * Redis (RESP): what is asked of the server itself, not of what it keeps. A request is a list of texts with their lengths:
 *
 *   *3 CR LF $6 CR LF CONFIG CR LF $3 CR LF SET CR LF ...          answers: +OK   -ERR text   -WRONGPASS text
 *
 * A request that begins a segment is looked at, by its first word. The word behind AUTH is a password and is neither told nor kept.
 */
import { text } from './byte-reader.ts';
import {
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
} from './dissector.ts';

const STAR = 0x2a;
const MINUS = 0x2d;
const PLUS = 0x2b;
const REQUEST_BYTES_MAX = 512;
const COMMANDS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['auth', 'session'],
  ['config', 'control'],
  ['slaveof', 'control'],
  ['replicaof', 'control'],
  ['module', 'program'],
  ['shutdown', 'control'],
  ['flushall', 'control'],
  ['save', 'file'],
  ['bgsave', 'file'],
]);
const REFUSED = /^-(?:WRONGPASS|ERR invalid password|ERR invalid username-password)/;

const SECRET = /pass|auth/i;

const operation = createOperation('redis');

export const redis: Dissector = {
  name: 'redis',
  tcpPorts: [6379],
  udpPorts: [],
  etherTypes: [],

  looksLike(bytes, at, end) {
    return end - at >= 14 && bytes[at] === STAR && /^\*\d\.\.\$\d\d?\.\.[A-Za-z]+\.\./.test(text(bytes, at, end, 32)); // prettier-ignore
  },

  dissect({ bytes, at, end, memory, isFromClient }, sink) {
    if (end - at < 5) return;
    if (!isFromClient) {
      const first = bytes[at];
      if (memory['isAsked'] !== true || (first !== MINUS && first !== PLUS)) return;
      memory['isAsked'] = false;
      resetOperation(operation);
      operation.action = 'session';
      operation.name = 'auth';
      operation.isResponse = true;
      if (first === MINUS) operation.exception = REFUSED.test(text(bytes, at, end, 64)) ? 'refused' : 'error';
      sink.operation(operation);
      return;
    }
    if (bytes[at] !== STAR) return;
    const request = text(bytes, at, end, REQUEST_BYTES_MAX);
    // The segment may hold more than this request, which says how many words it has.
    const parts = request
      .split(/\.\.\$\d{1,4}\.\./)
      .slice(0, 1 + Number(/^\*(\d{1,3})/.exec(request)?.[1] ?? 0));
    parts.push(parts.pop()?.replace(/\.\.(?:\*\d{1,3})?$/, '') ?? '');
    const word = parts[1]?.replace(/\.\.$/, '').toLowerCase() ?? '';
    const action = COMMANDS.get(word);
    if (action === undefined) return;
    resetOperation(operation);
    operation.action = action;
    const isLogin = word === 'auth';
    operation.name = word === 'config' || word === 'module' ? `${word}-${(parts[2] ?? '').replace(/\.\.$/, '').toLowerCase().slice(0, 16)}` : word; // prettier-ignore
    if (isLogin) memory['isAsked'] = true;
    // Configuration holds passwords too.
    else if (!parts.slice(2).some((part) => SECRET.test(part)))
      operation.object = parts
        .slice(operation.name === word ? 2 : 3)
        .join(' ')
        .replace(/\.\.$/, '')
        .slice(0, OBJECT_CHARACTERS_MAX);
    sink.operation(operation);
  },
};
