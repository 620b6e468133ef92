/**
 * SMB over TCP, in the frames of NetBIOS sessions (RFC 1002), big-endian:
 *
 *   0 kind (1)   1 length of what follows (3)   4 0xff, 0xfe, 0xfd or 0xfc and `SMB`: SMB 1, SMB 2 and 3, encrypted, compressed
 *
 * The kinds other than 0 only occur on port 139: 0x81 asks for a session by NetBIOS name, 0x82 grants it, 0x83 refuses, 0x85 keeps it alive.
 * What the two generations of messages say is read by smb1.ts and smb2.ts.
 */
import { be24, le32 } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  createOperation,
  resetOperation,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';
import { dissectSmb1 } from './smb1.ts';
import { dissectSmb2 } from './smb2.ts';

const FRAME_BYTES = 4;
const KIND_MESSAGE = 0;
const KIND_REQUEST = 0x81;
const KIND_GRANTED = 0x82;
const KIND_REFUSED = 0x83;
const KIND_KEEP_ALIVE = 0x85;
const SMB1 = 0xff;
const SMB2 = 0xfe;
const ENCRYPTED = 0xfd;
const COMPRESSED = 0xfc;

const operation = createOperation('smb');

export const smb: Dissector = {
  name: 'smb',
  tcpPorts: [445, 139],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < FRAME_BYTES) return NEED_MORE;
    const kind = bytes[at] as number;
    const length = be24(bytes, at + 1);
    if (kind >= KIND_REQUEST && kind <= KIND_KEEP_ALIVE)
      return length > 256 ? NOT_OURS : FRAME_BYTES + length;
    if (kind !== KIND_MESSAGE) return NOT_OURS;
    if (length < FRAME_BYTES) return FRAME_BYTES + length;
    if (end - at < 2 * FRAME_BYTES) return NEED_MORE;
    return isSmb(bytes, at + FRAME_BYTES) ? FRAME_BYTES + length : NOT_OURS;
  },

  looksLike(bytes, at, end) {
    return (
      end - at >= FRAME_BYTES + 32 &&
      bytes[at] === KIND_MESSAGE &&
      isSmb(bytes, at + FRAME_BYTES) &&
      (bytes[at + FRAME_BYTES] as number) >= SMB2 &&
      be24(bytes, at + 1) >= 32
    );
  },

  dissect(message, sink) {
    const { bytes, at, end, memory } = message;
    if (end - at < FRAME_BYTES) {
      sink.violation('message shorter than its header');
      return;
    }
    if (bytes[at] !== KIND_MESSAGE) {
      session(message, sink);
      return;
    }
    const begin = at + FRAME_BYTES;
    if (end - begin < FRAME_BYTES || !isSmb(bytes, begin)) return;
    switch (bytes[begin] as number) {
      case SMB1:
        dissectSmb1(bytes, begin, end, memory, sink);
        break;
      case SMB2:
        dissectSmb2(bytes, begin, end, memory, sink);
        break;
      case ENCRYPTED:
        if (memory['isEncrypted'] !== true) sink.fact('smb-encryption', 'yes');
        memory['isEncrypted'] = true;
        break;
      case COMPRESSED:
        compressed(message, begin, sink);
        break;
    }
  },
};

function isSmb(bytes: Uint8Array, at: number): boolean {
  return (
    (bytes[at] as number) >= COMPRESSED &&
    bytes[at + 1] === 0x53 &&
    bytes[at + 2] === 0x4d &&
    bytes[at + 3] === 0x42
  );
}

function session(message: Message, sink: Sink): void {
  const { bytes, at, end } = message;
  const kind = bytes[at] as number;
  if (kind < KIND_REQUEST || kind > KIND_KEEP_ALIVE || kind === KIND_KEEP_ALIVE) return;
  resetOperation(operation);
  operation.action = 'session';
  operation.name = 'netbios-session';
  operation.code = kind;
  operation.isResponse = kind !== KIND_REQUEST;
  if (kind === KIND_REFUSED)
    operation.exception = `refused-${end - at > FRAME_BYTES ? bytes[at + FRAME_BYTES] : 0}`;
  else if (kind !== KIND_REQUEST && kind !== KIND_GRANTED) operation.exception = 'retarget';
  sink.operation(operation);
}

/** A compressed message: original length (4), algorithm (2), flags (2), and how many bytes stand uncompressed in front (4). */
function compressed(message: Message, begin: number, sink: Sink): void {
  const { bytes, end } = message;
  if (end - begin < 16) {
    sink.violation('message shorter than its header');
    return;
  }
  resetOperation(operation);
  operation.name = 'compressed';
  operation.isResponse = !message.isFromClient;
  operation.value = le32(bytes, begin + 4);
  // With flags the last field is a length; without them CVE-2020-0796 lies in it.
  if (bytes[begin + 10] === 0 && le32(bytes, begin + 12) > end - begin - 16)
    sink.violation('compression offset beyond the message');
  sink.operation(operation);
}
