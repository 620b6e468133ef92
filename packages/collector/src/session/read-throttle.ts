/** Holds one sensor to its rate by not reading its socket for a while: TCP tells the forwarder, and nothing is dropped. */
import { TokenBucket } from '@tapline/shared/tunnel/token-bucket.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';

export class ReadThrottle {
  readonly #clock: TunnelClock;
  readonly #over: () => void;
  readonly #bucket: TokenBucket | null;
  #isOn = false;
  #cancel: () => void = () => undefined;

  /** `over` is called when the socket may be read again. Without a rate nothing is ever held. */
  constructor(bytesPerSecond: number | undefined, clock: TunnelClock, over: () => void) {
    this.#clock = clock;
    this.#over = over;
    this.#bucket =
      bytesPerSecond === undefined
        ? null
        : new TokenBucket({ bytesPerSecond, burstBytes: bytesPerSecond }, clock);
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** So many bytes were read; true when that was enough for now. */
  took(bytes: number): boolean {
    if (this.#bucket === null) return false;
    this.#bucket.spend(bytes);
    const waitMs = this.#bucket.waitMs();
    if (waitMs === 0 || this.#isOn) return false;
    this.#isOn = true;
    this.#cancel = this.#clock.after(waitMs, () => {
      this.#isOn = false;
      this.#over();
    });
    return true;
  }

  close(): void {
    this.#cancel();
  }
}
