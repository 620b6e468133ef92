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
  readonly #buffer: Uint8Array;
  #header: FileHeader | null = null;
  /** Where the next record starts. */
  #offset = 0;

  constructor(path: string, buffer: Uint8Array) {
    this.path = path;
    this.#buffer = buffer;
  }

  /**
   * The next whole records, lent until any follower reads again; null when there are none now. Opens and closes the
   * file each time: an archive has more segments than a process has descriptors. Throws Node's error when it is gone.
   */
  read(): Batch | null {
    if (this.damage !== null) return null;
    const descriptor = openSync(this.path, 'r');
    try {
      const { size } = fstatSync(descriptor);
      if (size < this.#offset) {
        this.cuts++;
        this.#offset = size;
      }
      if (this.#header === null && !this.#readHeader(descriptor)) return null;
      if (size - this.#offset < RECORD_HEADER_BYTES) return null;
      const byteCount = readSync(descriptor, this.#buffer, 0, this.#buffer.byteLength, this.#offset);
      return this.#take(byteCount, this.#header as FileHeader);
    } finally {
      closeSync(descriptor);
    }
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
      this.#offset = FILE_HEADER_BYTES;
    }
    return this.damage === null;
  }

  /** The whole records of what was read, times made nanoseconds in place. */
  #take(byteCount: number, header: FileHeader): Batch | null {
    const bytes = this.#buffer;
    const isMicroseconds = header.precision === 'us';
    const unitsPerSecond = isMicroseconds ? MICROSECONDS_PER_SECOND : NANOSECONDS_PER_SECOND;
    let end = 0;
    let packetCount = 0;
    while (byteCount - end >= RECORD_HEADER_BYTES) {
      const fraction = readU32(bytes, end + RECORD_NANOSECONDS);
      const capturedBytes = readU32(bytes, end + RECORD_CAPTURED_BYTES);
      if (capturedBytes > PACKET_BYTES_MAX || fraction >= unitsPerSecond) {
        this.damage = `damaged at offset ${this.#offset + end}`;
        break;
      }
      if (byteCount - end < RECORD_HEADER_BYTES + capturedBytes) break;
      if (isMicroseconds) writeU32(bytes, end + RECORD_NANOSECONDS, fraction * 1000);
      end += RECORD_HEADER_BYTES + capturedBytes;
      packetCount++;
    }
    this.#offset += end;
    if (packetCount === 0) return null;
    return { bytes, byteLength: end, packetCount, linkType: header.linkType, interfaceId: 0 };
  }
}
