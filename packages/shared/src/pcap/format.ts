/**
 * The capture file formats as tables: classic PCAP (what we write, and read in every dialect we have met) and pcapng
 * (read only). Numbers and pure functions over them; no input, no output.
 *
 * Classic PCAP is one file header and then records (`packet/record.ts` shows the little-endian nanosecond one):
 *
 *   offset  size  field         meaning
 *        0     4  magic         byte order, precision and dialect, see MAGIC_*
 *        4     2  major         2
 *        6     2  minor         4; below 3 the two lengths of a record stand in the other order
 *        8     4  zone          offset from UTC; nobody ever wrote anything but 0 that was true, so it is ignored
 *       12     4  accuracy      0
 *       16     4  snapBytes     what the capturer cut packets to; 0 and nonsense occur, so it limits nothing here
 *       20     4  linkType      low 16 bits; above them the length of the frame check sequence and reserved bits
 *
 * pcapng is blocks (draft-ietf-opsawg-pcapng), each in the byte order of the section header before it:
 *
 *   offset  size  field         meaning
 *        0     4  type          BLOCK_*
 *        4     4  totalBytes    of the whole block: at least 12, a multiple of 4
 *        8     n  body          per type
 *     8 + n     4  totalBytes   again
 *
 *   section header   8 byte order  12 major  14 minor  16 section length (8)  24 options
 *   interface        8 linkType  10 reserved  12 snapBytes  16 options
 *   enhanced packet  8 interface  12 time high  16 time low  20 capturedBytes  24 originalBytes  28 frame, options
 *   simple packet    8 originalBytes  12 frame
 *   old packet       8 interface (2)  10 drops (2)  12 time high  16 time low  20 capturedBytes  24 originalBytes  28 frame
 *   option           0 code (2)  2 length (2)  4 value, padded to 4
 */
import { LINKTYPE_RAW } from '../packet/link-type.ts';

export const FILE_HEADER_BYTES = 24;

/** Microseconds. */
export const MAGIC_MICROSECONDS = 0xa1b2c3d4;
/** Nanoseconds. */
export const MAGIC_NANOSECONDS = 0xa1b23c4d;
/** Kuznetzov's patched libpcap: microseconds, and 8 more bytes in every record header. */
export const MAGIC_MODIFIED = 0xa1b2cd34;

export const RECORD_HEADER_BYTES_MODIFIED = 24;

export const BLOCK_SECTION = 0x0a0d0d0a;
export const BLOCK_INTERFACE = 1;
export const BLOCK_PACKET_OLD = 2;
export const BLOCK_PACKET_SIMPLE = 3;
export const BLOCK_PACKET = 6;

export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

export const BLOCK_BYTES_MIN = 12;
export const OPTION_END = 0;
export const OPTION_INTERFACE_NAME = 2;
export const OPTION_TIME_RESOLUTION = 9;
export const OPTION_TIME_OFFSET = 14;

/** Interfaces of all sections of a file. `mergecap` makes one per input file; a thousand is far beyond any real capture. */
export const INTERFACES_MAX = 4096;

const DLT_RAW_OF_MOST_SYSTEMS = 12;
const DLT_RAW_OF_OPENBSD = 14;

/** The LINKTYPE_ value meant by a link type field: low 16 bits, and the DLT_RAW that some writers put there by mistake. */
export function linkTypeOfField(field: number): number {
  const linkType = field & 0xffff;
  return linkType === DLT_RAW_OF_MOST_SYSTEMS || linkType === DLT_RAW_OF_OPENBSD ? LINKTYPE_RAW : linkType;
}

/** Reads a u32 in the byte order of the file. */
export function readFieldU32(bytes: Uint8Array, offset: number, bigEndian: boolean): number {
  const a = bytes[offset] as number;
  const b = bytes[offset + 1] as number;
  const c = bytes[offset + 2] as number;
  const d = bytes[offset + 3] as number;
  return (bigEndian ? (a << 24) | (b << 16) | (c << 8) | d : (d << 24) | (c << 16) | (b << 8) | a) >>> 0;
}

/** Reads a u16 in the byte order of the file. */
export function readFieldU16(bytes: Uint8Array, offset: number, bigEndian: boolean): number {
  const a = bytes[offset] as number;
  const b = bytes[offset + 1] as number;
  return bigEndian ? (a << 8) | b : (b << 8) | a;
}

/** Oddities that lost nothing, counted while reading. */
export interface CaptureRemarks {
  /** A fraction of a second of a second or more: carried into the seconds. */
  fractionCarried: number;
  /** A time before 1970 or after 2106: set to the nearest a record can hold. */
  timeClamped: number;
  /** A packet said to be shorter on the wire than in the file. */
  originalShorter: number;
  /** A packet longer than the file's snap length. */
  longerThanSnap: number;
  /** A simple packet block has no time: 1970-01-01 00:00:00. */
  timeMissing: number;
  /** pcapng blocks that are neither packet, interface nor section: names, statistics, secrets, customs. */
  blocksSkipped: number;
  /** Reserved bits set in a link type field. */
  linkTypeBitsIgnored: number;
  /** A file version that nobody defined: read like the newest one. */
  versionUnknown: number;
  /** Bytes behind the end of the compressed data that are not compressed data. */
  trailingBytesIgnored: number;
}

export function createRemarks(): CaptureRemarks {
  return {
    fractionCarried: 0,
    timeClamped: 0,
    originalShorter: 0,
    longerThanSnap: 0,
    timeMissing: 0,
    blocksSkipped: 0,
    linkTypeBitsIgnored: 0,
    versionUnknown: 0,
    trailingBytesIgnored: 0,
  };
}

/** An interface of a capture file: the one of a classic file, or an interface description block. */
export interface CaptureInterface {
  /** LINKTYPE_ value. */
  readonly linkType: number;
  readonly name?: string;
  /** As the file says; 0 means no limit. */
  readonly snapBytes: number;
  /** `us`, `ns`, or the unit of the timestamps as a power: `10^-3`, `2^-20`. */
  readonly precision: string;
}

/**
 * An incremental reader of records. It converts what it finds *in place*: every record of every format is at least as long
 * in the file as it is in a batch, so the batch grows in the very buffer the file was read into, behind the reading position.
 */
export interface RecordParser {
  /**
   * Consumes whole records of `bytes[start, end)`, of one batch at most, and returns where it stopped. Call again from
   * there while it moves; when it does not, it needs more input, or `damage` is set.
   */
  parse(bytes: Uint8Array, start: number, end: number): number;
  /** What the last call made: `packetCount` records in `bytes[batchStart, batchEnd)`. */
  readonly batchStart: number;
  readonly batchEnd: number;
  readonly packetCount: number;
  readonly linkType: number;
  readonly interfaceId: number;
  /** Why nothing beyond the returned position can be read, or null. */
  readonly damage: string | null;
  /** What is wrong when the input ends with `bytes[start, end)` unconsumed; null if nothing. */
  endDamage(bytes: Uint8Array, start: number, end: number): string | null;
}
