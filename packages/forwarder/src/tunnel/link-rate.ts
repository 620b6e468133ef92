/**
 * How fast the link may be used, and when: a rate, and windows of the day in which another one holds. Times are the probe's
 * local ones, because working hours are; a window that ends before it begins passes midnight.
 */
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { TokenBucket } from '@tapline/shared/tunnel/token-bucket.ts';

export interface RateWindow {
  /** Minutes since local midnight; `from` belongs to the window, `to` does not. */
  readonly fromMinute: number;
  readonly toMinute: number;
  /** Of the day on which the window begins; 0 is Sunday. Absent: every day. */
  readonly days?: readonly number[] | undefined;
  /** 0: nothing but signs of life. */
  readonly bytesPerSecond: number;
}

export interface LinkRateOptions {
  /** Infinity: no limit. */
  readonly bytesPerSecond: number;
  /** The first that holds, holds. */
  readonly windows: readonly RateWindow[];
  /** What may leave at once; absent: a tenth of a second of the rate. */
  readonly burstBytesMax?: number;
}

const DAY_MINUTES = 24 * 60;
/** A tenth of a second of the rate, and at least one full datagram's worth: short enough to stay smooth. */
const BURST_SECONDS = 0.1;
const BURST_BYTES_MIN = 4096;
/** While nothing may leave. */
const CLOSED_WAIT_MS = 1000;

/** The rate that holds at a moment, in bytes per second. */
export function rateAt({ bytesPerSecond, windows }: LinkRateOptions, local: Date): number {
  const minute = local.getHours() * 60 + local.getMinutes();
  const day = local.getDay();
  const found = windows.find(({ fromMinute, toMinute, days }) => {
    const passesMidnight = toMinute <= fromMinute;
    const isSince = minute >= fromMinute && (passesMidnight ? minute < DAY_MINUTES : minute < toMinute);
    if (isSince) return days?.includes(day) ?? true;
    return passesMidnight && minute < toMinute && (days?.includes((day + 6) % 7) ?? true);
  });
  return found?.bytesPerSecond ?? bytesPerSecond;
}

export class LinkRate {
  readonly #options: LinkRateOptions;
  readonly #clock: TunnelClock;
  #rate: number;
  #bucket: TokenBucket | null;

  constructor(options: LinkRateOptions, clock: TunnelClock) {
    this.#options = options;
    this.#clock = clock;
    this.#rate = rateAt(options, new Date(clock.wallMs()));
    this.#bucket = this.#makeBucket();
  }

  /** Milliseconds until the next frame may leave; 0: now. */
  waitMs(): number {
    if (this.#options.windows.length > 0) this.#follow();
    return this.#rate === 0 ? CLOSED_WAIT_MS : (this.#bucket?.waitMs() ?? 0);
  }

  spend(bytes: number): void {
    this.#bucket?.spend(bytes);
  }

  /** What holds now; Infinity without a limit. */
  get bytesPerSecond(): number {
    return this.#rate;
  }

  #follow(): void {
    const rate = rateAt(this.#options, new Date(this.#clock.wallMs()));
    if (rate === this.#rate) return;
    this.#rate = rate;
    this.#bucket = this.#makeBucket();
  }

  #makeBucket(): TokenBucket | null {
    if (this.#rate === Infinity || this.#rate === 0) return null;
    const burstBytes = Math.max(
      BURST_BYTES_MIN,
      Math.min(this.#rate * BURST_SECONDS, this.#options.burstBytesMax ?? Infinity),
    );
    return new TokenBucket({ bytesPerSecond: this.#rate, burstBytes }, this.#clock);
  }
}
