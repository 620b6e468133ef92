/**
 * The segments in memory: which there are, when they are written, when they are closed.
 *
 *   a packet arrives   its segment borrows a buffer and joins the queue
 *   buffer full        that segment is written
 *   flush interval     every segment in the queue is written within it: what a kill can lose
 *   budget used up     the longest waiting are written until an eighth of the budget is free
 *   hour over, idle    the segment is closed and forgotten; a late packet makes it anew and appends
 *
 * When the disk refuses, a segment keeps its records, takes more while the budget lasts, and is tried again with each
 * flush interval, not with each packet. What finds no room meanwhile is dropped and counted by reason. Nothing else is
 * affected: each segment fails and recovers by itself.
 */
import type { ArchiveCounters, ArchiveEvents, DropReason } from './archive-options.ts';
import { SEGMENT_IDLE_MS, droppedPackets } from './archive-options.ts';
import type { BufferPool, PacketBuffer } from './buffer-pool.ts';
import type { OpenFiles } from './open-files.ts';
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import { RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, readU32 } from '../packet/record.ts';
import { Segment } from './segment.ts';
import { hourOf } from './segment-name.ts';
import { SegmentQueue } from './segment-queue.ts';
import type { SegmentWriter } from './segment-writer.ts';
import type { Source } from './source-table.ts';

/** A write this large costs 1 % in system calls; 200 sources × 64 KiB still fit a processor's cache. */
const SEGMENT_BUFFER_BYTES_MAX = 64 * 1024;

export interface SegmentStoreDependencies {
  readonly writer: SegmentWriter;
  readonly openFiles: OpenFiles;
  readonly buffers: BufferPool;
  readonly counters: ArchiveCounters;
  readonly events: ArchiveEvents;
}

export class SegmentStore {
  /** Name → length of every segment written since `takeTouched`. */
  #touched = new Map<string, number>();
  readonly #segmentsMax: number;
  readonly #writer: SegmentWriter;
  readonly #openFiles: OpenFiles;
  readonly #buffers: BufferPool;
  readonly #counters: ArchiveCounters;
  readonly #events: ArchiveEvents;
  readonly #segments = new Map<Source, Map<number, Segment>>();
  #segmentCount = 0;
  readonly #queue = new SegmentQueue();
  #nowMs = 0;
  // The disk's state, told once per change.
  #failing = 0;
  #failure: DropReason | null = null;
  #droppedBefore = 0;

  constructor(options: { readonly segmentsMax: number }, dependencies: SegmentStoreDependencies) {
    this.#segmentsMax = options.segmentsMax;
    this.#writer = dependencies.writer;
    this.#openFiles = dependencies.openFiles;
    this.#buffers = dependencies.buffers;
    this.#counters = dependencies.counters;
    this.#events = dependencies.events;
  }

  /** Segments the disk refuses at the moment. */
  get failing(): number {
    return this.#failing;
  }

  get failure(): DropReason | null {
    return this.#failure;
  }

  /** Monotonic time, set once per batch and tick: the hot loop reads no clock. */
  set nowMs(value: number) {
    this.#nowMs = value;
  }

