/**
 * Follows one segment while it grows: hands out its new whole records as batches, and waits where a record is not whole
 * yet. What must stay true:
 * - each record is handed out once, whatever pieces it is written in;
 * - a tail that is cut off (the archive's repair, a collector undoing a crash) is told, and reading goes on at the new end;
 * - damage ends the following of this segment with a reason, and of no other.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { BATCH_BYTES_MAX, type Batch } from '@tapline/shared/packet/batch.ts';
import {
  PACKET_BYTES_MAX,
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  readU32,
  writeU32,
} from '@tapline/shared/packet/record.ts';
import { FILE_HEADER_BYTES } from '@tapline/shared/pcap/format.ts';
import { parseFileHeader, type FileHeader } from '@tapline/shared/pcap/pcap-writer.ts';

const MICROSECONDS_PER_SECOND = 1_000_000;
const NANOSECONDS_PER_SECOND = 1_000_000_000;

/** One read's worth of memory, shared by all followers: only one of them reads at a time. */
export function createReadBuffer(): Uint8Array {
  return new Uint8Array(BATCH_BYTES_MAX);
}

export class SegmentFollower {
  readonly path: string;
  /** Why this segment is not followed any more; null while it is. */
  damage: string | null = null;
  /** How often the segment became shorter than what had been read of it. */
  cuts = 0;
  /** Where the next record starts; 0 before the header was read. */
  offset: number;
  /** The next record's number: 1 is the file's first. */
  number: number;
  /** The next record is, as far as can be known, not older than this. */
  seconds = 0;
  nanoseconds = 0;
  readonly #buffer: Uint8Array;
  #header: FileHeader | null = null;

  /** Begins at the record `number`, at `offset`, where an earlier follower stopped. */
  constructor(path: string, buffer: Uint8Array, offset = 0, number = 1) {
    this.path = path;
    this.#buffer = buffer;
    this.offset = offset;
    this.number = number;
  }

  /**
   * The next whole records, lent until any follower reads again; null when there are none now. About `bytesMax` of them (more for a record that is
   * longer), and none behind `end` of the file. Opens and closes the file each time: an archive has more segments than a process has descriptors.
   * Throws Node's error when it is gone.
   */
  read(bytesMax = BATCH_BYTES_MAX, end = Infinity): Batch | null {
    if (this.damage !== null) return null;
    const descriptor = openSync(this.path, 'r');
    try {
      const { size } = fstatSync(descriptor);
      if (size < this.offset) {
        this.cuts++;
        this.offset = size;
      }
      if (this.#header === null && !this.#readHeader(descriptor)) return null;
      const available = Math.min(size, end) - this.offset;
      if (available < RECORD_HEADER_BYTES) return null;
      const wanted = Math.min(available, bytesMax, this.#buffer.byteLength);
      const batch = this.#take(readSync(descriptor, this.#buffer, 0, wanted, this.offset));
      if (batch !== null || this.#isDamaged() || wanted === available) return batch;
      // The record is longer than what was asked for.
      const more = Math.min(available, this.#buffer.byteLength);
      return this.#take(readSync(descriptor, this.#buffer, 0, more, this.offset));
    } finally {
      closeSync(descriptor);
    }
  }

  #isDamaged(): boolean {
    return this.damage !== null;
  }

  #readHeader(descriptor: number): boolean {
    const byteCount = readSync(descriptor, this.#buffer, 0, FILE_HEADER_BYTES, 0);
    if (byteCount < FILE_HEADER_BYTES) return false;
    const header = parseFileHeader(this.#buffer.subarray(0, FILE_HEADER_BYTES));
    if (header.kind === 'malformed') this.damage = header.reason;
    // Archives write none of these; `tapline-forwarder split` turns such a file into segments.
    else if (header.bigEndian || header.modified || header.lengthOrder !== 'usual')
      this.damage = 'not a segment of an archive';
    else {
      this.#header = header;
      this.offset = Math.max(this.offset, FILE_HEADER_BYTES);
    }
    return this.damage === null;
  }

  /** The whole records of what was read, times made nanoseconds in place. */
  #take(byteCount: number): Batch | null {
    const { precision, linkType } = this.#header as FileHeader;
    const bytes = this.#buffer;
    const isMicroseconds = precision === 'us';
    const unitsPerSecond = isMicroseconds ? MICROSECONDS_PER_SECOND : NANOSECONDS_PER_SECOND;
    let end = 0;
    let packetCount = 0;
    while (byteCount - end >= RECORD_HEADER_BYTES) {
      const fraction = readU32(bytes, end + RECORD_NANOSECONDS);
      const capturedBytes = readU32(bytes, end + RECORD_CAPTURED_BYTES);
      if (capturedBytes > PACKET_BYTES_MAX || fraction >= unitsPerSecond) {
        this.damage = `damaged at offset ${this.offset + end}`;
        break;
      }
      this.seconds = readU32(bytes, end);
      this.nanoseconds = isMicroseconds ? fraction * 1000 : fraction;
      if (byteCount - end < RECORD_HEADER_BYTES + capturedBytes) break;
      if (isMicroseconds) writeU32(bytes, end + RECORD_NANOSECONDS, fraction * 1000);
      end += RECORD_HEADER_BYTES + capturedBytes;
      packetCount++;
    }
    this.offset += end;
    this.number += packetCount;
    if (packetCount === 0) return null;
    return { bytes, byteLength: end, packetCount, linkType, interfaceId: 0 };
  }
}
