/**
 * The segments in memory: which one a packet goes to, and when they are closed. What waits in them for its write is
 * `pending-records.ts`'s.
 *
 *   period over, idle  the segment is closed for good; a late packet begins another
 *   segment full       the same, and the next packet begins another
 *
 * Inside a file time never runs backwards. Records that wait for their write are put in order by it; a packet that is older
 * than what was written already goes to a `late` segment of its source, of which there are up to three at a time, so
 * that a backlog that comes in between the present gets files of its own and is in order there.
 */
import type { ArchiveCounters, ArchiveEvents } from './archive-options.ts';
import { LATE_SECONDS, SEGMENT_IDLE_MS } from './archive-options.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { OpenFiles } from './open-files.ts';
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import { RECORD_HEADER_BYTES } from '../packet/record.ts';
import { Segment } from './segment.ts';
import { PendingRecords } from './pending-records.ts';
import { SegmentTable, TRACKS } from './segment-table.ts';
import type { SegmentWriter } from './segment-writer.ts';
import type { Source } from './source-table.ts';

export interface SegmentStoreDependencies {
  readonly writer: SegmentWriter;
  readonly openFiles: OpenFiles;
  readonly buffers: BufferPool;
  readonly counters: ArchiveCounters;
  readonly events: ArchiveEvents;
}

export class SegmentStore {
  readonly pending: PendingRecords;
  readonly #segmentsMax: number;
  readonly #segmentBytesMax: number;
  readonly #periodSeconds: number;
  readonly #openFiles: OpenFiles;
  readonly #counters: ArchiveCounters;
  readonly #events: ArchiveEvents;
  readonly #segments = new SegmentTable();
  /** Full, and out of the table: to be closed when their last records are written. */
  #retired: Segment[] = [];

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
    this.#openFiles = dependencies.openFiles;
    this.#counters = dependencies.counters;
    this.#events = dependencies.events;
    this.pending = new PendingRecords({
      ...dependencies,
      written: (segment) => {
        if (segment.fileBytes >= this.#segmentBytesMax && !segment.isRetired) this.#retire(segment);
      },
    });
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
    const hasRoom = segment.buffer === null || this.pending.widen(segment, byteCount);
    // A segment that the disk refuses has nothing written that could be younger: without room, the packet is dropped.
    if (!hasRoom && segment.failure === null) {
      this.pending.write(segment);
      if (isBefore(seconds, nanoseconds, segment.writtenSeconds, segment.writtenNanoseconds)) return false;
    }
    segment.isUnsorted = true;
    return true;
  }

  #make(source: Source, period: number, track: number, isLate: boolean): Segment {
    if (this.#segments.count >= this.#segmentsMax) this.#closeMost();
    const segment = new Segment(source, period, track, isLate);
    this.#segments.add(segment);
    segment.activeAtMs = this.pending.nowMs;
    return segment;
  }

  /** Writes what has waited since `sinceMs` or longer, and closes what was only waiting for that. */
  flush(sinceMs = Infinity): void {
    this.pending.flush(sinceMs);
    if (this.#retired.length > 0) this.#closeRetired();
  }

  /** Closes segments whose period is over, by packet time or by the wall clock, and that nothing comes for any more. */
  closeIdle(newestPeriod: number, wallMs: number): void {
    const periodNow = Math.max(newestPeriod, Math.floor(wallMs / 1000 / this.#periodSeconds));
    const idleSinceMs = this.pending.nowMs - SEGMENT_IDLE_MS;
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
    if (this.pending.failing === 0) this.flush();
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
      this.pending.abandon(segment);
      this.#close(segment);
    }
    this.#retired = [];
    this.pending.clear();
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
