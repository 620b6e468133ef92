/**
 * The collectors a forwarder knows, in the order in which it wants them: which to try next, and how long to wait when none
 * answered. A round goes through the list from its beginning; only after a round without success is there a wait, which grows.
 */
import { assert } from '@tapline/shared/base/assert.ts';
import type { RetrySchedule } from '@tapline/shared/base/retry-schedule.ts';

export interface Collector {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, by which a collector is remembered. */
export function collectorName({ host, port }: Collector): string {
  return host.includes(':') ? `[${host}]:${String(port)}` : `${host}:${String(port)}`;
}

export class CollectorList {
  readonly #collectors: readonly Collector[];
  readonly #retry: RetrySchedule;
  #index = 0;

  constructor(collectors: readonly Collector[], retry: RetrySchedule) {
    assert(collectors.length > 0, 'a list of no collectors');
    this.#collectors = collectors;
    this.#retry = retry;
  }

  /** The one to be tried, or that is connected. */
  get current(): Collector {
    return this.#collectors[this.#index] as Collector;
  }

  /** Those that are wanted more than the current one. */
  get preferred(): readonly Collector[] {
    return this.#collectors.slice(0, this.#index);
  }

  get attempts(): number {
    return this.#retry.attempts;
  }

  /** The current one did not work: moves on, and says how long to wait before the next attempt. */
  failed(): number {
    this.#index = (this.#index + 1) % this.#collectors.length;
    return this.#index === 0 ? this.#retry.nextDelayMs() : 0;
  }

  /** A connection that held was lost: begins again with the first, after the shortest wait. */
  lost(): number {
    this.#retry.reset();
    this.#index = 0;
    return this.#retry.nextDelayMs();
  }

  /** Goes to this one next. */
  choose(collector: Collector): void {
    this.#index = Math.max(0, this.#collectors.indexOf(collector));
  }
}
