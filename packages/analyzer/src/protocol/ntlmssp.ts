/**
 * NTLM (MS-NLMP), little-endian: who logs on stands in the third of its messages, wherever another protocol carries it.
 *
 *   0 `NTLMSSP` 0 (8)   8 kind = 3 (4)   12 LM answer (8)   20 NT answer (8)   28 domain (8)   36 user (8)   44 workstation (8)
 *   52 session key (8)   60 flags (4)          each field: length (2), reserved (2), where its bytes begin (4)
 */
import { le16, le32, text } from './byte-reader.ts';
import type { Sink } from './dissector.ts';

const KIND_AUTHENTICATE = 3;
const HEADER_BYTES = 64;
const FLAG_UNICODE = 1;
const SIGNATURE: readonly number[] = [0x4e, 0x54, 0x4c, 0x4d, 0x53, 0x53, 0x50, 0];
/** It stands near the beginning; a long message is not searched to its end. */
const SEARCH_BYTES_MAX = 4096;
const FIELDS: readonly (readonly [offset: number, fact: string])[] = [
  [28, 'ntlm-domain'],
  [36, 'ntlm-user'],
  [44, 'ntlm-workstation'],
];

/** Tells user, domain and workstation of an authenticate message anywhere in `bytes[at, end)`. */
export function tellNtlm(bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  const begin = findSignature(bytes, at, end);
  if (begin < 0 || end - begin < HEADER_BYTES || le32(bytes, begin + 8) !== KIND_AUTHENTICATE) return;
  const isUnicode = (le32(bytes, begin + 60) & FLAG_UNICODE) !== 0;
  for (const [offset, fact] of FIELDS) {
    const valueAt = begin + le32(bytes, begin + offset + 4);
    const valueEnd = valueAt + le16(bytes, begin + offset);
    if (valueAt < begin + HEADER_BYTES || valueEnd > end) {
      if (valueEnd > valueAt) sink.violation('NTLM field outside its message');
      continue;
    }
    const value = isUnicode ? wideText(bytes, valueAt, valueEnd, 128) : text(bytes, valueAt, valueEnd, 128);
    if (value !== '') sink.fact(fact, value);
  }
}

function findSignature(bytes: Uint8Array, at: number, end: number): number {
  const last = Math.min(end - HEADER_BYTES, at + SEARCH_BYTES_MAX);
  for (let i = at; i <= last; i++)
    if (bytes[i] === 0x4e && SIGNATURE.every((byte, k) => bytes[i + k] === byte)) return i;
  return -1;
}

/** UTF-16LE text of `bytes[at, end)` up to a zero; control characters and halves of pairs become dots. At most `limit` characters. */
export function wideText(bytes: Uint8Array, at: number, end: number, limit: number): string {
  let out = '';
  for (let i = at; i + 2 <= end && out.length < limit; i += 2) {
    const unit = le16(bytes, i);
    if (unit === 0) break;
    const isShown = unit >= 0x20 && (unit < 0x7f || unit >= 0xa0) && (unit < 0xd800 || unit >= 0xe000);
    out += isShown ? String.fromCharCode(unit) : '.';
  }
  return out;
}
