/**
 * When to make things durable. A sync costs the disk a few milliseconds whether it covers one batch or a hundred, so
 * batches share one: at most `intervalMs` after the first of them, sooner when they are many, one commit at a time.
 * When commits cannot keep up, or fail, `isOverloaded` says that no more should be read.
 */
import { assert } from '@tapline/shared/base/assert.ts';
import { messageOf } from '@tapline/shared/base/errors.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';

export interface GroupCommitOptions {
  /** Longest wait of a batch for its commit to begin. */
  readonly intervalMs: number;
  /** So many plain bytes start a commit at once. */
  readonly bytesMax: number;
  /** So many plain bytes may be uncommitted before reading stops. */
  readonly uncommittedBytesMax: number;
  /** Shared by all sensors: who has something uncommitted stops reading while it is used up. */
  readonly budget: CommitBudget;
}

export interface CommitBudget {
  bytes: number;
  readonly bytesMax: number;
}

export interface GroupCommitHandlers {
  /** Makes durable what there is at the moment of the call. */
  commit(): Promise<void>;
  /** A commit was done: acknowledge, and read on. */
  committed(): void;
  /** It will be tried again. */
  failed(failure: { readonly message: string; readonly retryMs: number }): void;
}

const RETRY_MS = 1000;

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  readonly #clock: TunnelClock;
  readonly #handlers: GroupCommitHandlers;
  #bytes = 0;
  #isDirty = false;
  #isRunning = false;
  #isStopped = false;
  #dueAtMs = Infinity;
  #cancel: () => void = () => undefined;
  #waiting: (() => void)[] = [];
  #running: Promise<void> = Promise.resolve();

  constructor(options: GroupCommitOptions, clock: TunnelClock, handlers: GroupCommitHandlers) {
    this.#options = options;
    this.#clock = clock;
    this.#handlers = handlers;
  }

  get isOverloaded(): boolean {
    const { uncommittedBytesMax, budget } = this.#options;
    return this.#bytes >= uncommittedBytesMax || (this.#bytes > 0 && budget.bytes >= budget.bytesMax);
  }

  /** Something that takes `bytes` of memory or disk waits for the next commit. */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#options.budget.bytes += bytes;
    this.#isDirty = true;
    this.#schedule(this.#bytes >= this.#options.bytesMax ? 0 : this.#options.intervalMs);
  }

  /** Resolves when everything added so far is durable, which it begins to make it at once; never on a dead disk. */
  now(): Promise<void> {
    if (!this.#isDirty && !this.#isRunning) return Promise.resolve();
    this.#schedule(0);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** No commit begins after this; resolves when the running one, if any, has settled. */
  stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel();
    return this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#isRunning || this.#isStopped) return;
    const dueAtMs = this.#clock.monotonicMs() + delayMs;
    if (dueAtMs >= this.#dueAtMs) return;
    this.#cancel();
    this.#dueAtMs = dueAtMs;
    // Never straight from `add`: the store wants a turn of its own, in which nothing else is written.
    this.#cancel = this.#clock.after(delayMs, () => {
      this.#running = this.#run();
    });
  }

  async #run(): Promise<void> {
    assert(!this.#isRunning, 'two commits at once');
    this.#isRunning = true;
    this.#dueAtMs = Infinity;
    this.#isDirty = false;
    const bytes = this.#bytes;
    const waiting = this.#waiting;
    this.#waiting = [];
    let retryMs: number | null = null;
    try {
      await this.#handlers.commit();
    } catch (error) {
      retryMs = RETRY_MS;
      this.#isDirty = true;
      this.#waiting = [...waiting, ...this.#waiting];
      this.#handlers.failed({ message: messageOf(error), retryMs });
    }
    this.#isRunning = false;
    if (retryMs === null) {
      this.#bytes -= bytes;
      this.#options.budget.bytes -= bytes;
      this.#handlers.committed();
      for (const resolve of waiting) resolve();
    }
    if (!this.#isDirty) {
      // Who asked while the commit ran, and added nothing since: it was theirs as well.
      for (const resolve of this.#waiting.splice(0)) resolve();
      return;
    }
    const urgent = this.#waiting.length > 0 || this.#bytes >= this.#options.bytesMax;
    this.#schedule(retryMs ?? (urgent ? 0 : this.#options.intervalMs));
  }
}
