/**
 * Many capture files as one stream in order of time: a k-way merge by the first packet that each file has left. What comes out are runs: consecutive
 * records of one file, up to where another file's packet is older. A file is opened when its first packet is due and closed at its end, so an archive of
 * many hours has one hour's files open. Inside a file the order is the file's own.
 */
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import {
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  readU32,
} from '@tapline/shared/packet/record.ts';
import { FILE_HEADER_BYTES } from '@tapline/shared/pcap/format.ts';
import { isStream, openStream } from './input-files.ts';
import { openCapture, type CaptureFile } from '@tapline/shared/pcap/capture-file.ts';
import { TimeHeap } from '../tail/time-heap.ts';

/** Consecutive records of one file, lent until the next run is asked for. */
export interface Run {
  /** Index into the list of files. */
  readonly file: number;
  readonly bytes: Uint8Array;
  /** The records are `bytes[from, to)`. */
  readonly from: number;
  readonly to: number;
  readonly linkType: number;
  /** Of the first record: 1 is the file's first. */
  readonly number: number;
  /** Of the first record in the plain file, -1 where the container has no fixed records. */
  readonly offset: number;
}

export interface MergeEvents {
  /** Damage: what came before it was handed out. */
  damaged(path: string, reason: string): void;
  /** `share` of all input read, 0 to 1. */
  progress(share: number): void;
}

class Reader {
  readonly file: number;
  readonly path: string;
  /** Time of the next packet, in nanoseconds as seconds × 1e9 and the rest apart. */
  seconds = 0;
  nanoseconds = 0;
  readBytes = 0;
  #capture: CaptureFile | null = null;
  #batches: AsyncIterator<Batch> | null = null;
  #batch: Batch | null = null;
  #at = 0;
  #number = 1;
  #offset = FILE_HEADER_BYTES;

  constructor(file: number, path: string) {
    this.file = file;
    this.path = path;
  }

  get inputBytes(): number {
    return this.#capture?.inputBytes ?? this.readBytes;
  }

  /** Opens the file and stands on its first packet; false for one without packets. */
  async open(): Promise<boolean> {
    this.#capture = isStream(this.path)
      ? await openCapture(this.path, { stream: await openStream(this.path) })
      : await openCapture(this.path);
    this.#batches = this.#capture.batches()[Symbol.asyncIterator]();
    return this.#next();
  }

  /** Closes it again until it is due: only its first packet's time is kept. */
  async park(): Promise<void> {
    await this.close();
    this.#capture = null;
    this.#batches = null;
    this.#batch = null;
  }

  get isParked(): boolean {
    return this.#capture === null;
  }

  /** Records up to the first that belongs behind the other reader's (at least one), and stands behind them. */
  take(other: Reader | undefined): Run {
    const limitSeconds = other?.seconds ?? Infinity;
    const limitNanoseconds = other?.nanoseconds ?? 0;
    const isFirst = other === undefined || this.path < other.path;
    const batch = this.#batch as Batch;
    const from = this.#at;
    let at = from;
    let count = 0;
    while (at < batch.byteLength) {
      const seconds = readU32(batch.bytes, at);
      const nanoseconds = readU32(batch.bytes, at + RECORD_NANOSECONDS);
      if (
        count > 0 &&
        (seconds > limitSeconds ||
          (seconds === limitSeconds &&
            (nanoseconds > limitNanoseconds || (nanoseconds === limitNanoseconds && !isFirst))))
      )
        break;
      at += RECORD_HEADER_BYTES + readU32(batch.bytes, at + RECORD_CAPTURED_BYTES);
      count++;
    }
    const isClassic = this.#capture?.format === 'pcap';
    const run = {
      file: this.file,
      bytes: batch.bytes,
      from,
      to: at,
      linkType: batch.linkType,
      number: this.#number,
      offset: isClassic ? this.#offset : -1,
    };
    this.#at = at;
    this.#number += count;
    this.#offset += at - from;
    return run;
  }

  /** Stands on the next packet; false at the end. */
  advance(): boolean | Promise<boolean> {
    if (this.#batch !== null && this.#at < this.#batch.byteLength) {
      this.#readTime();
      return true;
    }
    return this.#next();
  }

  async close(): Promise<void> {
    this.readBytes = this.#capture?.inputBytes ?? this.readBytes;
    await this.#capture?.close();
  }

  async #next(): Promise<boolean> {
    for (;;) {
      const result = await this.#batches?.next();
      if (result === undefined || result.done === true) return false;
      this.#batch = result.value;
      this.#at = 0;
      if (this.#batch.byteLength > 0) {
        this.#readTime();
        return true;
      }
    }
  }

  #readTime(): void {
    const { bytes } = this.#batch as Batch;
    this.seconds = readU32(bytes, this.#at);
    this.nanoseconds = readU32(bytes, this.#at + RECORD_NANOSECONDS);
  }
}

/** Files beyond this are closed again after their first packet was seen, until they are due. */
const OPEN_FILES_MAX = 64;

/** The packets of all files, by time; equal times by path. `totalBytes`: of all files, for the progress. `signal` ends it, also while it waits for a silent pipe. */
export async function* mergeCaptures(
  paths: readonly string[],
  totalBytes: number,
  events: MergeEvents,
  signal?: AbortSignal,
): AsyncGenerator<Run> {
  const heap = new TimeHeap<Reader>();
  let isStopped = false;
  const onAbort = (): void => {
    isStopped = true;
    for (const reader of heap) reader.close().catch(() => undefined);
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  let readBytes = 0;
  for (const [file, path] of paths.entries()) {
    const reader = new Reader(file, path);
    try {
      const hasPackets = await reader.open();
      if (hasPackets) heap.push(reader);
      else await reader.close();
      if (hasPackets && paths.length > OPEN_FILES_MAX && path !== '-' && !isStream(path)) await reader.park();
      else readBytes += reader.inputBytes;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      events.damaged(path, messageOf(error));
    }
  }
  try {
    for (let first = heap.first; first !== undefined && !isStopped; first = heap.first) {
      const before = first.isParked ? 0 : first.inputBytes;
      let hasMore = false;
      try {
        if (first.isParked) await first.open();
        yield first.take(heap.second);
        const advanced = first.advance();
        hasMore = typeof advanced === 'boolean' ? advanced : await advanced;
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        if (!isStopped) events.damaged(first.path, messageOf(error));
      }
      if (hasMore) heap.settle();
      else {
        heap.pop();
        await first.close();
      }
      if (first.inputBytes === before) continue;
      readBytes += first.inputBytes - before;
      events.progress(totalBytes === 0 ? 0 : Math.min(1, readBytes / totalBytes));
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    for (const reader of heap) await reader.close();
  }
}
