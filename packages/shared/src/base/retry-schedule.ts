/**
 * How long to wait before the next attempt: doubling up to a cap, each wait drawn at random from its upper half.
 * The chance matters: when a collector restarts, a thousand forwarders lose it in the same second, and without it
 * they would all come back in the same second, for ever. The lower half stays free so that no attempt is immediate.
 *
 *   attempt          1        2        3        4       …   capped
 *   delay (500 ms)   250–500  500–1000 1–2 s    2–4 s       15–30 s
 */
import { assert } from './assert.ts';

export interface RetryOptions {
  readonly firstMs: number;
  readonly capMs: number;
}

export class RetrySchedule {
  readonly #options: RetryOptions;
  readonly #random: () => number;
  #attempts = 0;

  /** `random` returns 0 ≤ x < 1, like `Math.random`; a test hands in a seeded one. */
  constructor(options: RetryOptions, random: () => number) {
    assert(
      options.firstMs > 0 && options.capMs >= options.firstMs,
      'a retry schedule needs 0 < first <= cap',
    );
    this.#options = options;
    this.#random = random;
  }

  /** Failures since the last success. */
  get attempts(): number {
    return this.#attempts;
  }

  /** To be asked once after each failure; milliseconds. */
  nextDelayMs(): number {
    const { firstMs, capMs } = this.#options;
    // Past 2^30 the exponent says nothing that the cap does not say.
    const limitMs = Math.min(capMs, firstMs * 2 ** Math.min(this.#attempts, 30));
    this.#attempts++;
    return limitMs / 2 + (limitMs / 2) * this.#random();
  }

  /** After a success that deserves the name (a completed handshake, not a mere TCP connection). */
  reset(): void {
    this.#attempts = 0;
  }
}
