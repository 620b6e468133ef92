/**
 * Classic PCAP as we write it, encoder beside decoder: the file header, and records in the precision of a file. Always
 * little-endian, version 2.4, plain record headers. A nanosecond file is the records of a batch as they are; for a
 * microsecond file `transcodeToMicroseconds` rewrites the fractions. The layout is in `format.ts`.
 */
import {
  PACKET_BYTES_MAX,
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  readU32,
  writeU32,
} from '../packet/record.ts';
import {
  FILE_HEADER_BYTES,
  MAGIC_MICROSECONDS,
  MAGIC_MODIFIED,
  MAGIC_NANOSECONDS,
  linkTypeOfField,
  readFieldU16,
  readFieldU32,
} from './format.ts';

/** Precision of the timestamps in a classic file. */
export type Precision = 'ns' | 'us';

export interface FileHeaderOptions {
  /** LINKTYPE_ value. */
  readonly linkType: number;
  readonly precision: Precision;
  /** Default 262,144: no packet is longer. */
  readonly snapBytes?: number;
}

/** The 24 bytes a file starts with. */
export function encodeFileHeader(options: FileHeaderOptions): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER_BYTES);
  writeU32(bytes, 0, options.precision === 'ns' ? MAGIC_NANOSECONDS : MAGIC_MICROSECONDS);
  bytes[4] = 2;
  bytes[6] = 4;
  writeU32(bytes, 16, options.snapBytes ?? PACKET_BYTES_MAX);
  writeU32(bytes, 20, options.linkType);
  return bytes;
}

export interface FileHeader {
  readonly kind: 'header';
  readonly bigEndian: boolean;
  readonly precision: Precision;
  /** Kuznetzov's dialect: record headers of 24 bytes. */
  readonly modified: boolean;
  /** Before version 2.3 the original length came first; 2.3 was written both ways, and the smaller one is the captured. */
  readonly lengthOrder: 'usual' | 'swapped' | 'either';
  readonly linkType: number;
  readonly snapBytes: number;
  readonly versionKnown: boolean;
  /** Bits 16 to 25 and 27 of the link type field: nobody defined them, they are ignored. */
  readonly reservedBits: boolean;
}

/** Decodes a file header of any dialect from the first 24 bytes of a file; never throws. */
export function parseFileHeader(bytes: Uint8Array): FileHeader | { kind: 'malformed'; reason: string } {
  if (bytes.byteLength < FILE_HEADER_BYTES)
    return malformed(
      `the file ends inside its header: ${bytes.byteLength} of ${FILE_HEADER_BYTES} bytes are there`,
    );
  const little = readFieldU32(bytes, 0, false);
  const bigEndian = !isMagic(little);
  const magic = bigEndian ? readFieldU32(bytes, 0, true) : little;
  if (!isMagic(magic))
    return malformed(`it starts with ${magic.toString(16).padStart(8, '0')}, not with a PCAP magic`);
  const major = readFieldU16(bytes, 4, bigEndian);
  const minor = readFieldU16(bytes, 6, bigEndian);
  const usual = major !== 2 || minor > 3;
  const field = readFieldU32(bytes, 20, bigEndian);
  return {
    kind: 'header',
    bigEndian,
    precision: magic === MAGIC_NANOSECONDS ? 'ns' : 'us',
    modified: magic === MAGIC_MODIFIED,
    lengthOrder: usual ? 'usual' : minor === 3 ? 'either' : 'swapped',
    linkType: linkTypeOfField(field),
    snapBytes: readFieldU32(bytes, 16, bigEndian),
    versionKnown: major === 2 && minor <= 4,
    reservedBits: (field & 0x0bff_0000) !== 0,
  };
}

function malformed(reason: string): { kind: 'malformed'; reason: string } {
  return { kind: 'malformed', reason };
}

function isMagic(value: number): boolean {
  return value === MAGIC_MICROSECONDS || value === MAGIC_NANOSECONDS || value === MAGIC_MODIFIED;
}

/**
 * Copies the whole records in `from[0, byteLength)` to `to` at `offset` and cuts their nanoseconds to microseconds.
 * `to` may be `from` with offset 0. Returns the offset behind the last byte. The records are trusted (see `countRecords`).
 */
export function transcodeToMicroseconds(
  from: Uint8Array,
  byteLength: number,
  to: Uint8Array,
  offset: number,
): number {
  if (to !== from || offset !== 0) to.set(from.subarray(0, byteLength), offset);
  const end = offset + byteLength;
  for (let at = offset; at < end;) {
    writeU32(to, at + RECORD_NANOSECONDS, Math.floor(readU32(to, at + RECORD_NANOSECONDS) / 1000));
    at += RECORD_HEADER_BYTES + readU32(to, at + RECORD_CAPTURED_BYTES);
  }
  return end;
}
