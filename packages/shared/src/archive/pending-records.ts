/**
 * The records that wait for their write: in which buffer, for how long, and what is to be done when a buffer, the budget or the
 * disk is full.
 *
 *   a packet arrives   its segment borrows a buffer and joins the queue
 *   buffer full        that segment is written
 *   flush interval     every segment in the queue is written within it: what a kill can lose
 *   budget used up     the longest waiting are written until an eighth of the budget is free
 *
 * When the disk refuses, a segment keeps its records, takes more while the budget lasts, and is tried again with each
 * flush interval, not with each packet. What finds no room meanwhile is dropped and counted by reason. Nothing else is
 * affected: each segment fails and recovers by itself.
 */
import { RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, readU32 } from '../packet/record.ts';
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import { GROWN_BYTES, type ArchiveCounters, type ArchiveEvents, type DropReason } from './archive-options.ts';
import type { BufferPool, PacketBuffer } from './buffer-pool.ts';
import { DiskRefusals } from './disk-refusals.ts';
import { sortRecords } from './record-order.ts';
import { SegmentQueue } from './segment-queue.ts';
import type { SegmentWriter } from './segment-writer.ts';
import type { Segment } from './segment.ts';

/** A write this large costs 1 % in system calls; 200 sources × 64 KiB still fit a processor's cache. */
const SEGMENT_BUFFER_BYTES_MAX = 64 * 1024;

export interface PendingRecordsDependencies {
  readonly writer: SegmentWriter;
  readonly buffers: BufferPool;
  readonly counters: ArchiveCounters;
  readonly events: ArchiveEvents;
  /** After each write. */
  readonly written: (segment: Segment) => void;
}

export class PendingRecords {
  /** Monotonic time, set once per batch and tick: the hot loop reads no clock. */
  nowMs = 0;
  /** Name → length of every segment written since `takeTouched`. */
  #touched = new Map<string, number>();
  readonly #writer: SegmentWriter;
  readonly #buffers: BufferPool;
  readonly #counters: ArchiveCounters;
  readonly #events: ArchiveEvents;
  readonly #written: (segment: Segment) => void;
  readonly #queue = new SegmentQueue();
  readonly #refusals: DiskRefusals;

  constructor(dependencies: PendingRecordsDependencies) {
    this.#writer = dependencies.writer;
    this.#buffers = dependencies.buffers;
    this.#counters = dependencies.counters;
    this.#events = dependencies.events;
    this.#written = dependencies.written;
    this.#refusals = new DiskRefusals(dependencies.counters, dependencies.events);
  }

  /** Segments the disk refuses at the moment. */
  get failing(): number {
    return this.#refusals.count;
  }

  get failure(): DropReason | null {
    return this.#refusals.reason;
  }

  /** Makes room for `byteCount` more bytes behind `segment.end`; false when the packet must be dropped. */
  makeRoom(segment: Segment, byteCount: number): boolean {
    if (segment.buffer === null) return this.#borrow(segment, byteCount);
    if (this.widen(segment, byteCount)) return true;
    if (segment.failure !== null) return false;
    this.write(segment);
    return segment.buffer === null ? this.#borrow(segment, byteCount) : this.widen(segment, byteCount);
  }

