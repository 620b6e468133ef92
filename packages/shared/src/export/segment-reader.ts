/**
 * Reads the wanted packets of one segment, in its order. What its index says cannot be wanted is not read; what the index does not
 * cover is. Opened when its first packet may be due, and not before: a merge over ten thousand segments holds the few it needs.
 */
import { OperatingError } from '../base/errors.ts';
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import { parseFileHeader } from '../pcap/pcap-writer.ts';
import {
  PACKET_BYTES_MAX,
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  RECORD_ORIGINAL_BYTES,
  readU32,
} from '../packet/record.ts';
import type { PacketQuery } from '../catalog/packet-query.ts';
import type { SegmentIndex } from '../catalog/segment-index.ts';
import type { SegmentSource } from './segment-source.ts';

/** A part of a segment that may hold wanted packets: whole records from `start` to `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** What a reader needs to know of its segment. */
export interface PlannedSegment {
  readonly name: string;
  readonly ranges: readonly Range[];
  /** No packet of it is older. */
  readonly notBeforeSeconds: number;
  readonly notBeforeNanoseconds: number;
  /** Opens it. Throws what the disk throws, and PCAP_INVALID. */
  readonly open: () => SegmentSource;
}

/** After so many bytes without a wait others get a turn: about 5 ms. */
const PAUSE_BYTES = 4 * 1024 * 1024;

export class SegmentReader {
  readonly name: string;
  /** The record it stands on, once `advance` was called; before that, no packet is older than this. */
  seconds: number;
  nanoseconds: number;
  /** Not opened yet: the time is a lower bound. */
  isPending = true;
  linkType = -1;
  capturedBytes = 0;
  originalBytes = 0;
  /** Where its frame lies in `bytes`. */
  frameOffset = 0;
  /** Bytes read from the segment. */
  bytesRead = 0;
  bytes: Uint8Array = new Uint8Array(0);
  readonly #plan: PlannedSegment;
  readonly #query: PacketQuery;
  readonly #bufferBytes: number;
  #source: SegmentSource | null = null;
  #nanosecondsPerUnit = 1;
  #range = 0;
  /** Where the next record begins: in `bytes`, and in the segment. */
  #at = 0;
  #filled = 0;
  #offset = 0;
  #sincePause = 0;

  constructor(plan: PlannedSegment, query: PacketQuery, bufferBytes: number) {
    this.name = plan.name;
    this.#plan = plan;
    this.#query = query;
    this.#bufferBytes = bufferBytes;
    this.seconds = plan.notBeforeSeconds;
    this.nanoseconds = plan.notBeforeNanoseconds;
  }

  /** Goes to the next wanted record; false when there is none. Throws PCAP_INVALID for a damaged segment. */
  advance(): boolean | Promise<boolean> {
    for (;;) {
      const state = this.#step();
      if (state === STEP_FOUND) return true;
      if (state === STEP_END) return false;
      const filled = this.#fill();
      if (typeof filled !== 'number') return this.#advanceLater(filled);
      this.#sincePause += filled;
      if (this.#sincePause >= PAUSE_BYTES) return this.#advanceLater(pause(filled));
      if (!this.#took(filled)) return false;
    }
  }

  close(): void {
    this.#source?.close();
    this.#source = null;
    this.bytes = new Uint8Array(0);
  }

  async #advanceLater(filled: Promise<number>): Promise<boolean> {
    this.#sincePause = 0;
    return this.#took(await filled) && this.advance();
  }

  /** Goes through the records in memory. */
  #step(): number {
    const { bytes } = this;
    const query = this.#query;
    const range = this.#plan.ranges[this.#range];
    if (range === undefined) return STEP_END;
    for (;;) {
      const at = this.#at;
      const left = this.#filled - at;
      if (this.#offset >= range.end) {
        this.#nextRange();
        return this.#range < this.#plan.ranges.length ? STEP_MORE : STEP_END;
      }
      if (left < RECORD_HEADER_BYTES) return STEP_MORE;
      const capturedBytes = readU32(bytes, at + RECORD_CAPTURED_BYTES);
      const recordBytes = RECORD_HEADER_BYTES + capturedBytes;
      if (capturedBytes > PACKET_BYTES_MAX) throw damaged(this.name, this.#offset);
      if (left < recordBytes) return STEP_MORE;
      const seconds = readU32(bytes, at);
      const nanoseconds = readU32(bytes, at + RECORD_NANOSECONDS) * this.#nanosecondsPerUnit;
      const originalBytes = readU32(bytes, at + RECORD_ORIGINAL_BYTES);
      this.#at = at + recordBytes;
      this.#offset += recordBytes;
      const time = query.timeOf(seconds, nanoseconds);
      // Segments are in order: nothing behind it is wanted, in this range or any other.
      if (time > 0) return STEP_END;
      const frame = at + RECORD_HEADER_BYTES;
      if (time < 0 || !query.matches(this.linkType, bytes, frame, capturedBytes, originalBytes)) continue;
      this.seconds = seconds;
      this.nanoseconds = nanoseconds;
      this.capturedBytes = capturedBytes;
      this.originalBytes = originalBytes;
      this.frameOffset = frame;
      return STEP_FOUND;
    }
  }

  #nextRange(): void {
    this.#range++;
    this.#filled = this.#at = 0;
    this.#offset = this.#plan.ranges[this.#range]?.start ?? 0;
  }

