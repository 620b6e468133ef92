/**
 * The hellos of TLS (RFC 8446, section 4.1; RFC 5246, section 7.4.1), big-endian: what a client offers and a server takes.
 *
 *   client hello: version (2)   random (32)   session (1+n)   ciphers (2+n)   compressions (1+n)   extensions (2+n)
 *   server hello: version (2)   random (32)   session (1+n)   cipher (2)      compression (1)      extensions (2+n)
 *   extension: type (2)   length (2)   data
 *
 * What must stay true: no list of two-byte values grows beyond LIST_MAX, and none has the made-up values of GREASE.
 */
import { be16, hex, text } from './byte-reader.ts';

export const EXTENSION_SERVER_NAME = 0;
const EXTENSION_GROUPS = 10;
const EXTENSION_POINT_FORMATS = 11;
const EXTENSION_SIGNATURES = 13;
export const EXTENSION_ALPN = 16;
const EXTENSION_VERSIONS = 43;

/** A hello has far fewer; the rest of a hostile one is not collected. */
const LIST_MAX = 512;

/** What a hello says, refilled by each. */
export const hello = {
  version: 0,
  /** The highest of the supported versions, else the version above. */
  bestVersion: 0,
  serverName: '',
  hasServerName: false,
  alpn: '',
  /** The two characters that JA4 takes from the first ALPN value. */
  alpnMark: '00',
  ciphers: [] as number[],
  extensions: [] as number[],
  groups: [] as number[],
  pointFormats: [] as number[],
  signatures: [] as number[],
};

/** Fills `hello`; false where the lengths do not fit each other. */
export function readHello(bytes: Uint8Array, at: number, end: number, isClient: boolean): boolean {
  hello.serverName = hello.alpn = '';
  hello.alpnMark = '00';
  hello.hasServerName = false;
  hello.ciphers = [];
  hello.extensions = [];
  hello.groups = [];
  hello.pointFormats = [];
  hello.signatures = [];
  if (end - at < 35) return false;
  hello.version = hello.bestVersion = be16(bytes, at);
  let next = at + 35 + (bytes[at + 34] as number);
  if (next + 3 > end) return false;
  if (isClient) {
    const ciphersEnd = next + 2 + be16(bytes, next);
    if (ciphersEnd + 1 > end) return false;
    collect16(hello.ciphers, bytes, next + 2, ciphersEnd);
    next = ciphersEnd + 1 + (bytes[ciphersEnd] as number);
  } else {
    hello.ciphers.push(be16(bytes, next));
    next += 3;
  }
  // Old hellos end without extensions.
  if (next === end) return true;
  if (next + 2 > end || next + 2 + be16(bytes, next) > end) return false;
  const extensionsEnd = next + 2 + be16(bytes, next);
  next += 2;
  while (next < extensionsEnd) {
    if (next + 4 > extensionsEnd) return false;
    const type = be16(bytes, next);
    const dataEnd = next + 4 + be16(bytes, next + 2);
    if (dataEnd > extensionsEnd) return false;
    if (!isGrease(type) && hello.extensions.length < LIST_MAX) hello.extensions.push(type);
    if (isClient) clientExtension(bytes, type, next + 4, dataEnd);
    else if (type === EXTENSION_VERSIONS && dataEnd - next === 6) hello.bestVersion = be16(bytes, next + 4);
    next = dataEnd;
  }
  return true;
}

function clientExtension(bytes: Uint8Array, type: number, at: number, end: number): void {
  switch (type) {
    case EXTENSION_SERVER_NAME:
      hello.hasServerName = true;
      // list (2)   kind = host (1)   length (2)   name
      if (end - at >= 5 && bytes[at + 2] === 0)
        hello.serverName = text(bytes, at + 5, Math.min(end, at + 5 + be16(bytes, at + 3)), 256);
      break;
    case EXTENSION_GROUPS:
      if (end - at >= 2) collect16(hello.groups, bytes, at + 2, end);
      break;
    case EXTENSION_POINT_FORMATS:
      for (let i = at + 1; i < end; i++) hello.pointFormats.push(bytes[i] as number);
      break;
    case EXTENSION_SIGNATURES:
      if (end - at >= 2) collect16(hello.signatures, bytes, at + 2, end);
      break;
    case EXTENSION_ALPN:
      alpn(bytes, at + 2, end);
      break;
    case EXTENSION_VERSIONS:
      hello.bestVersion = 0;
      for (let i = at + 1; i + 2 <= end; i += 2) {
        const version = be16(bytes, i);
        if (!isGrease(version)) hello.bestVersion = Math.max(hello.bestVersion, version);
      }
      break;
  }
}

function alpn(bytes: Uint8Array, at: number, end: number): void {
  for (let next = at; next < end;) {
    const nameEnd = next + 1 + (bytes[next] as number);
    if (nameEnd > end) return;
    if (next === at && nameEnd > next + 1) {
      const ends = String.fromCharCode(bytes[next + 1] as number, bytes[nameEnd - 1] as number);
      // The first half of the first byte and the last half of the last one, where they are no letters or digits.
      hello.alpnMark = /^[0-9A-Za-z]{2}$/.test(ends)
        ? ends
        : hex(bytes[next + 1] as number).charAt(2) + hex(bytes[nameEnd - 1] as number).charAt(3);
    }
    if (hello.alpn.length < 128)
      hello.alpn += (hello.alpn === '' ? '' : ',') + text(bytes, next + 1, nameEnd, 64);
    next = nameEnd;
  }
}

function collect16(list: number[], bytes: Uint8Array, at: number, end: number): void {
  for (let i = at; i + 2 <= end && list.length < LIST_MAX; i += 2) {
    const value = be16(bytes, i);
    if (!isGrease(value)) list.push(value);
  }
}

/** Values like 0x1a1a, which clients mix in so that servers stay used to the unknown (RFC 8701). */
function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}
