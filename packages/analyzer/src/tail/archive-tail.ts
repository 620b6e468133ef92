/**
 * Follows an archive: reads what is new in its segments (found by `segment-finder.ts`), each sensor's in order of time, sensors turn by turn so that none
 * starves another. A segment that has not grown costs one `stat` a turn.
 *
 * A turn reads what all segments held at its beginning, always from the segment whose next packet is the oldest. So what was written before the turn
 * began is read in order however much there is of it, and only what writers still hold back can come out of order: that is what the merge waits for.
 *
 * What was read of a segment is kept under its stem, for a packed segment holds the same records: one that was packed after it was read is not read
 * again, one that was packed in the middle is read from there.
 */
import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseSegmentName, segmentStem, sidecarName } from '@tapline/shared/archive/segment-name.ts';
import { parseSidecar } from '@tapline/shared/catalog/sidecar.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { FileNames, type FileNamesState } from './file-names.ts';
import { SEGMENTS_MAX, stateOf, type Followed, type Segment, type SegmentState } from './followed-segment.ts';
import { PACKED_SUFFIXES, SegmentFinder, type FinderOptions } from './segment-finder.ts';
import { SegmentReaders } from './segment-readers.ts';
import { TimeHeap } from './time-heap.ts';

/** Each has an engine, of up to 110 MiB when it is busy. */
export const SENSORS_MAX = 1024;
/** What the segments that are being read of one sensor may have read ahead of each other, together and each. */
const AHEAD_BYTES = 8 * 1024 * 1024;
const PIECE_BYTES_MIN = 4 * 1024;
const PIECE_BYTES_MAX = 256 * 1024;

/** Some new records of one segment. */
export interface Piece {
  readonly segment: Segment;
  /** Lent until the next is asked for. */
  readonly batch: Batch;
  /** Number of the segment among the names. */
  readonly file: number;
  /** Of the first record: 1 is the file's first. */
  readonly number: number;
  /** Of the first record in the plain file, -1 where the container has no fixed records. */
  readonly offset: number;
  /** No packet of this sensor that is still to be read in this turn is older. Infinity: there is none. */
  readonly unreadSeconds: number;
  readonly unreadNanoseconds: number;
}

export interface TailEvents {
  segmentDamaged(segment: Segment, reason: string): void;
  segmentCut(segment: Segment): void;
  tooManySegments(limit: number): void;
  tooManySensors?(limit: number): void;
  unreadable(path: string, error: unknown): void;
}

export interface TailOptions extends FinderOptions {
  readonly readersMax?: number;
  /** How much of a segment is read at a time, at most. */
  readonly pieceBytes?: number;
}

/** Everything that is known of the archive, as it stands in a checkpoint. */
export interface TailState {
  readonly segments: readonly SegmentState[];
  readonly names: FileNamesState;
  readonly counters: ArchiveTail['counters'];
}

export class ArchiveTail {
  readonly counters = {
    segments: 0,
    segmentsDamaged: 0,
    segmentsGone: 0,
    segmentsIgnored: 0,
    segmentsCut: 0,
    sensorsIgnored: 0,
  };
  readonly names = new FileNames();
  readonly #events: TailEvents;
  readonly #options: TailOptions;
  readonly #finder: SegmentFinder;
  readonly #readers: SegmentReaders;
  /** By stem. */
  readonly #segments = new Map<string, Followed>();
  readonly #sensors = new Set<string>();
  #isFullTold = false;
  readonly #sensorsIgnored = new Set<string>();

