/**
 * TLS records (RFC 8446, RFC 5246), big-endian; what is told stands in the two hellos (`tls-hello.ts`), which are in the clear:
 *
 *   0 type (1)   1 version (2)   3 length of what follows (2)   5 type of handshake message (1)   6 its length (3)   9 body
 *
 * Records behind the hellos are encrypted: their type and length say so little that nothing is remembered of a conversation but whether they are.
 * A hello that is spread over several records is not put together.
 */
import { be16, be24, hex } from './byte-reader.ts';
import { readCertificate } from './certificate.ts';
import {
  NEED_MORE,
  NOT_OURS,
  createOperation,
  resetOperation,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';
import { ja3, ja3s, ja4 } from './tls-fingerprint.ts';
import { hello, readHello } from './tls-hello.ts';

const RECORD_HEADER_BYTES = 5;
/** 2^14 of text and what encryption may add. */
const RECORD_BYTES_MAX = 16_384 + 2048;
const RECORD_CHANGE_CIPHER = 20;
const RECORD_ALERT = 21;
const RECORD_HANDSHAKE = 22;
const RECORD_HEARTBEAT = 24;
/** Kind, length, padding. */
const HEARTBEAT_BYTES_MIN = 19;
/** An encrypted heartbeat is longer, by what the cipher adds. */
const PLAIN_HEARTBEAT_BYTES_MAX = 23;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const CERTIFICATE = 11;

const ALERTS: ReadonlyMap<number, string> = new Map([
  [0, 'close-notify'],
  [10, 'unexpected-message'],
  [20, 'bad-record-mac'],
  [22, 'record-overflow'],
  [40, 'handshake-failure'],
  [42, 'bad-certificate'],
  [43, 'unsupported-certificate'],
  [44, 'certificate-revoked'],
  [45, 'certificate-expired'],
  [46, 'certificate-unknown'],
  [47, 'illegal-parameter'],
  [48, 'unknown-ca'],
  [49, 'access-denied'],
  [50, 'decode-error'],
  [51, 'decrypt-error'],
  [70, 'protocol-version'],
  [71, 'insufficient-security'],
  [80, 'internal-error'],
  [86, 'inappropriate-fallback'],
  [90, 'user-canceled'],
  [109, 'missing-extension'],
  [110, 'unsupported-extension'],
  [112, 'unrecognized-name'],
  [116, 'certificate-required'],
  [120, 'no-application-protocol'],
]);

const VERSIONS: ReadonlyMap<number, string> = new Map([
  [0x0300, 'SSL 3.0'],
  [0x0301, 'TLS 1.0'],
  [0x0302, 'TLS 1.1'],
  [0x0303, 'TLS 1.2'],
  [0x0304, 'TLS 1.3'],
]);

const operation = createOperation('tls');

export const tls: Dissector = {
  name: 'tls',
  tcpPorts: [443, 8443, 465, 636, 853, 989, 990, 992, 993, 995],
  udpPorts: [],
  etherTypes: [],
  messageBytes: tlsRecordBytes,

  looksLike(bytes, at, end) {
    if (end - at < 11 || tlsRecordBytes(bytes, at, end) <= 0) return false;
    return (
      bytes[at] === RECORD_HANDSHAKE &&
      bytes[at + 5] === CLIENT_HELLO &&
      bytes[at + 6] === 0 &&
      bytes[at + 9] === 3 &&
      (bytes[at + 10] as number) <= 4
    );
  },

  dissect(message, sink) {
    const { bytes, at, end } = message;
    if (end - at < RECORD_HEADER_BYTES) {
      sink.violation('record shorter than its header');
      return;
    }
    const type = bytes[at] as number;
    const recordEnd = Math.min(end, at + RECORD_HEADER_BYTES + be16(bytes, at + 3));
    if (type === RECORD_HANDSHAKE) handshake(message, recordEnd, sink);
    // An encrypted alert is longer.
    else if (type === RECORD_ALERT && be16(bytes, at + 3) === 2 && recordEnd - at === 7) alert(message, sink);
    else if (type === RECORD_HEARTBEAT) heartbeat(message, recordEnd, sink);
    else if (type === RECORD_CHANGE_CIPHER) message.memory['isPlain'] = false;
  },
};

/** Length of the TLS record that begins at `at`, also for what goes on in TLS later. */
export function tlsRecordBytes(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < RECORD_HEADER_BYTES) return NEED_MORE;
  const type = bytes[at] as number;
  if (type < 20 || type > 24 || bytes[at + 1] !== 3 || (bytes[at + 2] as number) > 4) return NOT_OURS;
  const length = be16(bytes, at + 3);
  return length > RECORD_BYTES_MAX ? NOT_OURS : RECORD_HEADER_BYTES + length;
}

