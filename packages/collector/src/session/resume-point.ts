/**
 * What a sensor's store must remember to survive a kill: up to which sequence its archive is durable, and how long the
 * archive's files were at that moment. Everything beyond those lengths is undone by the next start, and asked for again.
 *
 *   .tapline-resume.json    the resume point: written beside, synced, renamed over. Generation n.
 *   .tapline-opened.<n>     segments opened for appending after generation n was drawn up, one JSON line each:
 *                           ["10.0.0.1_20260101_00.pcap", length before the append]. Most generations have none.
 *
 * A segment may be appended to that the resume point does not list; then it stands in a journal of its generation or of a
 * later one whose resume point was never published. So a load takes the resume point n and all journals from n on,
 * and of each name the first length it meets.
 *
 * The journal is handed to the kernel before the append, which is enough for any death of the process. It is not synced:
 * after a power failure a segment opened within the last commit interval may keep records that are then sent again.
 */
import { z } from 'zod';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import type { SegmentPosition } from '@tapline/shared/archive/truncate-segments.ts';
import type { Files } from '@tapline/shared/system/files.ts';
import { readSmallFile } from '@tapline/shared/system/replace-file.ts';

export const RESUME_NAME = '.tapline-resume.json';
const JOURNAL_PREFIX = '.tapline-opened.';
const BYTES_MAX = 64 * 1024 * 1024;

/** How far one epoch of a sensor is durable. */
export interface EpochMark {
  readonly epoch: string;
  readonly sequence: number;
  /** Of an epoch that came one way: what its frames up to `sequence` stood for, so that the next gap is exact. */
  readonly oneWay?: OneWayProgress | undefined;
}

export interface OneWayProgress {
  /** The key it was sealed with; 0: none. */
  readonly keyId: number;
  readonly packets: number;
  /** Captured bytes. */
  readonly bytes: number;
  /** Latest packet time, nanoseconds since 1970 UTC as text. */
  readonly newestNs: string;
}

export interface ResumePoint {
  /** Newest first. */
  readonly epochs: readonly EpochMark[];
  readonly positions: readonly SegmentPosition[];
  /** Length of the gap list. */
  readonly gapBytes: number;
}

const count = z.int().nonnegative();
const oneWay = z.object({
  keyId: count,
  packets: count,
  bytes: count,
  newestNs: z.string().regex(/^\d{1,20}$/),
});
const stored = z.object({
  version: z.literal(1),
  generation: count,
  epochs: z.array(
    z.object({
      epoch: z.string().regex(/^[0-9a-f]{16}$/),
      sequence: count,
      oneWay: oneWay.optional(),
    }),
  ),
  positions: z.array(z.tuple([z.string(), count])),
  gapBytes: count,
});
const journalLine = z.tuple([z.string(), count]);

export class ResumePointFile {
  readonly #files: Files;
  readonly #directory: string;
  #generation = 0;
  #journal: { path: string; descriptor: number; bytes: number } | null = null;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  /** `null` when there is none: a new sensor. Throws ARCHIVE_FAILED when it cannot be read or understood. */
  load(): ResumePoint | null {
    try {
      const text = this.#read(`${this.#directory}/${RESUME_NAME}`);
      const point = text === null ? null : stored.parse(JSON.parse(text));
      const generation = point?.generation ?? 0;
      const positions = new Map<string, number>(point?.positions);
      for (const journal of this.#journalsFrom(generation)) {
        // One beyond: nothing is ever appended to a journal whose last line may be torn.
        this.#generation = journal + 1;
        this.#mergeJournal(journal, positions);
      }
      this.#generation = Math.max(this.#generation, generation);
      if (point === null && positions.size === 0) return null;
      return {
        epochs: point?.epochs ?? [],
        positions: [...positions].map(([name, bytes]) => ({ name, bytes })),
        gapBytes: point?.gapBytes ?? 0,
      };
    } catch (error) {
      const path = `${this.#directory}/${RESUME_NAME}`;
      throw new OperatingError(
        'ARCHIVE_FAILED',
        `the resume point ${path} cannot be used: ${messageOf(error)}`,
        { path },
        error,
      );
    }
  }

  /** Notes that a segment, `bytes` long, is about to be appended to. Throws what the disk throws. */
  noteOpened(name: string, bytes: number): void {
    this.#journal ??= this.#createJournal();
    const line = Buffer.from(`${JSON.stringify([name, bytes])}\n`);
    this.#writeAll(this.#journal.descriptor, line, this.#journal.bytes);
    this.#journal.bytes += line.byteLength;
  }

  /**
   * Makes the resume point durable. `point` is complete for this moment: what is noted from now on belongs to the next
   * journal. Rejects with what the disk says; then the one before still holds.
   */
  async save(point: ResumePoint): Promise<void> {
    const directory = this.#directory;
    // A number is never used twice, even when saving fails: a stale journal could otherwise meet a newer point.
    const generation = ++this.#generation;
    this.#closeJournal();
    const text = JSON.stringify({
      version: 1,
      generation,
      epochs: point.epochs,
      positions: point.positions.map(({ name, bytes }) => [name, bytes]),
      gapBytes: point.gapBytes,
    });
    const hidden = `${directory}/${RESUME_NAME}.new`;
    this.#writeNew(hidden, Buffer.from(text));
    await this.#files.sync(hidden);
    this.#files.rename(hidden, `${directory}/${RESUME_NAME}`);
    await this.#files.syncDirectory(directory);
    for (const journal of this.#journalsFrom(0))
      if (journal < generation) this.#files.remove(this.#journalPath(journal));
  }

  close(): void {
    this.#closeJournal();
  }

  #journalPath(generation: number): string {
    return `${this.#directory}/${JOURNAL_PREFIX}${String(generation)}`;
  }

  #createJournal(): { path: string; descriptor: number; bytes: number } {
    const path = this.#journalPath(this.#generation);
    if (this.#files.status(path) === null) return { path, descriptor: this.#files.create(path), bytes: 0 };
    const descriptor = this.#files.open(path);
    return { path, descriptor, bytes: this.#files.byteLength(descriptor) };
  }

  #closeJournal(): void {
    if (this.#journal === null) return;
    this.#files.close(this.#journal.descriptor);
    this.#journal = null;
  }

  #journalsFrom(generation: number): number[] {
    return this.#files
      .list(this.#directory)
      .filter((name) => name.startsWith(JOURNAL_PREFIX))
      .map((name) => Number(name.slice(JOURNAL_PREFIX.length)))
      .filter((number) => Number.isSafeInteger(number) && number >= generation)
      .sort((a, b) => a - b);
  }

  #mergeJournal(generation: number, positions: Map<string, number>): void {
    const lines = (this.#read(this.#journalPath(generation)) ?? '').split('\n');
    // What follows the last line end was being written when the process died: its append never began.
    lines.pop();
    for (const line of lines) {
      const [name, bytes] = journalLine.parse(JSON.parse(line));
      if (!positions.has(name)) positions.set(name, bytes);
    }
  }

  #read(path: string): string | null {
    return readSmallFile(this.#files, path, BYTES_MAX);
  }

  #writeNew(path: string, bytes: Uint8Array): void {
    if (this.#files.status(path) !== null) this.#files.remove(path);
    const descriptor = this.#files.create(path);
    try {
      this.#writeAll(descriptor, bytes, 0);
    } finally {
      this.#files.close(descriptor);
    }
  }

  #writeAll(descriptor: number, bytes: Uint8Array, position: number): void {
    let offset = 0;
    while (offset < bytes.byteLength)
      offset += this.#files.write(descriptor, bytes, offset, bytes.byteLength - offset, position + offset);
  }
}