  /** The segment of a source and hour, made if need be. */
  segmentOf(source: Source, hour: number): Segment {
    let byHour = this.#segments.get(source);
    let segment = byHour?.get(hour);
    if (segment === undefined) {
      if (this.#segmentCount >= this.#segmentsMax) this.#closeMost();
      segment = new Segment(source, hour);
      byHour = this.#segments.get(source);
      if (byHour === undefined) this.#segments.set(source, (byHour = new Map<number, Segment>()));
      byHour.set(hour, segment);
      this.#segmentCount++;
      source.segmentCount++;
      if (hour > source.newestHour) source.newestHour = hour;
      segment.activeAtMs = this.#nowMs;
    }
    source.segment = segment;
    return segment;
  }

  /** Makes room for `byteCount` more bytes behind `segment.end`; false when the packet must be dropped. */
  makeRoom(segment: Segment, byteCount: number): boolean {
    const { buffer } = segment;
    if (buffer !== null && segment.end + byteCount > SEGMENT_BUFFER_BYTES_MAX && segment.failure === null)
      this.#write(segment);
    if (segment.buffer === null) return this.#borrow(segment, byteCount);
    const needed = segment.end + byteCount;
    if (needed <= segment.capacity) return true;
    if (segment.failure !== null && !this.#mayHold(needed)) return false;
    const larger = this.#buffers.take(needed);
    if (larger !== null) {
      segment.buffer.bytes.copy(larger.bytes, FILE_HEADER_BYTES, FILE_HEADER_BYTES, segment.end);
      this.#buffers.give(segment.buffer);
      this.#lend(segment, larger);
      return true;
    }
    if (segment.failure !== null) return false;
    this.#write(segment);
    return segment.buffer === null
      ? this.#borrow(segment, byteCount)
      : segment.end + byteCount <= segment.capacity;
  }

  /**
   * Whether a refused segment may take a buffer of so many bytes: out of three quarters of the budget. Who acknowledges
   * packets only when they are durable sizes the budget by that; the last quarter is for segments the disk still takes.
   */
  #mayHold(byteCount: number): boolean {
    return this.#buffers.bytesUsed + 2 * byteCount <= (this.#buffers.bytesMax * 3) / 4;
  }

  /** Counts packets that found no room. */
  drop(segment: Segment, packets: number): void {
    this.#counters.dropped[segment.failure ?? this.#failure ?? 'io-error'] += packets;
  }

  /** Writes what has waited since `sinceMs` or longer, segments that were refused before included. */
  flush(sinceMs = Infinity): void {
    const queue = this.#queue;
    for (let left = queue.length; left > 0 && queue.oldestMs <= sinceMs; left--) this.#writeQueued(true);
  }

  /** Closes segments whose hour is over, by packet time or by the wall clock, and that nothing comes for any more. */
  closeIdle(newestHour: number, wallMs: number): void {
    const hourNow = Math.max(newestHour, hourOf(wallMs / 1000));
    const idleSinceMs = this.#nowMs - SEGMENT_IDLE_MS;
    for (const byHour of this.#segments.values())
      for (const segment of byHour.values())
        if (segment.hour < hourNow && segment.packetsPending === 0 && segment.activeAtMs <= idleSinceMs)
          this.#close(segment);
  }

  /** Writes and closes everything that the disk takes. */
  closeAll(): void {
    this.flush();
    this.#closeWritten();
  }

  /** Too many segments at once. While the disk refuses, those with records stay: the retry has its own time. */
  #closeMost(): void {
    if (this.#failing === 0) this.flush();
    this.#closeWritten();
  }

  #closeWritten(): void {
    for (const byHour of this.#segments.values())
      for (const segment of byHour.values()) if (segment.packetsPending === 0) this.#close(segment);
  }

  /** At the end: what the disk still refuses is dropped, counted, and let go. True when every file is whole. */
  abandon(): boolean {
    this.closeAll();
    let isWhole = true;
    for (const byHour of this.#segments.values())
      for (const segment of byHour.values()) {
        if (segment.isTorn) isWhole = false;
        this.drop(segment, segment.packetsPending);
        this.#counters.packetsBuffered -= segment.packetsPending;
        segment.packetsPending = 0;
        this.#giveBack(segment);
        this.#close(segment);
      }
    this.#queue.clear();
    return isWhole;
  }

  /** Packets and frame bytes of a source that wait for their write. */
  pendingOf(source: Source): { packets: number; bytes: number } {
    let packets = 0;
    let bytes = 0;
    for (const segment of this.#segments.get(source)?.values() ?? []) {
      packets += segment.packetsPending;
      if (segment.packetsPending > 0)
        bytes += segment.end - FILE_HEADER_BYTES - segment.packetsPending * RECORD_HEADER_BYTES;
    }
    return { packets, bytes };
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

  #write(segment: Segment): void {
    const counters = this.#counters;
    const failedBefore = segment.failure;
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
    segment.activeAtMs = this.#nowMs;
    if (storedBytes > 0) {
      const frameBytes = storedBytes - packets * RECORD_HEADER_BYTES;
      segment.packetsStored += packets;
      segment.bytesStored += frameBytes;
      segment.source.packetsStored += packets;
      segment.source.bytesStored += frameBytes;
      counters.packetsStored += packets;
      counters.bytesStored += frameBytes;
      counters.packetsBuffered -= packets;
      this.#touched.set(segment.name, segment.fileBytes);
    }
    if (failedBefore !== null || segment.failure !== null) this.#noteFailure(segment, failedBefore);
  }

  #noteFailure(segment: Segment, failedBefore: DropReason | null): void {
    const { failure } = segment;
    if (failure === null) {
      if (--this.#failing > 0) return;
      this.#failure = null;
      this.#events.recovered?.({ packetsDropped: droppedPackets(this.#counters) - this.#droppedBefore });
      return;
    }
    this.#counters.writesFailed++;
    if (failedBefore === null && ++this.#failing === 1) this.#droppedBefore = droppedPackets(this.#counters);
    if (failure === this.#failure) return;
    this.#failure = failure;
    const name = segment.name === '' ? segment.source.prefix : segment.name;
    this.#events.writeFailed?.({ name, reason: failure, message: this.#writer.lastMessage });
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
    if (buffer === null && this.#failing > 0) return false;
    // Other archives hold the whole budget: this one overdraws it, and writes at the end of its batch.
    buffer ??= this.#buffers.take(needed, true) as PacketBuffer;
    segment.end = FILE_HEADER_BYTES;
    this.#lend(segment, buffer);
    segment.activeAtMs = this.#nowMs;
    if (!segment.isQueued) this.#queue.push(segment, this.#nowMs);
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
    if (segment.packetsPending > 0 && (isRetry || segment.failure === null)) this.#write(segment);
    if (segment.packetsPending > 0) this.#queue.push(segment, this.#nowMs);
  }

  #lend(segment: Segment, buffer: PacketBuffer): void {
    segment.buffer = buffer;
    segment.capacity = buffer.byteLength;
  }

  #giveBack(segment: Segment): void {
    if (segment.buffer !== null) this.#buffers.give(segment.buffer);
    segment.buffer = null;
    segment.end = 0;
    segment.capacity = 0;
  }

  #close(segment: Segment): void {
    const { source } = segment;
    this.#openFiles.close(segment);
    const byHour = this.#segments.get(source);
    byHour?.delete(segment.hour);
    if (byHour?.size === 0) this.#segments.delete(source);
    this.#segmentCount--;
    source.segmentCount--;
    if (source.segment === segment) source.segment = null;
    // Never told as opened.
    if (segment.name === '') return;
    this.#counters.segmentsClosed++;
    this.#events.segmentClosed?.({
      name: segment.name,
      packets: segment.packetsStored,
      bytes: segment.fileBytes,
    });
  }
}

function countRecordsIn(bytes: Uint8Array, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; count++)
    at += RECORD_HEADER_BYTES + readU32(bytes, at + RECORD_CAPTURED_BYTES);
  return count;
}
