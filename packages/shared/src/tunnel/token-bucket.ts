/**
 * The token bucket that keeps a link from being filled: bytes may leave at `bytesPerSecond` on average, and at most
 * `burstBytes` at once. A frame larger than the burst is let through when the bucket is full and paid for afterwards, so
 * that a small bucket delays large frames and never blocks them.
 */
import { assert } from '../base/assert.ts';
import type { TunnelClock } from './tunnel-clock.ts';

export interface TokenBucketOptions {
  readonly bytesPerSecond: number;
  readonly burstBytes: number;
}

export class TokenBucket {
  readonly #clock: TunnelClock;
  readonly #burstBytes: number;
  readonly #bytesPerSecond: number;
  #tokens: number;
  #filledAtMs: number;

  constructor(options: TokenBucketOptions, clock: TunnelClock) {
    assert(options.bytesPerSecond > 0 && options.burstBytes > 0, 'a bucket needs a rate and a size');
    this.#clock = clock;
    this.#burstBytes = options.burstBytes;
    this.#bytesPerSecond = options.bytesPerSecond;
    this.#tokens = options.burstBytes;
    this.#filledAtMs = clock.monotonicMs();
  }

  /** Milliseconds until the next bytes may leave; 0: now. */
  waitMs(): number {
    this.#fill();
    if (this.#tokens > 0) return 0;
    // One byte is enough to be let through: what a frame costs beyond it is paid for afterwards.
    return Math.max(1, Math.ceil(((1 - this.#tokens) / this.#bytesPerSecond) * 1000));
  }

  /** Takes what left. May go below zero. */
  spend(bytes: number): void {
    this.#tokens -= bytes;
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    const gained = ((nowMs - this.#filledAtMs) / 1000) * this.#bytesPerSecond;
    this.#filledAtMs = nowMs;
    if (gained > 0) this.#tokens = Math.min(this.#burstBytes, this.#tokens + gained);
  }
}
