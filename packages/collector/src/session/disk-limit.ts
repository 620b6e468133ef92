/**
 * What the segments of one sensor may take. Beyond it the sensor is not read any more: its forwarder keeps what it has. Looked at
 * again every few seconds, so that it goes on by itself when somebody made room.
 */
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';

const LOOK_INTERVAL_MS = 5000;

/** The part of a `SensorStore` that knows its size. */
export interface SizedStore {
  diskBytes(isAnew: boolean): number;
  readonly diskBytesMax: number;
}

export interface DiskLimitHandlers {
  reached(bytesMax: number): void;
  left(bytes: number): void;
}

export class DiskLimit {
  readonly #store: SizedStore;
  readonly #clock: TunnelClock;
  readonly #handlers: DiskLimitHandlers;
  #isReached = false;
  #cancel: () => void = () => undefined;

  constructor(store: SizedStore, clock: TunnelClock, handlers: DiskLimitHandlers) {
    this.#store = store;
    this.#clock = clock;
    this.#handlers = handlers;
  }

  isReached(): boolean {
    const { diskBytesMax } = this.#store;
    if (this.#isReached || this.#store.diskBytes(false) < diskBytesMax) return this.#isReached;
    // Reckoned from what was written, people who took files away are not seen: measured before anybody is stopped.
    this.#isReached = this.#store.diskBytes(true) >= diskBytesMax;
    if (this.#isReached) {
      this.#handlers.reached(diskBytesMax);
      this.#look();
    }
    return this.#isReached;
  }

  close(): void {
    this.#cancel();
  }

  #look(): void {
    this.#cancel = this.#clock.after(LOOK_INTERVAL_MS, () => {
      const bytes = this.#store.diskBytes(true);
      if (bytes >= this.#store.diskBytesMax) {
        this.#look();
        return;
      }
      this.#isReached = false;
      this.#handlers.left(bytes);
    });
  }
}
