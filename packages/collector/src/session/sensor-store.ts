/**
 * Where a sensor's packets go and how they become durable: the sink of a session, and the one that stands before an
 * archive. The rule the acknowledgements rest on: when `commit(marks)` resolves, everything written before the call
 * survives any crash, and a crash at any moment leaves exactly what the last resolved commit's marks say.
 */
import { assert } from '@tapline/shared/base/assert.ts';
import type { ArchiveEvents } from '@tapline/shared/archive/archive-options.ts';
import { pathOfPosition, type ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import type { TruncateReport } from '@tapline/shared/archive/truncate-segments.ts';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import type { Files } from '@tapline/shared/system/files.ts';
import { ArchiveSize } from './archive-size.ts';
import { GapList, type GapEntry } from './gap-list.ts';
import { ResumePointFile, type EpochMark } from './resume-point.ts';

export interface SensorStore {
  /** What was durable when the store was opened, the newest epoch first. */
  readonly marks: readonly EpochMark[];
  /** Takes a copy. Never throws for what the batch holds. */
  write(batch: Batch): void;
  writeGap(gap: GapEntry): void;
  /**
   * Makes all that was written durable, together with the marks. Not called again before it settled, and only with
   * nothing else to do in the same turn: the archive takes its snapshot in the next microtask. A rejected commit is
   * repeated by the caller, with newer marks; nothing is lost by it.
   */
  commit(marks: readonly EpochMark[]): Promise<void>;
  /** Bytes of its segments; reckoned, and measured anew when `isAnew`. */
  diskBytes(isAnew: boolean): number;
  /** What they may be. */
  readonly diskBytesMax: number;
  /** Lets go of the files. What was not committed is void. */
  close(): Promise<void>;
}

export interface ArchiveStoreEvents {
  /** A crash was undone: the archive was cut back to its resume point. */
  cutBack?(report: TruncateReport): void;
  /** A segment is final: closed, and committed as it is. */
  finished?(name: string): void;
  /** An opened segment could not be noted; a crash before the next commit may leave packets twice. */
  journalFailed?(failure: { readonly name: string; readonly message: string }): void;
}

export interface ArchiveStoreOptions {
  readonly directory: string;
  /** What its segments may take; absent: no limit. */
  readonly bytesMax?: number | undefined;
}

export interface ArchiveStoreDependencies {
  readonly files: Files;
  readonly events: ArchiveStoreEvents;
  /** Told of each batch that was written, lent: after the archive has it. */
  readonly written?: (batch: Batch) => void;
  /** Builds the archives of that sensor, the first in that directory; they must be given these events beside the caller's own. */
  readonly createArchives: (events: ArchiveEvents) => ArchiveSet;
}

export class ArchiveStore implements SensorStore {
  readonly archives: ArchiveSet;
  readonly #directory: string;
  readonly #files: Files;
  readonly #events: ArchiveStoreEvents;
  readonly #written: ((batch: Batch) => void) | undefined;
  readonly #resume: ResumePointFile;
  readonly #gaps: GapList;
  readonly #size: ArchiveSize;
  #marks: readonly EpochMark[] = [];
  /** Lengths to go back to, of all segments that were appended to since the last commit or may be without a note. */
  readonly #lengths = new Map<string, number>();
  /** Closed since the last commit began, with their lengths. */
  #closed = new Map<string, number>();
  #isSealing = false;
  /** The lengths are those of a resume point that is on the disk. */
  #areLengthsDurable = true;

  private constructor(options: ArchiveStoreOptions, dependencies: ArchiveStoreDependencies) {
    this.#directory = options.directory;
    this.#files = dependencies.files;
    this.#events = dependencies.events;
    this.#written = dependencies.written;
    this.#resume = new ResumePointFile(this.#files, this.#directory);
    this.#gaps = new GapList(this.#files, this.#directory);
    this.archives = dependencies.createArchives({
      segmentOpened: ({ name, bytes }) => {
        this.#opened(name, bytes);
      },
      segmentClosed: ({ name, bytes }) => {
        this.#closed.set(name, bytes);
        // Without traffic no commit follows: what is durable as it is needs none.
        if (this.#areLengthsDurable) this.#finish(this.#closed);
      },
    });
    this.#size = new ArchiveSize(this.archives, this.#files, options.bytesMax ?? Infinity);
  }

  /** Opens the archive and undoes what a crash left behind. Rejects with ARCHIVE_FAILED. */
  static async open(
    options: ArchiveStoreOptions,
    dependencies: ArchiveStoreDependencies,
  ): Promise<ArchiveStore> {
    const store = new ArchiveStore(options, dependencies);
    store.archives.open();
    try {
      await store.#recover();
      store.diskBytes(true);
      return store;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  get diskBytesMax(): number {
    return this.#size.diskBytesMax;
  }

  get marks(): readonly EpochMark[] {
    return this.#marks;
  }

  write(batch: Batch): void {
    assert(!this.#isSealing, 'a batch was written between a commit and its snapshot');
    this.archives.write(batch);
    this.#written?.(batch);
  }

  writeGap(gap: GapEntry): void {
    assert(!this.#isSealing, 'a gap was written between a commit and its snapshot');
    this.#gaps.add(gap);
  }

  async commit(marks: readonly EpochMark[]): Promise<void> {
    const synced = this.archives.sync();
    this.#isSealing = true;
    // The archives' own microtasks were queued first, so its snapshot is taken when this one runs.
    queueMicrotask(() => {
      this.#isSealing = false;
    });
    const closed = this.#closed;
    this.#closed = new Map();
    this.#areLengthsDurable = false;
    try {
      const [gapBytes] = await Promise.all([this.#gaps.write(), synced]);
      this.#refuseAfterLoss();
      for (const { name, bytes } of this.archives.positions()) this.#lengths.set(name, bytes);
      await this.#resume.save({ epochs: marks, positions: this.#positions(), gapBytes });
      this.#marks = marks;
    } catch (error) {
      for (const [name, bytes] of closed) this.#closed.set(name, bytes);
      throw error;
    }
    this.#areLengthsDurable = true;
    this.#finish(closed);
    this.#finish(this.#closed);
  }

  diskBytes(isAnew: boolean): number {
    return this.#size.diskBytes(isAnew);
  }

  /**
   * A packet that was accepted and then found no room in the archive must not be acknowledged, nor anything after it. Its
   * sensor still has it: at the next start the archive is cut back to the last commit, and it is sent again.
   */
  #refuseAfterLoss(): void {
    // A link type that no file can have would be none the better for coming again.
    const dropped = this.archives.packetsRefused;
    if (dropped > 0)
      throw new OperatingError(
        'ARCHIVE_FAILED',
        `${dropped} accepted packets found no room while the disk refused: restart the collector, and they are sent again`,
        { directory: this.#directory, dropped },
      );
  }

  async close(): Promise<void> {
    await this.archives.close();
    if (this.#areLengthsDurable) this.#finish(this.#closed);
    this.#resume.close();
    this.#gaps.close();
  }

  /** What was closed at its committed length is final. The others are undone by the next start. */
  #finish(closed: ReadonlyMap<string, number>): void {
    for (const [name, bytes] of closed) {
      if (this.#lengths.get(name) !== bytes) continue;
      this.#lengths.delete(name);
      this.#closed.delete(name);
      this.#events.finished?.(name);
    }
  }

  async #recover(): Promise<void> {
    const point = this.#resume.load();
    // Without a resume point nothing says where the list ended: all of it is kept.
    this.#gaps.open(point?.gapBytes ?? Infinity);
    if (point === null) return;
    this.#marks = point.epochs;
    const report = this.archives.truncateTo(point.positions);
    if (report.bytesCut > 0 || report.missing.length > 0 || report.short.length > 0)
      this.#events.cutBack?.(report);
    // From here on the archive as it lies there is the truth, also where it is not what the resume point says
    // (retention removed a segment, a disk lost some): later appends must not be cut by old lengths.
    const { members } = this.archives;
    for (const { name } of point.positions) await this.#files.sync(pathOfPosition(members, name));
    for (const { archive } of members) await this.#files.syncDirectory(archive.directory);
    await this.#resume.save({ epochs: point.epochs, positions: [], gapBytes: point.gapBytes });
  }

  #opened(name: string, bytes: number): void {
    if (this.#lengths.has(name)) return;
    this.#lengths.set(name, bytes);
    try {
      this.#resume.noteOpened(name, bytes);
    } catch (error) {
      this.#events.journalFailed?.({ name, message: messageOf(error) });
    }
  }

  #positions(): { name: string; bytes: number }[] {
    return [...this.#lengths].map(([name, bytes]) => ({ name, bytes }));
  }
}
