/**
 * Names in messages of DNS (RFC 1035, section 4.1.4) and NetBIOS (RFC 1001, section 14.1): labels with their lengths, ended by an empty one or by a
 * pointer to an earlier place. What must stay true: a name has an end, whatever its pointers say.
 */
import { be16, text } from './byte-reader.ts';

/** In front of the first name of a message. */
export const DNS_HEADER_BYTES = 12;
const NAME_BYTES_MAX = 255;
/** A name has at most 127 labels; each pointer leads to at least one of them. */
const HOPS_MAX = 32;

/** Where reading a name ended; `next` is -1 for a name that cannot be read. */
export const name = { text: '', next: -1, fault: '' };

/** Fills `name` with the name at `at` of the message that begins at `start`. */
export function readName(bytes: Uint8Array, start: number, at: number, end: number): void {
  name.text = name.fault = '';
  name.next = -1;
  let next = -1;
  let here = at;
  let hops = 0;
  let total = 0;
  for (;;) {
    if (here >= end) {
      name.fault = 'name beyond the end of the message';
      return;
    }
    const length = bytes[here] as number;
    if (length === 0) {
      name.next = next < 0 ? here + 1 : next;
      return;
    }
    if (length >= 0xc0) {
      if (here + 2 > end) {
        name.fault = 'name beyond the end of the message';
        return;
      }
      if (next < 0) next = here + 2;
      const target = start + (be16(bytes, here) & 0x3fff);
      // Only backwards, and not too often: otherwise a name could go round for ever.
      if (target >= here || ++hops > HOPS_MAX) {
        name.fault = 'name pointer leads nowhere';
        name.next = next;
        return;
      }
      here = target;
      continue;
    }
    if (length > 63) {
      name.fault = 'label longer than 63';
      return;
    }
    total += length + 1;
    if (total > NAME_BYTES_MAX) {
      name.fault = 'name longer than 255';
      return;
    }
    if (here + 1 + length > end) {
      name.fault = 'name beyond the end of the message';
      return;
    }
    name.text += (name.text === '' ? '' : '.') + text(bytes, here + 1, here + 1 + length, 63);
    here += 1 + length;
  }
}

/** NetBIOS writes each half of a byte as a letter from A to P; the 16th byte says which service of that name is meant. */
export function netbiosName(found: string): string {
  if (!/^[A-P]{32}(\.|$)/.test(found)) return found;
  let out = '';
  let suffix = 0;
  for (let i = 0; i < 32; i += 2) {
    const byte = ((found.charCodeAt(i) - 65) << 4) | (found.charCodeAt(i + 1) - 65);
    if (i === 30) suffix = byte;
    else out += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : byte === 0 ? ' ' : '.';
  }
  return `${out.trimEnd()}<${suffix.toString(16).padStart(2, '0')}>`;
}
