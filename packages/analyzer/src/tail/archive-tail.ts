/**
 * Follows an archive: finds its segments, old and new, and reads what is new in them: each sensor's in order of time, sensors turn by turn so that
 * none starves another.
 *
 *   <directory>/<sensor>/<prefix>_YYYYMMDD_HH.pcap   a collector's        <directory>/<prefix>_….pcap   a forwarder's
 *   <directory>/anything.pcapng                      any other capture belongs to the sensor `.`; what is no plain PCAP is read when it does
 *                                                    not grow any more
 *
 * By polling: an archive of a thousand sensors has more directories than inotify has watches, and a network file system
 * has none at all. A segment that has not grown costs one `stat` a poll.
 *
 * A turn reads what all segments held at its beginning, always from the segment whose next packet is the oldest. So what was written before the turn
 * began is read in order however much there is of it, and only what writers still hold back can come out of order: that is what the merge waits for.
 *
 * What was read of a segment is kept under its stem, for a packed segment holds the same records: one that was packed after it was read is not read
 * again, one that was packed in the middle is read from there.
 */
import { closeSync, openSync, readFileSync, readSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseSegmentName, segmentStem, sidecarName } from '@tapline/shared/archive/segment-name.ts';
import { parseSidecar } from '@tapline/shared/catalog/sidecar.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { readU32 } from '@tapline/shared/packet/record.ts';
import { MAGIC_MICROSECONDS, MAGIC_NANOSECONDS } from '@tapline/shared/pcap/format.ts';
import { CaptureReader } from './capture-reader.ts';
import { isCaptureName } from './capture-name.ts';
import { FileNames, type FileNamesState } from './file-names.ts';
import { SegmentFollower, createReadBuffer } from './segment-follower.ts';
import { TimeHeap } from './time-heap.ts';

/** About 300 bytes each: 100 MiB. Beyond it the archive is too large to be followed whole, and that is said. */
export const SEGMENTS_MAX = 300_000;
/** Each has an engine, of up to 110 MiB when it is busy. */
export const SENSORS_MAX = 1024;
/** What the segments that are being read of one sensor may have read ahead of each other, together and each. */
const AHEAD_BYTES = 8 * 1024 * 1024;
const PIECE_BYTES_MIN = 4 * 1024;
const PIECE_BYTES_MAX = 256 * 1024;
/** Packed captures that are open at a time, × about 2 MiB of windows. One that was closed for another is passed over again up to where it was. */
const READERS_MAX = 64;
/** A capture that is no segment is read when it did not change for so long: its writer has no other way to say that it is whole. */
const SETTLED_MS = 5000;
const SUFFIXES = ['.gz', '.zst'] as const;

/** What a batch belongs to. */
export interface Segment {
  /** Name of the sensor's directory; `.` for an archive without sensors. */
  readonly sensor: string;
  readonly prefix: string;
  readonly path: string;
}

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

export interface TailOptions {
  /** These files and no others, which are whole: `directory` is not looked at. */
  readonly files?: readonly { readonly path: string; readonly sensor: string }[];
  readonly nowMs?: () => number;
  readonly readersMax?: number;
  readonly settledMs?: number;
  /** How much of a segment is read at a time, at most. */
  readonly pieceBytes?: number;
}

/** What was read of a segment, in plain data. */
export interface SegmentState {
  readonly sensor: string;
  readonly prefix: string;
  readonly stem: string;
  readonly file: number;
  path: string;
  /** Plain records that are read where they are written; false for what is read from its beginning. */
  isPlain: boolean;
  /** Length of the file when it was looked at last. */
  bytesSeen: number;
  /** Of what is not plain: was read to its end as it was then. */
  isRead: boolean;
  /** Of the next record. */
  offset: number;
  number: number;
  seconds: number;
  nanoseconds: number;
  damage: string | null;
}

/** Everything that is known of the archive, as it stands in a checkpoint. */
export interface TailState {
  readonly segments: readonly SegmentState[];
  readonly names: FileNamesState;
  readonly counters: ArchiveTail['counters'];
}

interface Followed extends SegmentState {
  follower: SegmentFollower | null;
  reader: CaptureReader | null;
  cutsTold: number;
  /** Where this turn stops reading. */
  end: number;
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
  readonly #directory: string;
  readonly #events: TailEvents;
  readonly #options: TailOptions;
  readonly #buffer = createReadBuffer();
  /** By stem. */
  readonly #segments = new Map<string, Followed>();
  readonly #sensors = new Set<string>();
  /** Captures that may still grow, by path: how long they were when. */
  readonly #unsettled = new Map<string, { bytes: number; sinceMs: number }>();
  /** In the order in which they were used. */
  readonly #readers = new Set<Followed>();
  #isFullTold = false;
  readonly #sensorsIgnored = new Set<string>();

  constructor(directory: string, events: TailEvents, options: TailOptions = {}) {
    this.#directory = directory;
    this.#events = events;
    this.#options = options;
  }

  /** One turn: everything that is whole now, piece by piece. */
  async *poll(): AsyncGenerator<Piece> {
    this.#discover();
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
    for (const segment of this.#readers) await this.#closeReader(segment);
  }

  #discover(): void {
    const { files } = this.#options;
    if (files !== undefined) {
      for (const { path, sensor } of files) this.#addFile(sensor, path);
      return;
    }
    for (const entry of this.#list(this.#directory)) {
      if (entry.isDirectory() && !entry.name.startsWith('.'))
        for (const file of this.#list(join(this.#directory, entry.name))) this.#add(entry.name, file.name);
      else this.#add('.', entry.name);
    }
  }

  #list(directory: string) {
    try {
      return readdirSync(directory, { withFileTypes: true });
    } catch (error) {
      this.#events.unreadable(directory, error);
      return [];
    }
  }

