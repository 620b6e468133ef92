/**
 * VNC's RFB (RFC 6143), big-endian, up to where a client is let in:
 *
 *   both: `RFB 003.008` LF       server: kinds of security (1+n); before 3.7 the one that it wants (4)       client: the one it takes (1)
 *   VNC's own: server: challenge (16)   client: response (16)       server: result (4): 0 good, 1 refused, 2 too often
 *
 * The steps come each in a segment of their own, as each waits for the other side; what comes otherwise is given up.
 */
import { be32, text } from './byte-reader.ts';
import { createOperation, resetOperation, type Dissector, type Memory, type Sink } from './dissector.ts';

const BANNER_BYTES = 12;
const CHALLENGE_BYTES = 16;
const KIND_NONE = 1;
const STEPS_MAX = 16;
const BANNER = /^RFB \d{3}\.\d{3}\.$/;

const operation = createOperation('vnc');

export const vnc: Dissector = {
  name: 'vnc',
  tcpPorts: [5900, 5901, 5902],
  udpPorts: [],
  etherTypes: [],

  looksLike(bytes, at, end) {
    return end - at === BANNER_BYTES && bytes[at] === 0x52 && BANNER.test(text(bytes, at, end));
  },

  dissect({ bytes, at, end, memory, isFromClient }, sink) {
    if (memory['done'] === true || end <= at) return;
    const steps = ((memory['steps'] as number | undefined) ?? 0) + 1;
    memory['steps'] = steps;
    const length = end - at;
    if (length === BANNER_BYTES && BANNER.test(text(bytes, at, end))) {
      memory[isFromClient ? 'isClientHere' : 'isServerHere'] = true;
      return;
    }
    if (memory['isServerHere'] !== true || steps > STEPS_MAX) memory['done'] = true;
    else if (isFromClient) {
      if (length === CHALLENGE_BYTES && memory['isChallenged'] === true) memory['hasResponded'] = true;
      // One byte of 3.7 and later; the wish for a shared screen behind it tells that nothing was asked for.
      else if (length <= 2 && bytes[at] === KIND_NONE && memory['isChallenged'] !== true && memory['isOpen'] !== true) {
        memory['isOpen'] = true;
        sink.fact('vnc-security', 'none');
      }
    } else if (memory['hasResponded'] === true && length >= 4) result(be32(bytes, at), memory, sink);
    else if (length === CHALLENGE_BYTES || (length === 4 + CHALLENGE_BYTES && be32(bytes, at) === 2)) memory['isChallenged'] = true;
    // No kind of security is no: the reason follows.
    else if (length >= 5 && bytes[at] === 0 && be32(bytes, at + 1) === length - 5) result(2, memory, sink);
  },
}; // prettier-ignore

function result(code: number, memory: Memory, sink: Sink): void {
  memory['done'] = true;
  if (code > 2) return;
  resetOperation(operation);
  operation.action = 'session';
  operation.name = 'login';
  operation.isResponse = true;
  operation.code = code;
  operation.exception = ['', 'refused', 'refused-too-often'][code] ?? '';
  sink.operation(operation);
}