function alert(message: Message, sink: Sink): void {
  const code = message.bytes[message.at + 6] as number;
  resetOperation(operation);
  operation.action = 'session';
  operation.name = 'alert';
  operation.code = code;
  operation.isResponse = !message.isFromClient;
  // The end of a session that went well is an alert too.
  if (code !== 0 && code !== 90) operation.exception = ALERTS.get(code) ?? `alert-${code}`;
  sink.operation(operation);
}

/** A request (RFC 6520) whose payload and padding are longer than its record: kind = 1 (1)   length (2)   payload   padding (16). */
function heartbeat({ bytes, at, memory }: Message, recordEnd: number, sink: Sink): void {
  const length = be16(bytes, at + 3);
  const body = at + RECORD_HEADER_BYTES;
  const isPlain = length <= PLAIN_HEARTBEAT_BYTES_MAX || memory['isPlain'] === true;
  if (!isPlain || recordEnd - body < 3 || bytes[body] !== 1) return;
  if (be16(bytes, body + 1) + HEARTBEAT_BYTES_MIN <= length) return;
  resetOperation(operation);
  operation.action = 'read';
  operation.name = 'heartbeat-overread';
  operation.value = be16(bytes, body + 1);
  sink.operation(operation);
}

function handshake(message: Message, recordEnd: number, sink: Sink): void {
  const { bytes } = message;
  let at = message.at + RECORD_HEADER_BYTES;
  // Only a hello that is whole is taken; encrypted bytes pass for one about once in a hundred million records.
  while (recordEnd - at >= 4) {
    const type = bytes[at] as number;
    const bodyEnd = at + 4 + be24(bytes, at + 1);
    if (bodyEnd > recordEnd) return;
    if (type === CLIENT_HELLO || type === SERVER_HELLO) {
      resetOperation(operation);
      operation.action = 'session';
      operation.name = type === CLIENT_HELLO ? 'client-hello' : 'server-hello';
      operation.code = type;
      operation.isResponse = type === SERVER_HELLO;
      if (!readHello(bytes, at + 4, bodyEnd, type === CLIENT_HELLO))
        sink.violation('hello and its length fields disagree');
      else if (type === CLIENT_HELLO) {
        message.memory['isPlain'] ??= true;
        tellClient(sink);
      } else tellServer(sink);
      sink.operation(operation);
    }
    // In the clear up to TLS 1.2, and the server's is the only one that says something of it.
    else if (type === CERTIFICATE && !message.isFromClient) certificate(bytes, at + 4, bodyEnd, sink);
    at = bodyEnd;
  }
}

/** The first of the list is the server's own: lengths (3) of the list and of it. */
function certificate(bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  if (end - at < 6 || at + 6 + be24(bytes, at + 3) > end) return;
  const names = readCertificate(bytes, at + 6, at + 6 + be24(bytes, at + 3));
  if (names === null) return;
  sink.fact('certificate-subject', names.subject);
  sink.fact('certificate-issuer', names.issuer);
  if (names.isSelfSigned) sink.fact('self-signed', names.subject);
}

function tellClient(sink: Sink): void {
  operation.object = hello.serverName.slice(0, 96);
  operation.count = hello.ciphers.length;
  if (hello.serverName !== '') sink.fact('sni', hello.serverName);
  if (hello.alpn !== '') sink.fact('alpn', hello.alpn);
  // What is offered; the answer replaces it with what is used.
  sink.fact('tls-version', VERSIONS.get(hello.bestVersion) ?? hex(hello.bestVersion, 4));
  sink.fact('ja3', ja3());
  sink.fact('ja4', ja4());
}

function tellServer(sink: Sink): void {
  const cipher = hello.ciphers[0] ?? 0;
  operation.object = hex(cipher, 4);
  sink.fact('tls-version', VERSIONS.get(hello.bestVersion) ?? hex(hello.bestVersion, 4));
  sink.fact('cipher', hex(cipher, 4));
  sink.fact('ja3s', ja3s());
}