  #add(folder: string, name: string): void {
    const segmentName = parseSegmentName(name);
    if (segmentName === null && !isCaptureName(name)) return;
    const path = join(this.#directory, folder, name);
    if (segmentName !== null)
      this.#addSegment(folder, segmentName.prefix, path, segmentName.startSeconds, !isPacked(path));
    else if (!this.#segments.has(path)) {
      const isPlain = isPlainCapture(path);
      if (isPlain || this.#isSettled(path)) this.#addSegment('.', name, path, 0, isPlain);
    }
  }

  /** One of the files that were asked for. */
  #addFile(sensor: string, path: string): void {
    if (this.#segments.has(path)) return;
    const segmentName = parseSegmentName(basename(path));
    const { prefix, startSeconds } = segmentName ?? { prefix: basename(path), startSeconds: 0 };
    this.#addSegment(sensor, prefix, path, startSeconds, isPlainCapture(path));
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

  #isSettled(path: string): boolean {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isFile() !== true || stat.size === 0) return false;
    const { nowMs: clock = Date.now, settledMs = SETTLED_MS } = this.#options;
    const nowMs = clock();
    if (nowMs - stat.mtimeMs >= settledMs) {
      this.#unsettled.delete(path);
      return true;
    }
    const before = this.#unsettled.get(path);
    // A clock in the future would keep a file for ever: its length decides then.
    if (before?.bytes === stat.size && nowMs - before.sinceMs >= settledMs) {
      this.#unsettled.delete(path);
      return true;
    }
    if (before?.bytes !== stat.size && this.#unsettled.size < SEGMENTS_MAX)
      this.#unsettled.set(path, { bytes: stat.size, sinceMs: nowMs });
    return false;
  }

  #hasGrown(segment: Followed): boolean {
    const size = statSync(segment.path, { throwIfNoEntry: false })?.size ?? this.#sizePacked(segment);
    if (size === null) {
      // Deleted by retention or by hand: what was read of it stays counted.
      this.#segments.delete(segment.stem);
      this.names.forget(segment.file);
      void this.#closeReader(segment);
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
    for (const suffix of SUFFIXES) {
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
    void this.#closeReader(segment);
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
      ? this.#follow(segment, bytesMax)
      : await this.#readCapture(segment, bytesMax);
    if (segment.damage !== null && batch === null) {
      this.counters.segmentsDamaged++;
      this.#events.segmentDamaged(segment, segment.damage);
    }
    return batch;
  }

  #follow(segment: Followed, bytesMax: number): Batch | null {
    const follower = (segment.follower ??= new SegmentFollower(
      segment.path,
      this.#buffer,
      segment.offset,
      segment.number,
    ));
    let batch: Batch | null = null;
    try {
      batch = follower.read(bytesMax, segment.end);
    } catch (error) {
      this.#events.unreadable(segment.path, error);
      // It did not change, but it was not read either.
      segment.bytesSeen = 0;
    }
    if (follower.cuts > segment.cutsTold) {
      segment.cutsTold = follower.cuts;
      this.counters.segmentsCut++;
      this.#events.segmentCut(segment);
    }
    const { offset, number, seconds, nanoseconds, damage } = follower;
    Object.assign(segment, { offset, number, damage });
    if (batch !== null) Object.assign(segment, { seconds, nanoseconds });
    return batch;
  }

  async #readCapture(segment: Followed, bytesMax: number): Promise<Batch | null> {
    const reader = (segment.reader ??= new CaptureReader(segment.path, segment.number));
    // To the end of the order, as the one that was used last.
    this.#readers.delete(segment);
    this.#readers.add(segment);
    for (const oldest of this.#readers) {
      if (this.#readers.size <= (this.#options.readersMax ?? READERS_MAX)) break;
      await this.#closeReader(oldest);
    }
    const batch = await reader.read(bytesMax);
    const { number, seconds, nanoseconds, damage } = reader;
    segment.damage = damage;
    if (batch === null) {
      segment.isRead = true;
      await this.#closeReader(segment);
      return null;
    }
    const offset = reader.hasOffsets ? reader.offset : -1;
    Object.assign(segment, { offset, number, seconds, nanoseconds });
    return batch;
  }

  async #closeReader(segment: Followed): Promise<void> {
    const { reader } = segment;
    segment.reader = null;
    this.#readers.delete(segment);
    await reader?.close();
  }
}

/** Without what only the running program has. */
function stateOf(segment: SegmentState): SegmentState {
  const { sensor, prefix, stem, file, path, isPlain, bytesSeen, isRead } = segment;
  const { offset, number, seconds, nanoseconds, damage } = segment;
  return { sensor, prefix, stem, file, path, isPlain, bytesSeen, isRead, offset, number, seconds, nanoseconds, damage }; // prettier-ignore
}

function isPacked(path: string): boolean {
  return SUFFIXES.some((suffix) => path.endsWith(suffix));
}

/** Whether the file begins as the segments of archives do, so that it can be followed while it grows. */
function isPlainCapture(path: string): boolean {
  const bytes = new Uint8Array(4);
  try {
    const descriptor = openSync(path, 'r');
    try {
      if (readSync(descriptor, bytes, 0, 4, 0) < 4) return false;
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return false;
  }
  const magic = readU32(bytes, 0);
  return magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS;
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
