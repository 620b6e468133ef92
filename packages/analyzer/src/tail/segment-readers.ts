/**
 * Reads what is new in segments: plain ones where they are written, into one buffer for all, packed and foreign ones through readers that stay open as
 * long as there is room. What must stay true: `segment` says how far it was read, so that its reader can be closed at any time; it is then passed over
 * again up to there.
 */
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { CaptureReader } from './capture-reader.ts';
import type { Followed } from './followed-segment.ts';
import { SegmentFollower, createReadBuffer } from './segment-follower.ts';

/** Packed captures that are open at a time, × about 2 MiB of windows. */
const READERS_MAX = 64;

export interface ReaderEvents {
  segmentCut(segment: Followed): void;
  unreadable(path: string, error: unknown): void;
}

export class SegmentReaders {
  readonly #readersMax: number;
  readonly #events: ReaderEvents;
  readonly #buffer = createReadBuffer();
  /** Whose readers are open, in the order in which they were used. */
  readonly #readers = new Set<Followed>();

  constructor(events: ReaderEvents, readersMax = READERS_MAX) {
    this.#events = events;
    this.#readersMax = readersMax;
  }

  /** Some of what the segment, which is plain, has grown by since: at most up to where its turn ends. Null: nothing more for now. */
  follow(segment: Followed, bytesMax: number): Batch | null {
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
      this.#events.segmentCut(segment);
    }
    const { offset, number, seconds, nanoseconds, damage } = follower;
    Object.assign(segment, { offset, number, damage });
    if (batch !== null) Object.assign(segment, { seconds, nanoseconds });
    return batch;
  }

  /** Some of a capture that is read from its beginning; null at its end, as it is now. */
  async readCapture(segment: Followed, bytesMax: number): Promise<Batch | null> {
    const reader = (segment.reader ??= new CaptureReader(segment.path, segment.number));
    // To the end of the order, as the one that was used last.
    this.#readers.delete(segment);
    this.#readers.add(segment);
    for (const oldest of this.#readers) {
      if (this.#readers.size <= this.#readersMax) break;
      await this.close(oldest);
    }
    const batch = await reader.read(bytesMax);
    const { number, seconds, nanoseconds, damage } = reader;
    segment.damage = damage;
    if (batch === null) {
      segment.isRead = true;
      await this.close(segment);
      return null;
    }
    const offset = reader.hasOffsets ? reader.offset : -1;
    Object.assign(segment, { offset, number, seconds, nanoseconds });
    return batch;
  }

  /** Lets go of what is open of the segment. */
  async close(segment: Followed): Promise<void> {
    const { reader } = segment;
    segment.reader = null;
    this.#readers.delete(segment);
    await reader?.close();
  }

  async closeAll(): Promise<void> {
    for (const segment of this.#readers) await this.close(segment);
  }
}
