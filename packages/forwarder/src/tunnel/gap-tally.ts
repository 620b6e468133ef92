/** Adds up packets that had to be dropped until they can be reported as one gap. */
import type { Gap } from '@tapline/shared/tunnel/messages.ts';
import { nanosecondsText } from '@tapline/shared/tunnel/messages.ts';
import type { TimeSpan } from '@tapline/shared/tunnel/packet-batch.ts';

export class GapTally {
  #packets = 0;
  #bytes = 0;
  #fromNs = 0n;
  #toNs = 0n;
  /** Of the batch dropped last. */
  priority = 0;

  get packets(): number {
    return this.#packets;
  }

  /** `bytes` are captured bytes, without record headers. Once per batch, not per packet. */
  add(packets: number, bytes: number, span: TimeSpan, priority: number): void {
    this.priority = priority;
    const fromNs = BigInt(nanosecondsText(span.oldestSeconds, span.oldestNanoseconds));
    const toNs = BigInt(nanosecondsText(span.newestSeconds, span.newestNanoseconds));
    if (this.#packets === 0 || fromNs < this.#fromNs) this.#fromNs = fromNs;
    if (this.#packets === 0 || toNs > this.#toNs) this.#toNs = toNs;
    this.#packets += packets;
    this.#bytes += bytes;
  }

  /** The gap so far, and a fresh start. */
  take(reason: string): Gap & { packets: number; bytes: number } {
    const gap = {
      fromNs: String(this.#fromNs),
      toNs: String(this.#toNs),
      packets: this.#packets,
      bytes: this.#bytes,
      reason,
    };
    this.#packets = this.#bytes = 0;
    return gap;
  }
}
