/** Reads the built-in types of OPC UA one after another out of the message at hand; lengths that do not fit end the reading. */
import { hex, le16, le32, text } from './byte-reader.ts';
import { OBJECT_CHARACTERS_MAX } from './dissector.ts';

/** Where the message is being read. What does not fit reads as nothing and sets `isCut`. */
export const reader = { bytes: new Uint8Array(0) as Uint8Array, at: 0, end: 0, isCut: false };

const SCALAR_BYTES: readonly number[] = [0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8];

export function scalar(type: number): number {
  const width = SCALAR_BYTES[type] ?? 0;
  const at = reader.at;
  if (width === 0 || !skip(width)) return NaN;
  const view = new DataView(reader.bytes.buffer, reader.bytes.byteOffset);
  if (type === 2) return view.getInt8(at);
  if (type === 4) return view.getInt16(at, true);
  if (type === 6) return view.getInt32(at, true);
  if (type === 8) return Number(view.getBigInt64(at, true));
  if (type === 9) return Number(view.getBigUint64(at, true));
  if (type === 10) return view.getFloat32(at, true);
  if (type === 11) return view.getFloat64(at, true);
  return width === 1
    ? (reader.bytes[at] as number)
    : width === 2
      ? le16(reader.bytes, at)
      : le32(reader.bytes, at);
}

/** Reads a NodeId in its notation; '' where it is cut. */
export function nodeId(): string {
  const start = reader.at;
  const form = u8();
  const kind = form & 0x3f;
  let out = '';
  if (kind <= 2) {
    skip(kind === 0 ? 1 : kind === 1 ? 3 : 6);
    if (!reader.isCut) {
      const space =
        kind === 0 ? 0 : kind === 1 ? (reader.bytes[start + 1] as number) : le16(reader.bytes, start + 1);
      out = `${space === 0 ? '' : `ns=${space};`}i=${numeric(start)}`;
    }
  } else if (kind <= 5) {
    const space = u16();
    const prefix = space === 0 ? '' : `ns=${space};`;
    if (kind === 3) out = `${prefix}s=${string(OBJECT_CHARACTERS_MAX - prefix.length - 2)}`;
    else if (kind === 5) {
      skipString();
      out = `${prefix}b=...`;
    } else if (skip(16)) out = `${prefix}g=${guid(reader.at - 16)}`;
  } else reader.isCut = true;
  if ((form & 0x80) !== 0) skipString();
  if ((form & 0x40) !== 0) skip(4);
  return reader.isCut ? '' : out;
}

export function isNumeric(at: number): boolean {
  return ((reader.bytes[at] as number) & 0x3f) <= 2;
}

export function numeric(at: number): number {
  const kind = (reader.bytes[at] as number) & 0x3f;
  return kind === 0
    ? (reader.bytes[at + 1] as number)
    : kind === 1
      ? le16(reader.bytes, at + 2)
      : le32(reader.bytes, at + 3);
}

function guid(at: number): string {
  let tail = '';
  for (let i = at + 8; i < at + 16; i++)
    tail += hex(reader.bytes[i] as number).slice(2) + (i === at + 9 ? '-' : '');
  const part = (value: number, digits: number): string => hex(value, digits).slice(2);
  return `${part(le32(reader.bytes, at), 8)}-${part(le16(reader.bytes, at + 4), 4)}-${part(le16(reader.bytes, at + 6), 4)}-${tail}`;
}

export function skip(count: number): boolean {
  if (reader.isCut || count > reader.end - reader.at) {
    reader.isCut = true;
    return false;
  }
  reader.at += count;
  return true;
}

export function u8(): number {
  return skip(1) ? (reader.bytes[reader.at - 1] as number) : 0;
}

function u16(): number {
  return skip(2) ? le16(reader.bytes, reader.at - 2) : 0;
}

export function u32(): number {
  return skip(4) ? le32(reader.bytes, reader.at - 4) : 0;
}

export function le32At(at: number): number {
  return reader.isCut ? 0 : le32(reader.bytes, at);
}

export function string(limit: number): string {
  const length = u32();
  const from = reader.at;
  return length !== 0xffff_ffff && skip(length) ? text(reader.bytes, from, from + length, limit) : '';
}

export function skipString(): boolean {
  const length = u32();
  return length === 0xffff_ffff ? !reader.isCut : skip(length);
}

/** The table of strings in an answer; more of them than that no answer needs. */
export function skipStrings(): boolean {
  const count = u32();
  if (count === 0xffff_ffff) return !reader.isCut;
  if (count > 64) return false;
  for (let i = 0; i < count; i++) if (!skipString()) return false;
  return !reader.isCut;
}

export function skipExtension(): boolean {
  nodeId();
  return u8() === 0 ? !reader.isCut : skipString();
}
