/**
 * BER (ITU-T X.690), as MMS, GOOSE and sampled values are written in it: tag, length, content, one element behind another.
 *
 *   tag (1, or 0x1f in its low bits and the number in a second byte)   length (1, or 0x80 + n and n bytes)   content
 *
 * A tag is told as it stands in the bytes: `0xa4`, or `0xbf48` where it takes two. Nothing here throws or reads outside
 * `[at, end)`.
 */
import { be16, be32 } from './byte-reader.ts';

/** The element that was read last; its owner reuses it. */
export interface Element {
  tag: number;
  /** The content is `bytes[from, to)`; the next element begins at `to`. */
  from: number;
  to: number;
  /** The length says more than there is. */
  isCut: boolean;
}

export function createElement(): Element {
  return { tag: 0, from: 0, to: 0, isCut: false };
}

/** Reads the element that begins at `at`; false when none does, or only a part of its head. */
export function readElement(element: Element, bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < 2) return false;
  let next = at + 1;
  element.tag = bytes[at] as number;
  if ((element.tag & 0x1f) === 0x1f) {
    const number = bytes[next++] as number;
    // Numbers above 127 are in none of these protocols.
    if (number >= 0x80 || next >= end) return false;
    element.tag = (element.tag << 8) | number;
  }
  let length = bytes[next++] as number;
  if (length === 0x80) {
    // Indefinite: what follows up to the end that is known; the end-of-contents octets read as an empty element.
    length = end - next;
  } else if (length > 0x80) {
    const count = length & 0x7f;
    if (count > 4 || end - next < count) return false;
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + (bytes[next++] as number);
  }
  element.from = next;
  element.isCut = length > end - next;
  element.to = element.isCut ? end : next + length;
  return true;
}

/** Whether the content is elements again: a bit of the tag's first byte. */
export function isConstructed(tag: number): boolean {
  return ((tag > 0xff ? tag >> 8 : tag) & 0x20) !== 0;
}

/** The first element with this tag among those of `[at, end)`; false when there is none. */
export function findElement(
  element: Element,
  bytes: Uint8Array,
  at: number,
  end: number,
  tag: number,
): boolean {
  for (let next = at; readElement(element, bytes, next, end); next = element.to)
    if (element.tag === tag) return true;
  return false;
}

/** How many elements stand in `[at, end)`. */
export function countElements(element: Element, bytes: Uint8Array, at: number, end: number): number {
  let count = 0;
  for (let next = at; readElement(element, bytes, next, end); next = element.to) count++;
  return count;
}

/** An INTEGER without sign; NaN when it is empty or longer than six bytes. */
export function unsignedOf(bytes: Uint8Array, from: number, to: number): number {
  if (to <= from || to - from > 6) return NaN;
  let value = 0;
  for (let i = from; i < to; i++) value = value * 256 + (bytes[i] as number);
  return value;
}

/** An INTEGER in two's complement; NaN when it is empty or longer than six bytes. */
export function signedOf(bytes: Uint8Array, from: number, to: number): number {
  const value = unsignedOf(bytes, from, to);
  return ((bytes[from] as number) & 0x80) === 0 ? value : value - 256 ** (to - from);
}

const TAG_ARRAY = 0xa1;
const TAG_STRUCTURE = 0xa2;
const DEPTH_MAX = 8;
const floatView = new DataView(new ArrayBuffer(4));

/**
 * The first boolean, integer or float in MMS Data (ISO 9506-2), which GOOSE uses too; it is looked for in arrays and structures.
 * NaN when there is none.
 */
export function firstValue(bytes: Uint8Array, at: number, end: number, depth = 0): number {
  const element = createElement();
  for (let next = at; readElement(element, bytes, next, end); next = element.to) {
    const { tag, from, to } = element;
    let value = NaN;
    if ((tag === TAG_ARRAY || tag === TAG_STRUCTURE) && depth < DEPTH_MAX)
      value = firstValue(bytes, from, to, depth + 1);
    else if (tag === 0x83 && to > from) value = bytes[from] === 0 ? 0 : 1;
    else if (tag === 0x85) value = signedOf(bytes, from, to);
    else if (tag === 0x86) value = unsignedOf(bytes, from, to);
    // The first byte of a float is the width of its exponent: 8 for the single precision that IEC 61850 uses.
    else if (tag === 0x87 && to - from === 5) value = float32(bytes, from + 1);
    if (!Number.isNaN(value)) return value;
  }
  return NaN;
}

/** IEEE 754 single precision, big-endian. */
export function float32(bytes: Uint8Array, at: number): number {
  floatView.setUint32(0, be32(bytes, at));
  return floatView.getFloat32(0);
}

/** A number that stands for bytes, to tell one name or one sample from another (FNV-1a). */
export function fingerprint(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c_9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x0100_0193);
  return hash >>> 0;
}

/** The head that GOOSE and sampled values share: APPID (2), length (2), two reserved (4). Where the frame's part ends, or -1. */
export function publisherEnd(bytes: Uint8Array, at: number, end: number): number {
  const length = end - at < 8 ? 0 : be16(bytes, at + 2);
  return length < 8 || length > end - at ? -1 : at + length;
}
