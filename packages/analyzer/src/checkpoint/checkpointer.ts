/**
 * When the next checkpoint is due: after the interval, and later where one takes long, so that never more than SHARE_MAX of the time goes into them.
 * One at a time: while the disk is still busy with one, packets go on and the next waits.
 */
import { join } from 'node:path';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { errnoOf, type Files } from '@tapline/shared/system/files.ts';
import {
  encodeCheckpoint,
  readCheckpoint,
  writeCheckpoint,
  type DecodedCheckpoint,
  type EncodedCheckpoint,
} from './checkpoint.ts';

const NAME = 'analyzer.checkpoint';
const LOCK_NAME = '.tapline-analyzer';
/** Of the time, for what nothing else can be done in. */
const SHARE_MAX = 0.05;
const WRITTEN_BYTES_PER_MS = 1_000_000;

export interface CheckpointEvents {
  failed(path: string, error: unknown): void;
}

export interface CheckpointDependencies {
  readonly files: Files;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs: () => number;
}

export class Checkpointer {
  readonly counters = { written: 0, failed: 0, bytesNow: 0, encodeMillisecondsNow: 0 };
  readonly path: string;
  readonly #intervalMs: number;
  readonly #events: CheckpointEvents;
  readonly #dependencies: CheckpointDependencies;
  readonly #lock: number;
  #dueMs: number;
  #writing: Promise<boolean> | null = null;

  /** Throws ARCHIVE_FAILED when the directory cannot be used, or another analyzer uses it. */
  constructor(
    directory: string,
    intervalMs: number,
    events: CheckpointEvents,
    dependencies: CheckpointDependencies,
  ) {
    this.path = join(directory, NAME);
    this.#intervalMs = intervalMs;
    this.#events = events;
    this.#dependencies = dependencies;
    this.#dueMs = dependencies.monotonicMs() + intervalMs;
    this.#lock = lock(dependencies.files, directory);
  }

  /** The last one; null when there is none. */
  read(): DecodedCheckpoint | null {
    return readCheckpoint(this.#dependencies.files, this.path);
  }

  get isDue(): boolean {
    return this.#writing === null && this.#dependencies.monotonicMs() >= this.#dueMs;
  }

  /** The next is due at once. */
  hasten(): void {
    this.#dueMs = 0;
  }

  /**
   * Takes down what `sections` gives now and begins to write it; `written` is called when it is on the disk (true) or failed (false).
   * Resolves then, too; nobody needs to wait for it.
   */
  take(rulesHash: Buffer, sections: Iterable<unknown>, written: (isOnDisk: boolean) => void): Promise<void> {
    const { monotonicMs } = this.#dependencies;
    const startMs = monotonicMs();
    let encoded: EncodedCheckpoint | null = null;
    let problem: unknown;
    try {
      encoded = encodeCheckpoint(rulesHash, sections);
    } catch (error) {
      problem = error;
    }
    // And what the writes into the page cache will take.
    const tookMs = monotonicMs() - startMs + (encoded?.byteLength ?? 0) / WRITTEN_BYTES_PER_MS;
    this.counters.encodeMillisecondsNow = Math.round(tookMs);
    this.#dueMs = monotonicMs() + Math.max(this.#intervalMs, tookMs / SHARE_MAX - tookMs);
    const writing = encoded === null ? Promise.resolve(this.#fail(problem)) : this.#write(encoded);
    this.#writing = writing;
    return writing.then((isOnDisk) => {
      this.#writing = null;
      written(isOnDisk);
    });
  }

  /** Until the one that is under way is over. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Takes the checkpoint away: everything was read, and the next run begins anew. */
  async remove(): Promise<void> {
    const { files } = this.#dependencies;
    if (files.exists(this.path)) files.remove(this.path);
    await files.syncDirectory(join(this.path, '..'));
  }

  close(): void {
    this.#dependencies.files.close(this.#lock);
  }

  async #write(encoded: EncodedCheckpoint): Promise<boolean> {
    try {
      await writeCheckpoint(this.#dependencies.files, this.path, encoded);
    } catch (error) {
      return this.#fail(error);
    }
    this.counters.written++;
    this.counters.bytesNow = encoded.byteLength;
    return true;
  }

  #fail(error: unknown): false {
    this.counters.failed++;
    this.#events.failed(this.path, error);
    return false;
  }
}

function lock(files: Files, directory: string): number {
  let descriptor: number;
  try {
    files.makeDirectory(directory);
    descriptor = files.lock(join(directory, LOCK_NAME));
  } catch (error) {
    throw new OperatingError('ARCHIVE_FAILED', `cannot use ${directory}: ${messageOf(error)}`, { directory, errno: errnoOf(error) }, error); // prettier-ignore
  }
  if (descriptor < 0)
    throw new OperatingError('ARCHIVE_FAILED', `another analyzer keeps its state in ${directory}: give each a directory of its own`, { directory }); // prettier-ignore
  return descriptor;
}
