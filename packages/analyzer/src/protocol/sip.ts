/**
 * SIP (RFC 3261), as text: who registers where, who asks what a telephone system is, and how it answers.
 *
 *   method SP sip:address SP SIP/2.0 CR LF      header: value CR LF ...          SIP/2.0 SP status SP reason CR LF      the same
 *
 * Each registration is refused once, so that the password can be hashed with what the refusal says; only what brought an answer and is refused again is a wrong one. Requests that bring
 * one are remembered by their branch. No passwords or hashes are told.
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
  type Memory,
  type Message,
  type Sink,
} from './dissector.ts';
import { forget, recall, remember } from './memo.ts';

const METHODS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['REGISTER', 'session'],
  ['INVITE', 'session'],
  ['OPTIONS', 'discover'],
  ['SUBSCRIBE', 'session'],
  ['NOTIFY', 'report'],
  ['MESSAGE', 'other'],
  ['BYE', 'session'],
  ['CANCEL', 'session'],
  ['ACK', 'session'],
  ['INFO', 'other'],
  ['PUBLISH', 'report'],
  ['REFER', 'other'],
  ['UPDATE', 'session'],
  ['PRACK', 'session'],
]);
const HEAD_BYTES_MAX = 2048;
const REQUEST = /^([A-Z]{3,9}) sips?:[^ ]{1,256} SIP\/2\.0\.\./;
const STATUS = /^SIP\/2\.0 (\d{3}) /;
const BRANCH = /;branch=([\w.-]{1,40})/;
/** An answer that brings nothing but the time-out of its question is no wrong password. */
const STALE = /stale ?= ?"?true/i;

const operation = createOperation('sip');

export const sip: Dissector = {
  name: 'sip',
  tcpPorts: [5060],
  udpPorts: [5060],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end <= at) return NEED_MORE;
    const first = bytes[at] as number;
    // Over TCP a segment is taken as it comes: a message's head is in its first one. Empty lines keep connections open.
    return first < 0x80 && (first >= 0x20 || first === 13 || first === 10 || first === 0)
      ? end - at
      : NOT_OURS;
  },

  looksLike: isSip,
  looksLikeDatagram: isSip,

  dissect(message, sink) {
    const { bytes, at, end, memory } = message;
    if (end - at < 16) return;
    const head = text(bytes, at, end, HEAD_BYTES_MAX);
    const request = REQUEST.exec(head);
    const code = request === null ? Number(STATUS.exec(head)?.[1] ?? 0) : 0;
    if (request === null && code === 0) return;
    resetOperation(operation);
    operation.object = userOf(header(head, 'To') || header(head, 't'));
    if (request !== null) asked(request[1] as string, head, memory, sink);
    else answered(code, head, message, sink);
  },
};

function isSip(bytes: Uint8Array, at: number, end: number): boolean {
  const first = bytes[at] as number;
  return end - at >= 32 && first >= 65 && first <= 90 && (REQUEST.test(text(bytes, at, end, 300)) || STATUS.test(text(bytes, at, end, 16))); // prettier-ignore
}

function asked(method: string, head: string, memory: Memory, sink: Sink): void {
  operation.name = method.toLowerCase();
  operation.action = METHODS.get(method) ?? 'other';
  const agent = header(head, 'User-Agent');
  if (agent !== '') sink.fact('sip-agent', agent);
  const branch = BRANCH.exec(head)?.[1];
  if (branch !== undefined && /\.\.(?:Proxy-)?Authorization:/i.test(head)) remember(memory, 'sipAnswers', branch, '1', 16); // prettier-ignore
  sink.operation(operation);
}

function answered(code: number, head: string, { memory }: Message, sink: Sink): void {
  const method = /\.\.CSeq: ?\d{1,10} ([A-Z]{3,9})/i.exec(head)?.[1] ?? 'response';
  operation.name = method.toLowerCase();
  operation.action = METHODS.get(method) ?? 'other';
  operation.isResponse = true;
  operation.code = code;
  const branch = BRANCH.exec(head)?.[1] ?? '';
  const hasAnswered = branch !== '' && recall(memory, 'sipAnswers', branch) !== '';
  if (hasAnswered && code >= 200) forget(memory, 'sipAnswers', branch);
  if (code >= 400)
    operation.exception = hasAnswered && (code === 401 || code === 403 || code === 407) && !STALE.test(head) ? `refused-${code}` : String(code); // prettier-ignore
  sink.operation(operation);
}

/** Up to where its line ends; line ends are two dots in `head`. */
function header(head: string, name: string): string {
  const at = head.indexOf(`..${name}:`);
  if (at === -1) return '';
  const from = at + name.length + 3;
  const end = head.indexOf('..', from);
  return head
    .slice(from, end === -1 ? from + 256 : end)
    .trim()
    .slice(0, 256);
}

/** `"Name" <sip:100@10.0.0.2>;tag=…` as `100`; '' where nobody is named. */
function userOf(to: string): string {
  return (/sips?:([^@>;\s]{1,96})@/.exec(to)?.[1] ?? '').slice(0, OBJECT_CHARACTERS_MAX);
}
