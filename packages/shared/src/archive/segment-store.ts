/**
 * The segments in memory: which there are, when they are written, when they are closed.
 *
 *   a packet arrives   its segment borrows a buffer and joins the queue
 *   buffer full        that segment is written
 *   flush interval     every segment in the queue is written within it: what a kill can lose
 *   budget used up     the longest waiting are written until an eighth of the budget is free
 *   period over, idle  the segment is closed for good; a late packet begins another
 *   segment full       the same, and the next packet begins another
 *
 * Inside a file time never runs backwards. Records that wait for their write are put in order by it; a packet that is older
 * than what was written already goes to a `late` segment of its source, of which there are up to three at a time, so
 * that a backlog that comes in between the present gets files of its own and is in order there.
 *
 * When the disk refuses, a segment keeps its records, takes more while the budget lasts, and is tried again with each
 * flush interval, not with each packet. What finds no room meanwhile is dropped and counted by reason. Nothing else is
 * affected: each segment fails and recovers by itself.
 */
import type { ArchiveCounters, ArchiveEvents, DropReason } from './archive-options.ts';
import { GROWN_BYTES, LATE_SECONDS, SEGMENT_IDLE_MS } from './archive-options.ts';
import type { BufferPool, PacketBuffer } from './buffer-pool.ts';
import { DiskRefusals } from './disk-refusals.ts';
import type { OpenFiles } from './open-files.ts';
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import { RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, readU32 } from '../packet/record.ts';
import { Segment } from './segment.ts';
import { sortRecords } from './record-order.ts';
import { SegmentQueue } from './segment-queue.ts';
import { SegmentTable, TRACKS } from './segment-table.ts';
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
  readonly #segmentBytesMax: number;
  readonly #periodSeconds: number;
  readonly #writer: SegmentWriter;
  readonly #openFiles: OpenFiles;
  readonly #buffers: BufferPool;
  readonly #counters: ArchiveCounters;
  readonly #events: ArchiveEvents;
  readonly #segments = new SegmentTable();
  /** Full, and out of the table: to be closed when their last records are written. */
  #retired: Segment[] = [];
  readonly #queue = new SegmentQueue();
  #nowMs = 0;
  readonly #refusals: DiskRefusals;

  constructor(
    options: {
      readonly segmentsMax: number;
      readonly segmentBytesMax: number;
      readonly periodSeconds: number;
    },
    dependencies: SegmentStoreDependencies,
  ) {
    this.#segmentsMax = options.segmentsMax;
    this.#segmentBytesMax = options.segmentBytesMax;
    this.#periodSeconds = options.periodSeconds;
    this.#writer = dependencies.writer;
    this.#openFiles = dependencies.openFiles;
    this.#buffers = dependencies.buffers;
    this.#counters = dependencies.counters;
    this.#events = dependencies.events;
    this.#refusals = new DiskRefusals(dependencies.counters, dependencies.events);
  }

  /** Segments the disk refuses at the moment. */
  get failing(): number {
    return this.#refusals.count;
  }

  get failure(): DropReason | null {
    return this.#refusals.reason;
  }

  /** Monotonic time, set once per batch and tick: the hot loop reads no clock. */
  set nowMs(value: number) {
    this.#nowMs = value;
  }

  /** The segment of a source and period, made if need be. `newestSeconds`: of all packets so far. */
  segmentOf(source: Source, period: number, newestSeconds: number): Segment {
    const segment =
      this.#segments.get(source, period, 0) ??
      this.#make(source, period, 0, (period + 1) * this.#periodSeconds + LATE_SECONDS <= newestSeconds);
    source.segment = segment;
    return segment;
  }

  /**
   * A packet of `byteCount` bytes (its record, at most) is older than the newest of its segment: there all the same when
   * it can still be put in order, else a late one. It is to be copied there before anything else happens.
   */
  placeOlder(segment: Segment, seconds: number, nanoseconds: number, byteCount: number): Segment {
    if (this.#takesOlder(segment, seconds, nanoseconds, byteCount)) {
      this.#counters.packetsReordered++;
      return segment;
    }
    this.#counters.packetsLate++;
    const { source, period } = segment;
    let longestIdle: Segment | null = null;
    for (let track = 1; track < TRACKS; track++) {
      const late = this.#segments.get(source, period, track);
      if (late === undefined) return this.#makeLate(source, period, track, seconds, nanoseconds);
      if (this.#takesLate(late, seconds, nanoseconds, byteCount)) return late;
      if (longestIdle === null || late.activeAtMs < longestIdle.activeAtMs) longestIdle = late;
    }
    const { track } = longestIdle as Segment;
    // Its write may just have filled it.
    if (!(longestIdle as Segment).isRetired) this.#retire(longestIdle as Segment);
    return this.#makeLate(source, period, track, seconds, nanoseconds);
  }

  #makeLate(source: Source, period: number, track: number, seconds: number, nanoseconds: number): Segment {
    const late = this.#make(source, period, track, true);
    noteNewest(late, seconds, nanoseconds);
    return late;
  }

  #takesLate(late: Segment, seconds: number, nanoseconds: number, byteCount: number): boolean {
    if (isBefore(seconds, nanoseconds, late.newestSeconds, late.newestNanoseconds))
      return this.#takesOlder(late, seconds, nanoseconds, byteCount);
    noteNewest(late, seconds, nanoseconds);
    return true;
  }

  /**
   * Whether a packet that is older than a segment's newest can still be put in order there: what is younger waits for its
   * write, and goes on waiting until the packet is among it. So its room is made here; where that takes a write, it is late.
   */
  #takesOlder(segment: Segment, seconds: number, nanoseconds: number, byteCount: number): boolean {
    if (isBefore(seconds, nanoseconds, segment.writtenSeconds, segment.writtenNanoseconds)) return false;
    const hasRoom = segment.buffer === null || this.#widen(segment, byteCount);
    // A segment that the disk refuses has nothing written that could be younger: without room, the packet is dropped.
    if (!hasRoom && segment.failure === null) {
      this.#write(segment);
      if (isBefore(seconds, nanoseconds, segment.writtenSeconds, segment.writtenNanoseconds)) return false;
    }
    segment.isUnsorted = true;
    return true;
  }

  #make(source: Source, period: number, track: number, isLate: boolean): Segment {
    if (this.#segments.count >= this.#segmentsMax) this.#closeMost();
    const segment = new Segment(source, period, track, isLate);
    this.#segments.add(segment);
    segment.activeAtMs = this.#nowMs;
    return segment;
  }

  /** Makes room for `byteCount` more bytes behind `segment.end`; false when the packet must be dropped. */
  makeRoom(segment: Segment, byteCount: number): boolean {
    if (segment.buffer === null) return this.#borrow(segment, byteCount);
    if (this.#widen(segment, byteCount)) return true;
    if (segment.failure !== null) return false;
    this.#write(segment);
    return segment.buffer === null ? this.#borrow(segment, byteCount) : this.#widen(segment, byteCount);
  }

  /** Room in the buffer there is, or in a larger one; false when the segment is to be written first, or is refused more memory. */
  #widen(segment: Segment, byteCount: number): boolean {
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

  /**
   * Whether a refused segment may take a buffer of so many bytes: out of three quarters of the budget. Who acknowledges
   * packets only when they are durable sizes the budget by that; the last quarter is for segments the disk still takes.
   */
  #mayHold(byteCount: number): boolean {
    return this.#buffers.bytesUsed + 2 * byteCount <= (this.#buffers.bytesMax * 3) / 4;
  }

  /** Counts packets that found no room. */
  drop(segment: Segment, packets: number): void {
    this.#counters.dropped[segment.failure ?? this.#refusals.reason ?? 'io-error'] += packets;
  }

  /** Writes what has waited since `sinceMs` or longer, segments that were refused before included. */
  flush(sinceMs = Infinity): void {
    const queue = this.#queue;
    for (let left = queue.length; left > 0 && queue.oldestMs <= sinceMs; left--) this.#writeQueued(true);
    if (this.#retired.length > 0) this.#closeRetired();
  }

  /** Closes segments whose period is over, by packet time or by the wall clock, and that nothing comes for any more. */
  closeIdle(newestPeriod: number, wallMs: number): void {
    const periodNow = Math.max(newestPeriod, Math.floor(wallMs / 1000 / this.#periodSeconds));
    const idleSinceMs = this.#nowMs - SEGMENT_IDLE_MS;
    for (const segment of this.#segments.all())
      if (segment.period < periodNow && segment.packetsPending === 0 && segment.activeAtMs <= idleSinceMs)
        this.#close(segment);
  }

  /** Writes and closes everything that the disk takes. */
  closeAll(): void {
    this.flush();
    this.#closeWritten();
  }

  /** Too many segments at once. While the disk refuses, those with records stay: the retry has its own time. */
  #closeMost(): void {
    if (this.#refusals.count === 0) this.flush();
    this.#closeWritten();
  }

  #closeWritten(): void {
    for (const segment of this.#segments.all()) if (segment.packetsPending === 0) this.#close(segment);
    this.#closeRetired();
  }

  /** At the end: what the disk still refuses is dropped, counted, and let go. True when every file is whole. */
  abandon(): boolean {
    this.closeAll();
    let isWhole = true;
    for (const segment of [...this.#segments.all(), ...this.#retired]) {
      if (segment.isTorn) isWhole = false;
      this.drop(segment, segment.packetsPending);
      this.#counters.packetsBuffered -= segment.packetsPending;
      segment.packetsPending = 0;
      this.#giveBack(segment);
      this.#close(segment);
    }
    this.#retired = [];
    this.#queue.clear();
    return isWhole;
  }

  /** Packets and frame bytes of a source that wait for their write. */
  pendingOf(source: Source): { packets: number; bytes: number } {
    let packets = 0;
    let bytes = 0;
    for (const segment of [
      ...this.#segments.of(source),
      ...this.#retired.filter((retired) => retired.source === source),
    ]) {
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
    segment.activeAtMs = this.#nowMs;
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
    if (segment.fileBytes >= this.#segmentBytesMax && !segment.isRetired) this.#retire(segment);
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

  /** Takes a segment out of the table: its next packet begins another. What it holds is still written. */
  #retire(segment: Segment): void {
    this.#segments.remove(segment);
    segment.isRetired = true;
    this.#retired.push(segment);
  }

  #closeRetired(): void {
    const left: Segment[] = [];
    for (const segment of this.#retired)
      if (segment.packetsPending === 0) this.#close(segment);
      else left.push(segment);
    this.#retired = left;
  }

  #close(segment: Segment): void {
    this.#openFiles.close(segment);
    if (!segment.isRetired) this.#segments.remove(segment);
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

function isBefore(
  seconds: number,
  nanoseconds: number,
  thanSeconds: number,
  thanNanoseconds: number,
): boolean {
  return seconds < thanSeconds || (seconds === thanSeconds && nanoseconds < thanNanoseconds);
}

function noteNewest(segment: Segment, seconds: number, nanoseconds: number): void {
  segment.newestSeconds = seconds;
  segment.newestNanoseconds = nanoseconds;
}
