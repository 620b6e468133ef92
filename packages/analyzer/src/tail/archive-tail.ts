/**
 * Follows an archive: finds its segments, old and new, and reads them turn by turn so that no sensor starves another.
 *
 *   <directory>/<sensor>/<prefix>_YYYYMMDD_HH.pcap   a collector's        <directory>/<prefix>_….pcap   a forwarder's
 *
 * By polling: an archive of a thousand sensors has more directories than inotify has watches, and a network file system
 * has none at all. A segment that has not grown costs one `stat` a poll.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseSegmentName } from '@tapline/shared/archive/segment-name.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { SegmentFollower, createReadBuffer } from './segment-follower.ts';

/** About 300 bytes each: 100 MiB. Beyond it the archive is too large to be followed whole, and that is said. */
export const SEGMENTS_MAX = 300_000;

/** What a batch belongs to. */
export interface Segment {
  /** Name of the sensor's directory; `.` for an archive without sensors. */
  readonly sensor: string;
  readonly prefix: string;
  readonly path: string;
}

export interface TailEvents {
  segmentDamaged(segment: Segment, reason: string): void;
  segmentCut(segment: Segment): void;
  tooManySegments(limit: number): void;
  unreadable(path: string, error: unknown): void;
}

interface Followed extends Segment {
  readonly follower: SegmentFollower;
  bytesSeen: number;
  cutsTold: number;
}

export class ArchiveTail {
  readonly counters = {
    segments: 0,
    segmentsDamaged: 0,
    segmentsGone: 0,
    segmentsIgnored: 0,
    segmentsCut: 0,
  };
  readonly #directory: string;
  readonly #events: TailEvents;
  readonly #buffer = createReadBuffer();
  readonly #segments = new Map<string, Followed>();
  #isFullTold = false;

  constructor(directory: string, events: TailEvents) {
    this.#directory = directory;
    this.#events = events;
  }

  /** One turn: everything that is whole now, batch by batch, each lent until the next is asked for. */
  *poll(): Generator<{ readonly segment: Segment; readonly batch: Batch }> {
    this.#discover();
    let grown = [...this.#segments.values()].filter((segment) => this.#hasGrown(segment));
    // Turn by turn: one batch of each, then the next of each, until all are read.
    while (grown.length > 0) {
      const again: Followed[] = [];
      for (const segment of grown) {
        const batch = this.#read(segment);
        if (batch === null) continue;
        yield { segment, batch };
        again.push(segment);
      }
      grown = again;
    }
  }

  #discover(): void {
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

  #add(sensor: string, name: string): void {
    const path = join(this.#directory, sensor, name);
    if (this.#segments.has(path)) return;
    const prefix = parseSegmentName(name)?.prefix;
    if (prefix === undefined) return;
    if (this.#segments.size >= SEGMENTS_MAX) {
      this.counters.segmentsIgnored++;
      if (!this.#isFullTold) this.#events.tooManySegments(SEGMENTS_MAX);
      this.#isFullTold = true;
      return;
    }
    this.counters.segments++;
    this.#segments.set(path, {
      sensor,
      prefix,
      path,
      follower: new SegmentFollower(path, this.#buffer),
      bytesSeen: 0,
      cutsTold: 0,
    });
  }

  #hasGrown(segment: Followed): boolean {
    const size = statSync(segment.path, { throwIfNoEntry: false })?.size;
    if (size === undefined) {
      // Deleted by retention or by hand: what was read of it stays counted.
      this.#segments.delete(segment.path);
      this.counters.segmentsGone++;
      return false;
    }
    if (size === segment.bytesSeen) return false;
    segment.bytesSeen = size;
    return segment.follower.damage === null;
  }

  #read(segment: Followed): Batch | null {
    const { follower } = segment;
    let batch: Batch | null = null;
    try {
      batch = follower.read();
    } catch (error) {
      this.#events.unreadable(segment.path, error);
    }
    if (follower.cuts > segment.cutsTold) {
      segment.cutsTold = follower.cuts;
      this.counters.segmentsCut++;
      this.#events.segmentCut(segment);
    }
    if (follower.damage !== null && batch === null) {
      this.counters.segmentsDamaged++;
      this.#events.segmentDamaged(segment, follower.damage);
    }
    return batch;
  }
}