  /** Reads on behind what is in memory. */
  #fill(): number | Promise<number> {
    if (this.#source === null) return this.#openAndFill();
    const left = this.#filled - this.#at;
    // Room for the largest record that has begun.
    const wanted =
      left >= RECORD_HEADER_BYTES
        ? RECORD_HEADER_BYTES + readU32(this.bytes, this.#at + RECORD_CAPTURED_BYTES)
        : RECORD_HEADER_BYTES;
    if (this.bytes.byteLength < Math.max(wanted, this.#bufferBytes)) {
      const larger = new Uint8Array(Math.max(wanted, this.#bufferBytes));
      larger.set(this.bytes.subarray(this.#at, this.#filled));
      this.bytes = larger;
    } else this.bytes.copyWithin(0, this.#at, this.#filled);
    this.#at = 0;
    this.#filled = left;
    const end = (this.#plan.ranges[this.#range] as Range).end;
    const room = Math.min(this.bytes.byteLength, left + end - (this.#offset + left));
    return this.#source.read(this.bytes.subarray(0, room), left, this.#offset + left);
  }

  #openAndFill(): number | Promise<number> {
    const source = (this.#source = this.#plan.open());
    this.isPending = false;
    this.bytes = new Uint8Array(this.#bufferBytes);
    const header = source.read(this.bytes.subarray(0, FILE_HEADER_BYTES), 0, 0);
    return typeof header === 'number'
      ? this.#takeHeader(header)
      : header.then((count) => this.#takeHeader(count));
  }

  #takeHeader(byteCount: number): number | Promise<number> {
    const header = parseFileHeader(this.bytes.subarray(0, byteCount));
    if (header.kind === 'malformed' || header.bigEndian || header.modified) throw damaged(this.name, 0);
    this.linkType = header.linkType;
    this.#nanosecondsPerUnit = header.precision === 'us' ? 1000 : 1;
    this.#offset = this.#plan.ranges[0]?.start ?? FILE_HEADER_BYTES;
    return this.#fill();
  }

  /** False when the segment ends here: a growing one in the middle of a record, perhaps. */
  #took(byteCount: number): boolean {
    this.#filled += byteCount;
    this.bytesRead += byteCount;
    return byteCount > 0;
  }
}

const STEP_FOUND = 0;
const STEP_MORE = 1;
const STEP_END = 2;

/** Which parts of a segment of `byteLength` bytes a query may want. Without an index, all of it. */
export function rangesOf(index: SegmentIndex | null, query: PacketQuery, byteLength: number): Range[] {
  const covered = index === null || index.coveredBytes > byteLength ? FILE_HEADER_BYTES : index.coveredBytes;
  const ranges: { start: number; end: number }[] = [];
  const wanted = index === null || covered === FILE_HEADER_BYTES ? null : query.wantedKeys(index);
  const blocks = wanted === null ? [] : (index?.blocks ?? []);
  const add = (start: number, end: number): void => {
    const last = ranges.at(-1);
    if (last?.end === start) last.end = end;
    else ranges.push({ start, end });
  };
  for (const block of blocks)
    if (query.wantsBlock(block, wanted ?? [])) add(block.offset, block.offset + block.bytes);
  if (covered < byteLength) add(covered, byteLength);
  return ranges;
}

function pause(value: number): Promise<number> {
  return new Promise((resolve) => {
    setImmediate(resolve, value);
  });
}

function damaged(name: string, offset: number): OperatingError {
  return new OperatingError('PCAP_INVALID', `${name} is damaged at offset ${offset}`, { file: name, offset });
}
