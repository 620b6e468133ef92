/**
 * Turns a counter of dropped packets into events: at most one a second, and one at the end for what is left. Under overload
 * a line for every batch would make the overload worse.
 */
import type { CaptureEvents } from './capture-source.ts';

const INTERVAL_MS = 1000;

export class DropReporter {
  readonly #name: string;
  readonly #events: Pick<CaptureEvents, 'packetsDropped'>;
  #reported = 0;
  #reportedAt = -INTERVAL_MS;

  constructor(name: string, events: Pick<CaptureEvents, 'packetsDropped'>) {
    this.#name = name;
    this.#events = events;
  }

  /** `dropped` is the counter as it stands. */
  note(dropped: number): void {
    if (dropped > this.#reported && performance.now() - this.#reportedAt >= INTERVAL_MS) this.flush(dropped);
  }

  flush(dropped: number): void {
    if (dropped === this.#reported) return;
    this.#events.packetsDropped(this.#name, dropped - this.#reported);
    this.#reported = dropped;
    this.#reportedAt = performance.now();
  }
}
