/**
 * When the next checkpoint is due: after the interval, and later where one takes long, so that never more than SHARE_MAX of the time goes into them.
 * One at a time: while one is taken down or the disk is still busy with it, packets go on and the next waits.
 *
 * A checkpoint is of one moment. What it says of the whole is taken down at once; the parts (one a sensor) follow in turns, so that a thousand sensors do
 * not stand still for seconds. What must stay true: a part is taken down before it changes; who is about to change one calls `secure` first.
 */
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { errnoOf, type Files } from '@tapline/shared/system/files.ts';
import {
  CheckpointDraft,
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
/** Taking down goes on for so long before others have their turn; a part that takes longer is not cut. */
const TURN_MS = 10;

/** What has a state of its own. */
export interface CheckpointPart {
  /** Plain data, not to be changed by what comes. */
  snapshot(): unknown;
}

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
  #writing: Promise<void> | null = null;
  #draft: CheckpointDraft | null = null;
  /** Parts that the draft still has to take down. */
  #parts = new Set<CheckpointPart>();
  #tookMs = 0;

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
   * Takes down `whole` now and `parts` by and by, then writes it all; `written` is called when it is on the disk (true) or failed (false).
   * Resolves then, too; nobody needs to wait for it.
   */
  take(
    rulesHash: Buffer,
    whole: unknown,
    parts: Iterable<CheckpointPart>,
    written: (isOnDisk: boolean) => void,
  ): Promise<void> {
    const draft = new CheckpointDraft();
    this.#draft = draft;
    this.#parts = new Set(parts);
    this.#tookMs = 0;
    this.#add(() => whole);
    this.#writing = this.#complete(draft, rulesHash).then((isOnDisk) => {
      this.#writing = null;
      written(isOnDisk);
    });
    return this.#writing;
  }

  /** Whether the part has not been taken down yet: it may not change before it is secured. */
  awaits(part: CheckpointPart): boolean {
    return this.#parts.has(part);
  }

  /** Takes the part down now if the checkpoint under way still has to. */
  secure(part: CheckpointPart): void {
    if (this.#parts.delete(part)) this.#add(() => part.snapshot());
  }

  /** The same of every part. */
  secureAll(): void {
    for (const part of this.#parts) this.secure(part);
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

  #add(section: () => unknown): void {
    const { monotonicMs } = this.#dependencies;
    const startMs = monotonicMs();
    try {
      this.#draft?.add(section());
    } catch (error) {
      this.#draft = null;
      this.#parts.clear();
      this.#fail(error);
    }
    this.#tookMs += monotonicMs() - startMs;
  }

  /** The rest of the parts, and the file. */
  async #complete(draft: CheckpointDraft, rulesHash: Buffer): Promise<boolean> {
    const { monotonicMs } = this.#dependencies;
    let turnedMs = monotonicMs();
    for (const part of this.#parts) {
      this.secure(part);
      if (monotonicMs() - turnedMs < TURN_MS) continue;
      await turn();
      turnedMs = monotonicMs();
    }
    const encoded = this.#draft === draft ? draft.finish(rulesHash) : null;
    this.#draft = null;
    // And what the writes into the page cache will take.
    const tookMs = this.#tookMs + (encoded?.byteLength ?? 0) / WRITTEN_BYTES_PER_MS;
    this.counters.encodeMillisecondsNow = Math.round(tookMs);
    this.#dueMs = monotonicMs() + Math.max(this.#intervalMs, tookMs / SHARE_MAX - tookMs);
    return encoded !== null && (await this.#write(encoded));
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