  /** Room in the buffer there is, or in a larger one; false when the segment is to be written first, or is refused more memory. */
  widen(segment: Segment, byteCount: number): boolean {
    const needed = segment.end + byteCount;
    if (needed <= segment.capacity) return true;
    const isRefused = segment.failure !== null;
    if (needed > SEGMENT_BUFFER_BYTES_MAX && !isRefused) return false;
    if (isRefused && !this.#mayHold(needed)) return false;
    const larger = this.#buffers.take(needed);
    if (larger === null) return false;
    const buffer = segment.buffer as PacketBuffer;
    buffer.bytes.copy(larger.bytes, FILE_HEADER_BYTES, FILE_HEADER_BYTES, segment.end);
    this.#buffers.give(buffer);
    this.#lend(segment, larger);
    return true;
  }

  /** Counts packets that found no room. */
  drop(segment: Segment, packets: number): void {
    this.#counters.dropped[segment.failure ?? this.#refusals.reason ?? 'io-error'] += packets;
  }

  /** Writes what has waited since `sinceMs` or longer, segments that were refused before included. */
  flush(sinceMs = Infinity): void {
    const queue = this.#queue;
    for (let left = queue.length; left > 0 && queue.oldestMs <= sinceMs; left--) this.#writeQueued(true);
  }

  /** Writes what is pending of a segment, as far as the disk takes it, in the order of time. */
  write(segment: Segment): void {
    const counters = this.#counters;
    const failedBefore = segment.failure;
    if (segment.isUnsorted) this.#sort(segment);
    const pendingBytes = segment.end - FILE_HEADER_BYTES;
    const storedBytes = this.#writer.append(segment);
    let packets = segment.packetsPending;
    if (storedBytes === pendingBytes) {
      segment.bytesExpected = segment.end;
      this.#giveBack(segment);
    } else {
      const bytes = (segment.buffer as PacketBuffer).bytes;
      packets = countRecordsIn(bytes, FILE_HEADER_BYTES, FILE_HEADER_BYTES + storedBytes);
      bytes.copyWithin(FILE_HEADER_BYTES, FILE_HEADER_BYTES + storedBytes, segment.end);
      segment.end -= storedBytes;
    }
    segment.packetsPending -= packets;
    segment.activeAtMs = this.nowMs;
    if (storedBytes > 0) {
      segment.writtenSeconds = segment.newestSeconds;
      segment.writtenNanoseconds = segment.newestNanoseconds;
      const frameBytes = storedBytes - packets * RECORD_HEADER_BYTES;
      segment.packetsStored += packets;
      segment.bytesStored += frameBytes;
      segment.source.packetsStored += packets;
      segment.source.bytesStored += frameBytes;
      counters.packetsStored += packets;
      counters.bytesStored += frameBytes;
      counters.packetsBuffered -= packets;
      this.#touched.set(segment.name, segment.fileBytes);
      this.#tellGrowth(segment);
    }
    if (failedBefore !== null || segment.failure !== null)
      this.#refusals.note(segment, failedBefore, this.#writer.lastMessage);
    this.#written(segment);
  }

  /** At the end: counts what the disk still refuses of a segment as dropped, and lets it go. */
  abandon(segment: Segment): void {
    this.drop(segment, segment.packetsPending);
    this.#counters.packetsBuffered -= segment.packetsPending;
    segment.packetsPending = 0;
    this.#giveBack(segment);
  }

  /** Nothing waits any more. */
  clear(): void {
    this.#queue.clear();
  }

  get touchedCount(): number {
    return this.#touched.size;
  }

  /** Hands over what was written since the last call. */
  takeTouched(): Map<string, number> {
    const touched = this.#touched;
    this.#touched = new Map();
    return touched;
  }

  /** Puts back what could not be synced; lengths written since then stand. */
  touchAgain(touched: ReadonlyMap<string, number>): void {
    for (const [name, bytes] of touched) if (!this.#touched.has(name)) this.#touched.set(name, bytes);
  }

  /** The first record of a flush: a buffer as large as the last flush needed, and a place in the queue. */
  #borrow(segment: Segment, byteCount: number): boolean {
    const needed = FILE_HEADER_BYTES + byteCount;
    const expected = Math.min(segment.bytesExpected, SEGMENT_BUFFER_BYTES_MAX);
    // Where memory is short, buffers grow as they fill instead.
    const wanted = this.#buffers.isShort ? needed : Math.max(needed, expected);
    let buffer = this.#buffers.take(wanted);
    if (buffer === null) {
      this.#flushOldest();
      buffer = this.#buffers.take(needed);
    }
    if (buffer === null && this.#refusals.count > 0) return false;
    // Other archives hold the whole budget: this one overdraws it, and writes at the end of its batch.
    buffer ??= this.#buffers.take(needed, true) as PacketBuffer;
    segment.end = FILE_HEADER_BYTES;
    this.#lend(segment, buffer);
    segment.activeAtMs = this.nowMs;
    if (!segment.isQueued) this.#queue.push(segment, this.nowMs);
    return true;
  }

  /**
   * Makes room in the budget. An eighth at a time and the longest waiting first, so that each is written as late, and
   * as large, as the budget allows. Segments that failed wait for the interval.
   */
  #flushOldest(): void {
    const goal = (this.#buffers.bytesMax * 7) / 8;
    for (let left = this.#queue.length; left > 0 && this.#buffers.bytesUsed > goal; left--)
      this.#writeQueued(false);
  }

  /** Takes the longest waiting segment and writes it; what is not written waits on, behind the others. */
  #writeQueued(isRetry: boolean): void {
    const segment = this.#queue.shift();
    if (segment.packetsPending > 0 && (isRetry || segment.failure === null)) this.write(segment);
    if (segment.packetsPending > 0) this.#queue.push(segment, this.nowMs);
  }

  #lend(segment: Segment, buffer: PacketBuffer): void {
    segment.buffer = buffer;
    segment.capacity = buffer.byteLength;
  }

  /**
   * Whether a refused segment may take a buffer of so many bytes: out of three quarters of the budget. Who acknowledges
   * packets only when they are durable sizes the budget by that; the last quarter is for segments the disk still takes.
   */
  #mayHold(byteCount: number): boolean {
    return this.#buffers.bytesUsed + 2 * byteCount <= (this.#buffers.bytesMax * 3) / 4;
  }

  #tellGrowth(segment: Segment): void {
    const { name, fileBytes } = segment;
    if (fileBytes - segment.bytesTold < GROWN_BYTES) return;
    segment.bytesTold = fileBytes;
    this.#events.segmentGrown?.({ name, bytes: fileBytes });
  }

  #sort(segment: Segment): void {
    sortRecords((segment.buffer as PacketBuffer).bytes, FILE_HEADER_BYTES, segment.end);
    segment.isUnsorted = false;
  }

  #giveBack(segment: Segment): void {
    if (segment.buffer !== null) this.#buffers.give(segment.buffer);
    segment.buffer = null;
    segment.end = 0;
    segment.capacity = 0;
  }
}

function countRecordsIn(bytes: Uint8Array, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; count++)
    at += RECORD_HEADER_BYTES + readU32(bytes, at + RECORD_CAPTURED_BYTES);
  return count;
}
