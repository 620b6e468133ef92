/**
 * An output of alerts. What must stay true of each:
 * - `publish` never waits for anybody and never throws: what cannot go out now is queued, the queue is bounded, and what falls out of it is counted;
 * - a failing output tries again with growing delays, and knows nothing of the others;
 * - `oldestPending` is never beyond what was handed over: after a restart the publisher begins there again, so a reader may see a telling twice
 *   (`sequence` tells), but misses none that was not counted.
 */
import type { RetryOptions } from '@tapline/shared/base/retry-schedule.ts';
import type { AlertRecord } from './alert-record.ts';
import type { Health } from './health.ts';

/** × about 4 KiB = 40 MiB for an output that is away. */
export const SINK_QUEUE_MAX = 10_000;
export const SINK_RETRY: RetryOptions = { firstMs: 1000, capMs: 60_000 };

export interface SinkCounters {
  published: number;
  /** Given up: the queue was full, or the other side will not have them. */
  dropped: number;
  /** Attempts that failed. */
  failed: number;
}

export interface Sink {
  readonly name: string;
  readonly counters: SinkCounters;
  /** Sequence of the first telling that was neither delivered nor dropped; null when there is none. */
  readonly oldestPending: number | null;
  /** Tellings that wait. */
  readonly queued: number;
  publish(records: readonly AlertRecord[]): void;
  /** How the daemon is, for outputs that tell it. */
  health?(health: Health): void;
  /** Opens files anew, reads tokens and lists again. */
  reopen?(): void;
  /** Gives what is queued until the deadline, then lets go. */
  close(deadlineMs: number): Promise<void>;
}

export interface SinkEvents {
  failed(failure: { readonly sink: string; readonly message: string; readonly retryMs: number }): void;
  recovered(recovery: { readonly sink: string }): void;
  dropped(loss: { readonly sink: string; readonly tellings: number; readonly reason: string }): void;
}

/** Tellings that wait, the oldest first. When it is full, the oldest go: a SOC that comes back wants to know what is, and the store knows the rest. */
export class SinkQueue {
  readonly #max: number;
  #records: AlertRecord[] = [];
  /** Delivered ones at the front that were not cut off yet. */
  #start = 0;

  constructor(max = SINK_QUEUE_MAX) {
    this.#max = max;
  }

  get length(): number {
    return this.#records.length - this.#start;
  }

  get oldest(): number | null {
    return this.#records[this.#start]?.sequence ?? null;
  }

  /** How many had to go. */
  push(records: readonly AlertRecord[]): number {
    for (const record of records) this.#records.push(record);
    const excess = Math.max(0, this.length - this.#max);
    this.shift(excess);
    return excess;
  }

  peek(count: number): AlertRecord[] {
    return this.#records.slice(this.#start, this.#start + count);
  }

  /** Takes the first away. */
  shift(count: number): void {
    this.#start += count;
    if (this.#start < 1024 && this.#start < this.#records.length) return;
    this.#records.splice(0, this.#start);
    this.#start = 0;
  }

  /** Takes away what is not beyond a sequence: after an await, the front may have moved. */
  shiftThrough(sequence: number): number {
    let count = 0;
    while (count < this.length && (this.#records[this.#start + count]?.sequence ?? 0) <= sequence) count++;
    this.shift(count);
    return count;
  }
}
