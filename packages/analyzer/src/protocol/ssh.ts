/**
 * SSH (RFC 4253), big-endian: a line of text from each side, then packets, from NEWKEYS on encrypted ones.
 *
 *   SSH-2.0-software comment CR LF
 *   0 length of what follows (4)   4 padding length (1)   5 message (1)   6 data   ... padding
 *   KEXINIT: cookie (16), ten lists of names, each a length (4) and names with commas: key exchange, host key, then cipher, MAC and
 *   compression, each from client to server and back, at last languages
 *
 * Behind NEWKEYS often even the lengths are encrypted: what is no packet in the clear is one message up to where the bytes end.
 * HASSH and HASSHServer are the MD5 of the lists that a side offers for its own direction.
 */
import { createHash } from 'node:crypto';

import { be32, text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  createOperation,
  resetOperation,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';

const BANNER_BYTES_MAX = 255;
const PACKET_BYTES_MAX = 35_000;
const MESSAGE_DISCONNECT = 1;
const MESSAGE_KEXINIT = 20;
const MESSAGE_NEWKEYS = 21;
const COOKIE_BYTES = 16;
const KEX_LISTS = 10;

const DISCONNECTS: readonly string[] = [
  '',
  'host-not-allowed',
  'protocol-error',
  'key-exchange-failed',
  'reserved',
  'mac-error',
  'compression-error',
  'service-not-available',
  'version-not-supported',
  'host-key-not-verifiable',
  'connection-lost',
  'by-application',
  'too-many-connections',
  'auth-cancelled',
  'no-more-auth-methods',
  'illegal-user-name',
];

const operation = createOperation('ssh');

export const ssh: Dissector = {
  name: 'ssh',
  tcpPorts: [22, 2222],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (isBanner(bytes, at, end)) {
      const line = lineBytes(bytes, at, end);
      if (line > 0) return line;
      return end - at >= BANNER_BYTES_MAX ? NOT_OURS : NEED_MORE;
    }
    if (end - at < 6) return NEED_MORE;
    return packetBytes(bytes, at) || end - at;
  },

  looksLike(bytes, at, end) {
    return end - at >= 8 && isBanner(bytes, at, end) && /^SSH-[12]\.\d/.test(text(bytes, at, end, 8));
  },

  dissect(message, sink) {
    const { bytes, at, end, memory, isFromClient } = message;
    const side = isFromClient ? 'client' : 'server';
    resetOperation(operation);
    operation.action = 'session';
    operation.isResponse = !isFromClient;
    if (end - at >= 4 && isBanner(bytes, at, end)) {
      banner(message, side, sink);
      return;
    }
    if (memory[`${side}Keys`] !== true && end - at >= 6 && packetBytes(bytes, at) > 0) {
      packet(message, side, sink);
      return;
    }
    const counter = `${side}Encrypted`;
    if (memory[`${side}Keys`] === true || memory[`${side}Banner`] !== true)
      memory[counter] = Math.min(((memory[counter] as number | undefined) ?? 0) + 1, 0x7fff_ffff);
    else sink.violation('neither version line nor packet before keys are agreed');
  },
};

/** As far as the bytes go: also the beginning of `SSH-`. */
function isBanner(bytes: Uint8Array, at: number, end: number): boolean {
  for (let i = 0; i < 4 && at + i < end; i++) if (bytes[at + i] !== 'SSH-'.charCodeAt(i)) return false;
  return end > at;
}

function lineBytes(bytes: Uint8Array, at: number, end: number): number {
  for (let i = at; i < Math.min(end, at + BANNER_BYTES_MAX); i++) if (bytes[i] === 10) return i + 1 - at;
  return 0;
}

/**
 * Length of a packet in the clear, 0 where the bytes are none. Ciphers that leave the length readable count it apart from their blocks
 * of 16, so that it fails the test on blocks of 8 here.
 */
function packetBytes(bytes: Uint8Array, at: number): number {
  const length = be32(bytes, at);
  const padding = bytes[at + 4] as number;
  const code = bytes[at + 5] as number;
  if (length < 12 || length > PACKET_BYTES_MAX || (length + 4) % 8 !== 0) return 0;
  if (padding < 4 || padding + 2 > length) return 0;
  return (code >= 1 && code <= 7) ||
    code === MESSAGE_KEXINIT ||
    code === MESSAGE_NEWKEYS ||
    (code >= 30 && code <= 49)
    ? 4 + length
    : 0;
}

function banner(message: Message, side: string, sink: Sink): void {
  const { bytes, at, end, memory } = message;
  let last = at + (lineBytes(bytes, at, end) || Math.min(end - at, BANNER_BYTES_MAX));
  while (last > at && (bytes[last - 1] === 10 || bytes[last - 1] === 13)) last--;
  const line = text(bytes, at, last, BANNER_BYTES_MAX);
  if (!/^SSH-\d+\.\d+-/.test(line)) sink.violation('version line without a version');
  // The packets of version 1 look otherwise: nothing is expected of them.
  if (!line.startsWith('SSH-1.') || line.startsWith('SSH-1.99')) memory[`${side}Banner`] = true;
  sink.fact(`ssh-${side}`, line);
  operation.name = 'banner';
  operation.object = line.slice(0, 96);
  sink.operation(operation);
}

function packet(message: Message, side: string, sink: Sink): void {
  const { bytes, at, end, memory } = message;
  const code = bytes[at + 5] as number;
  operation.code = code;
  const dataEnd = Math.min(end, at + 4 + be32(bytes, at) - (bytes[at + 4] as number));
  if (code === MESSAGE_KEXINIT) {
    operation.name = 'kex-init';
    kexInit(bytes, at + 6 + COOKIE_BYTES, dataEnd, side === 'client', sink);
  } else if (code === MESSAGE_NEWKEYS) {
    operation.name = 'new-keys';
    memory[`${side}Keys`] = true;
  } else if (code === MESSAGE_DISCONNECT) {
    operation.name = 'disconnect';
    const reason = dataEnd - at >= 10 ? be32(bytes, at + 6) : 0;
    operation.exception = DISCONNECTS[reason] || `disconnect-${reason}`;
  } else {
    return;
  }
  sink.operation(operation);
}

function kexInit(bytes: Uint8Array, at: number, end: number, isClient: boolean, sink: Sink): void {
  const lists: string[] = [];
  for (let i = 0, next = at; i < KEX_LISTS; i++) {
    const listEnd = next + 4 > end ? Infinity : next + 4 + be32(bytes, next);
    if (listEnd > end) {
      sink.violation('list of algorithms beyond the end of its packet');
      return;
    }
    lists.push(text(bytes, next + 4, listEnd, PACKET_BYTES_MAX));
    next = listEnd;
  }
  const [keyExchange, , cipherOut, cipherBack, macOut, macBack, compressionOut, compressionBack] = lists;
  const own = isClient
    ? [keyExchange, cipherOut, macOut, compressionOut]
    : [keyExchange, cipherBack, macBack, compressionBack];
  const digest = createHash('md5').update(own.join(';')).digest('hex');
  sink.fact(isClient ? 'hassh' : 'hassh-server', digest);
}
