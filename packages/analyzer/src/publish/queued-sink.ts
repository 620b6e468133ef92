/**
 * The part that outputs have in common: a queue, one delivery at a time, growing delays after a failure, a bounded end. How a batch is delivered is the
 * courier's.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@tapline/shared/base/errors.ts';
import { RetrySchedule, type RetryOptions } from '@tapline/shared/base/retry-schedule.ts';
import type { AlertRecord } from './alert-record.ts';
import type { Health } from './health.ts';
import { SINK_QUEUE_MAX, SINK_RETRY, SinkQueue, type Sink, type SinkCounters, type SinkEvents } from './sink.ts'; // prettier-ignore

export interface Courier {
  readonly batchMax: number;
  /** Absent: tried for ever. Otherwise a batch is given up after so many attempts. */
  readonly attemptsMax?: number;
  /** Resolves when the other side has the batch; rejects when all of it must be tried again. */
  deliver(records: readonly AlertRecord[], signal: AbortSignal): Promise<void>;
  health?(health: Health): void;
  reopen?(): void;
  close(): Promise<void>;
}

/** The other side will not have this batch, now or later. */
export class RefusedError extends Error {}

export interface QueuedSinkOptions {
  readonly name: string;
  readonly queueMax?: number;
  readonly retry?: RetryOptions;
  readonly random?: () => number;
}

export class QueuedSink implements Sink {
  readonly name: string;
  readonly counters: SinkCounters = { published: 0, dropped: 0, failed: 0 };
  readonly #courier: Courier;
  readonly #events: SinkEvents;
  readonly #queue: SinkQueue;
  readonly #retry: RetrySchedule;
  readonly #abort = new AbortController();
  /** Behind a batch that could not be written: so many tellings go one at a time, to find the one. */
  #oneByOne = 0;
  #wake = new AbortController();
  #isClosing = false;
  #pumping: Promise<void> | null = null;

  constructor(options: QueuedSinkOptions, courier: Courier, events: SinkEvents) {
    this.name = options.name;
    this.#courier = courier;
    this.#events = events;
    this.#queue = new SinkQueue(options.queueMax ?? SINK_QUEUE_MAX);
    this.#retry = new RetrySchedule(options.retry ?? SINK_RETRY, options.random ?? Math.random);
  }

  get oldestPending(): number | null {
    return this.#queue.oldest;
  }

  get queued(): number {
    return this.#queue.length;
  }

  publish(records: readonly AlertRecord[]): void {
    const lost = this.#queue.push(records);
    if (lost > 0) this.#drop(lost, 'the queue is full');
    this.#start();
  }

  health(health: Health): void {
    try {
      this.#courier.health?.(health);
    } catch (error) {
      // The next one is on its way; alerts are what this output is for.
      this.counters.failed++;
      this.#events.failed({ sink: this.name, message: messageOf(error), retryMs: 0 });
    }
  }

  reopen(): void {
    this.#courier.reopen?.();
    this.#wake.abort();
  }

  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    this.#wake.abort();
    this.#start();
    const timer = setTimeout(() => {
      this.#abort.abort();
    }, deadlineMs);
    await this.#pumping;
    clearTimeout(timer);
    this.#abort.abort();
    await this.#courier.close();
  }

  #start(): void {
    this.#pumping ??= this.#pump().finally(() => {
      this.#pumping = null;
    });
  }

  async #pump(): Promise<void> {
    while (this.#queue.length > 0 && !this.#abort.signal.aborted) {
      const batch = this.#queue.peek(this.#oneByOne > 0 ? 1 : this.#courier.batchMax);
      try {
        await this.#courier.deliver(batch, this.#abort.signal);
        this.#delivered(batch);
      } catch (error) {
        if (!(await this.#survive(batch, error))) return;
      }
    }
  }

  #delivered(batch: readonly AlertRecord[]): void {
    if (this.#oneByOne > 0) this.#oneByOne--;
    // Not the batch's length: while it was under way the queue may have overflowed, and those were counted as dropped.
    this.counters.published += this.#queue.shiftThrough(batch.at(-1)?.sequence ?? 0);
    if (this.#retry.attempts > 0) this.#events.recovered({ sink: this.name });
    this.#retry.reset();
  }

  /** False: no more attempts before the end. */
  async #survive(batch: readonly AlertRecord[], error: unknown): Promise<boolean> {
    if (this.#abort.signal.aborted) return false;
    this.counters.failed++;
    const message = messageOf(error);
    if (isFault(error)) {
      this.#isolate(batch, message);
      return true;
    }
    const isLast = this.#retry.attempts + 1 >= (this.#courier.attemptsMax ?? Infinity);
    if (error instanceof RefusedError || isLast) {
      this.#drop(this.#queue.shiftThrough(batch.at(-1)?.sequence ?? 0), message);
      this.#retry.reset();
      return true;
    }
    const retryMs = Math.round(this.#retry.nextDelayMs());
    this.#events.failed({ sink: this.name, message, retryMs });
    if (this.#isClosing) return false;
    this.#wake = new AbortController();
    await sleep(retryMs, undefined, { signal: this.#wake.signal, ref: false }).catch(() => undefined);
    return true;
  }

  /** A telling that no attempt will ever write must not stop those behind it. */
  #isolate(batch: readonly AlertRecord[], message: string): void {
    if (batch.length > 1) {
      this.#oneByOne = batch.length;
      return;
    }
    if (this.#oneByOne > 0) this.#oneByOne--;
    this.#drop(this.#queue.shiftThrough(batch.at(-1)?.sequence ?? 0), `it cannot be written: ${message}`);
  }

  #drop(tellings: number, reason: string): void {
    if (tellings === 0) return;
    this.counters.dropped += tellings;
    this.#events.dropped({ sink: this.name, tellings, reason });
  }
}

/** A fault of this program, and not of the other side: that one has a code, or, when it was fetched from, a cause. */
function isFault(error: unknown): boolean {
  const isOfLanguage =
    error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
  return isOfLanguage && error.cause === undefined && !('code' in error);
}
