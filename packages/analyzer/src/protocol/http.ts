/**
 * HTTP/1.x (RFC 9112), as text:
 *
 *   method SP target SP HTTP/1.1 CR LF      header: value CR LF ...   CR LF   body
 *   HTTP/1.1 SP status SP reason CR LF      the same
 *
 * A segment that begins with such a line is a message; all others carry the rest of one and are not looked at. What an answer is
 * about stands in the request: the last one is remembered.
 */
import { text } from './byte-reader.ts';
import {
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';

const METHODS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['GET', 'read'],
  ['HEAD', 'read'],
  ['POST', 'write'],
  ['PUT', 'write'],
  ['DELETE', 'write'],
  ['PATCH', 'write'],
  ['OPTIONS', 'discover'],
  ['TRACE', 'discover'],
  ['CONNECT', 'session'],
  ['PROPFIND', 'read'],
  ['PROPPATCH', 'write'],
  ['MKCOL', 'write'],
  ['COPY', 'write'],
  ['MOVE', 'write'],
  ['LOCK', 'write'],
  ['UNLOCK', 'write'],
  ['SEARCH', 'read'],
  ['REPORT', 'read'],
  ['SUBSCRIBE', 'session'],
  ['UNSUBSCRIBE', 'session'],
  ['NOTIFY', 'report'],
]);
const METHOD_CHARACTERS_MAX = 12;
const LINE_BYTES_MAX = 8192;
const HEADERS_MAX = 64;
const FACT_CHARACTERS_MAX = 256;
const FORM_CHARACTERS_MAX = 512;
/** In a form or in JSON. */
const PASSWORD_FIELD = /(?:^|[&"_])(?:pass(?:word|wd|wort)?|pwd|user_?pass)"?\s*[=:]\s*"?[^&"\s]/i;

/** In a conversation's memory: whether the request that is told of brings a form with a password. */
export const PASSWORD_FORM = 'password-form';

const operation = createOperation('http');

export const http: Dissector = {
  name: 'http',
  tcpPorts: [80, 8080, 8000, 8081, 8888],
  udpPorts: [],
  etherTypes: [],

  looksLike(bytes, at, end) {
    if (methodAt(bytes, at, end) === '') return false;
    const line = text(bytes, at, lineEnd(bytes, at, end), 2048);
    return / HTTP\/1\.[01]$/.test(line) && /^[A-Z]+ (\/|\*|https?:|[\w.-]+:\d+ )/.test(line);
  },

  dissect(message, sink) {
    const { bytes, at, end } = message;
    const method = methodAt(bytes, at, end);
    if (method !== '') request(message, method, sink);
    else if (end - at >= 12 && /^HTTP\/\d\.\d \d\d\d/.test(text(bytes, at, end, 12))) response(message, sink);
  },
};

/** The method when a known one and a space stand there, else ''. */
function methodAt(bytes: Uint8Array, at: number, end: number): string {
  const last = Math.min(end, at + METHOD_CHARACTERS_MAX);
  let i = at;
  while (i < last && (bytes[i] as number) >= 65 && (bytes[i] as number) <= 90) i++;
  if (i === at || i >= last || bytes[i] !== 0x20) return '';
  const method = text(bytes, at, i);
  return METHODS.has(method) ? method : '';
}

/** Where the line ends, without its CR; `end` where it is cut. */
function lineEnd(bytes: Uint8Array, at: number, end: number): number {
  const last = Math.min(end, at + LINE_BYTES_MAX);
  for (let i = at; i < last; i++) if (bytes[i] === 10) return i > at && bytes[i - 1] === 13 ? i - 1 : i;
  return last;
}

function request(message: Message, method: string, sink: Sink): void {
  const { bytes, at, end, memory } = message;
  const lineLast = lineEnd(bytes, at, end);
  const targetAt = at + method.length + 1;
  let targetEnd = targetAt;
  while (targetEnd < lineLast && bytes[targetEnd] !== 0x20) targetEnd++;
  for (let i = targetAt; i < targetEnd; i++)
    if ((bytes[i] as number) < 0x20) {
      sink.violation('control character in the request line');
      break;
    }
  // Some clients send the method in a segment of its own.
  if (targetEnd === targetAt && lineLast < end) sink.violation('request line without a target');
  resetOperation(operation);
  operation.action = METHODS.get(method) ?? 'other';
  operation.name = method.toLowerCase();
  operation.object = text(bytes, targetAt, targetEnd, OBJECT_CHARACTERS_MAX);
  headers(bytes, lineLast, end, sink);
  // Of this request, whatever others in the connection brought.
  memory[PASSWORD_FORM] = method === 'POST' && passwordInForm(bytes, lineLast, end);
  if (memory[PASSWORD_FORM]) sink.fact('password', 'http-form');
  memory['method'] = method;
  memory['target'] = operation.object;
  sink.operation(operation);
}

function response(message: Message, sink: Sink): void {
  const { bytes, at, memory } = message;
  const method = memory['method'];
  const target = memory['target'];
  const code = Number(text(bytes, at + 9, at + 12));
  if (code < 100 || code > 599) sink.violation('status code is not defined');
  resetOperation(operation);
  operation.isResponse = true;
  operation.code = code;
  operation.name = typeof method === 'string' ? method.toLowerCase() : 'response';
  operation.action = typeof method === 'string' ? (METHODS.get(method) ?? 'other') : 'other';
  operation.object = typeof target === 'string' ? target : '';
  if (code >= 400) operation.exception = String(code);
  sink.operation(operation);
}

/** The headers that say who asks whom, as far as they are in this segment. */
function headers(bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  let next = at;
  for (let i = 0; i < HEADERS_MAX; i++) {
    while (next < end && bytes[next] !== 10) next++;
    next++;
    if (next >= end) return;
    const last = lineEnd(bytes, next, end);
    if (last === next) return;
    const fact = headerName(bytes, next, last);
    if (fact === '') {
      if (isBasicLogin(bytes, next, last)) sink.fact('password', 'http-basic');
      continue;
    }
    let value = next + fact.length + 1;
    while (value < last && (bytes[value] === 0x20 || bytes[value] === 9)) value++;
    // A header cut by the end of the segment would be told wrongly.
    if (last < end && value < last) sink.fact(fact, text(bytes, value, last, FACT_CHARACTERS_MAX));
    next = last;
  }
}

/** Of the header only that it is there: what follows is name and password, hardly hidden (RFC 7617). */
function isBasicLogin(bytes: Uint8Array, at: number, end: number): boolean {
  return ((bytes[at] as number) | 0x20) === 0x61 && /^authorization: *basic /i.test(text(bytes, at, Math.min(end, at + 24))); // prettier-ignore
}

/** A field of the form that is sent with this segment has the name of a password. */
function passwordInForm(bytes: Uint8Array, from: number, end: number): boolean {
  for (let at = from; at + 4 <= end; at++)
    if (bytes[at] === 13 && bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10)
      return PASSWORD_FIELD.test(text(bytes, at + 4, end, FORM_CHARACTERS_MAX));
  return false;
}

function headerName(bytes: Uint8Array, at: number, end: number): 'host' | 'user-agent' | 'content-type' | '' {
  const first = (bytes[at] as number) | 0x20;
  if (first !== 0x68 && first !== 0x75 && first !== 0x63) return '';
  const line = text(bytes, at, end, 13).toLowerCase();
  if (line.startsWith('host:')) return 'host';
  if (line.startsWith('user-agent:')) return 'user-agent';
  return line.startsWith('content-type:') ? 'content-type' : '';
}