  constructor(directory: string, events: TailEvents, options: TailOptions = {}) {
    this.#events = events;
    this.#options = options;
    const unreadable = (path: string, error: unknown): void => {
      events.unreadable(path, error);
    };
    this.#finder = new SegmentFinder(directory, options, {
      isKnown: (path) => this.#segments.has(path),
      found: (sensor, prefix, path, startSeconds, isPlain) => {
        this.#addSegment(sensor, prefix, path, startSeconds, isPlain);
      },
      unreadable,
    });
    const segmentCut = (segment: Segment): void => {
      this.counters.segmentsCut++;
      events.segmentCut(segment);
    };
    this.#readers = new SegmentReaders({ segmentCut, unreadable }, options.readersMax);
  }

  /** One turn: everything that is whole now, piece by piece. */
  async *poll(): AsyncGenerator<Piece> {
    this.#finder.look();
    const sensors = new Map<string, TimeHeap<Followed>>();
    for (const segment of this.#segments.values())
      if (this.#hasGrown(segment)) {
        let heap = sensors.get(segment.sensor);
        if (heap === undefined) sensors.set(segment.sensor, (heap = new TimeHeap()));
        heap.push(segment);
      }
    // Turn by turn: one piece of each sensor, then the next of each, until all are read.
    while (sensors.size > 0)
      for (const [sensor, heap] of sensors) {
        const segment = heap.first;
        const batch = segment === undefined ? null : await this.#read(segment, this.#pieceBytes(heap.size));
        if (segment === undefined || batch === null) {
          heap.pop();
          if (heap.size === 0) sensors.delete(sensor);
          continue;
        }
        const number = segment.number - batch.packetCount;
        const offset = segment.offset === -1 ? -1 : segment.offset - batch.byteLength;
        if (segment.offset >= segment.end) heap.pop();
        else heap.settle();
        const unreadSeconds = heap.first?.seconds ?? Infinity;
        const unreadNanoseconds = heap.first?.nanoseconds ?? 0;
        yield { segment, batch, file: segment.file, number, offset, unreadSeconds, unreadNanoseconds };
      }
  }

  /** Where every segment stands, between two pieces: what was handed out is read, what was not is not. */
  snapshot(): TailState {
    const segments = [...this.#segments.values()].map(stateOf);
    return { segments, names: this.names.snapshot(), counters: { ...this.counters } };
  }

  restore(state: TailState): void {
    for (const segment of state.segments) {
      // The last turn may not have come to its end: what it had still to read counts as new.
      const bytesSeen = segment.isPlain ? segment.offset : segment.isRead ? segment.bytesSeen : 0;
      const none = { follower: null, reader: null, cutsTold: 0, end: 0 };
      this.#segments.set(segment.stem, { ...segment, bytesSeen, ...none });
      this.#sensors.add(segment.sensor);
    }
    this.names.restore(state.names);
    Object.assign(this.counters, state.counters);
  }

  async close(): Promise<void> {
    await this.#readers.closeAll();
  }

  #addSegment(sensor: string, prefix: string, path: string, startSeconds: number, isPlain: boolean): void {
    const isSegment = this.#options.files === undefined && parseSegmentName(basename(path)) !== null;
    const stem = isSegment ? segmentStem(path) : path;
    const known = this.#segments.get(stem);
    if (known !== undefined) {
      // A segment and its packed copy stand side by side for a moment: the plain one is read where nothing was yet.
      if (known.number === 1 && !known.isPlain && isPlain) this.#goOnUnder(known, path, true);
      return;
    }
    if (!this.#hasRoom(sensor)) return;
    this.counters.segments++;
    this.#segments.set(stem, {
      sensor,
      prefix,
      stem,
      path,
      isPlain,
      file: this.names.add(path),
      bytesSeen: 0,
      isRead: false,
      offset: 0,
      number: 1,
      // By its name it has nothing older: it needs not be opened before that.
      seconds: startSeconds,
      nanoseconds: 0,
      damage: null,
      follower: null,
      reader: null,
      cutsTold: 0,
      end: 0,
    });
  }

  #hasRoom(sensor: string): boolean {
    if (!this.#sensors.has(sensor) && this.#sensors.size >= SENSORS_MAX) {
      if (this.#sensorsIgnored.size === 0) this.#events.tooManySensors?.(SENSORS_MAX);
      // Bounded: a set of names that a peer chooses must not grow for ever.
      if (this.#sensorsIgnored.size < SENSORS_MAX) this.#sensorsIgnored.add(sensor);
      this.counters.sensorsIgnored = this.#sensorsIgnored.size;
      return false;
    }
    if (this.#segments.size >= SEGMENTS_MAX) {
      this.counters.segmentsIgnored++;
      if (!this.#isFullTold) this.#events.tooManySegments(SEGMENTS_MAX);
      this.#isFullTold = true;
      return false;
    }
    this.#sensors.add(sensor);
    return true;
  }

  #hasGrown(segment: Followed): boolean {
    const size = statSync(segment.path, { throwIfNoEntry: false })?.size ?? this.#sizePacked(segment);
    if (size === null) {
      // Deleted by retention or by hand: what was read of it stays counted.
      this.#segments.delete(segment.stem);
      this.names.forget(segment.file);
      void this.#readers.close(segment);
      this.counters.segmentsGone++;
      return false;
    }
    if (size === segment.bytesSeen) return false;
    segment.bytesSeen = size;
    segment.isRead = false;
    segment.end = segment.isPlain ? size : Infinity;
    return segment.damage === null;
  }

  /** A segment that is not there any more may have been packed: goes on with the packed one, and gives its length. */
  #sizePacked(segment: Followed): number | null {
    if (segment.stem === segment.path) return null;
    for (const suffix of PACKED_SUFFIXES) {
      const path = `${segment.stem}.pcap${suffix}`;
      const size = statSync(path, { throwIfNoEntry: false })?.size;
      if (size === undefined) continue;
      this.#goOnUnder(segment, path, false);
      segment.isRead = segment.number - 1 === packetsBySidecar(path);
      if (segment.isRead) segment.bytesSeen = size;
      return size;
    }
    return null;
  }

  #goOnUnder(segment: Followed, path: string, isPlain: boolean): void {
    void this.#readers.close(segment);
    segment.path = path;
    segment.isPlain = isPlain;
    segment.follower = null;
    segment.bytesSeen = 0;
    this.names.rename(segment.file, path);
  }

  /** How much of a segment is read at a time, when so many of a sensor's wait. */
  #pieceBytes(waiting: number): number {
    const { pieceBytes = PIECE_BYTES_MAX } = this.#options;
    return Math.min(pieceBytes, Math.max(PIECE_BYTES_MIN, Math.floor(AHEAD_BYTES / waiting)));
  }

  async #read(segment: Followed, bytesMax: number): Promise<Batch | null> {
    const batch = segment.isPlain
      ? this.#readers.follow(segment, bytesMax)
      : await this.#readers.readCapture(segment, bytesMax);
    if (segment.damage !== null && batch === null) {
      this.counters.segmentsDamaged++;
      this.#events.segmentDamaged(segment, segment.damage);
    }
    return batch;
  }
}

/** How many packets a closed segment has, -1 where nobody says so. */
function packetsBySidecar(path: string): number {
  try {
    const sidecar = join(dirname(path), sidecarName(basename(path)));
    return parseSidecar(readFileSync(sidecar, 'utf8'))?.packets ?? -1;
  } catch {
    return -1;
  }
}
