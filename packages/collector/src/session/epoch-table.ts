/**
 * How far each epoch of a sensor has come: accepted, durable, and what a one-way link says of it. The resume point keeps it over
 * restarts; sessions come and go.
 */
import { SequenceTracker } from '@tapline/shared/tunnel/sequence.ts';
import type { EpochMark, OneWayProgress } from './resume-point.ts';

/**
 * Epochs remembered per sensor, those used last: twice what one HELLO can name, so that a forwarder that is restarted
 * many times while its spool drains stays exact. 512 × 45 bytes = 23 KiB in a resume point.
 */
const EPOCHS_MAX = 512;

/** What a commit makes durable: to be written down, and then to be noted. */
export interface EpochSnapshot {
  /** Newest first. */
  readonly marks: readonly EpochMark[];
  markDurable(): void;
}

export class EpochTable {
  /** Newest last. */
  readonly #epochs = new Map<string, SequenceTracker>();
  /** Of the epochs that came one way. */
  readonly #progress = new Map<string, OneWayProgress>();

  /** `marks`: newest first, as a snapshot has them. */
  constructor(marks: readonly EpochMark[]) {
    for (const { epoch, sequence, oneWay } of marks.toReversed()) {
      this.#epochs.set(epoch, new SequenceTracker(sequence));
      if (oneWay !== undefined) this.#progress.set(epoch, oneWay);
    }
  }

  /** The epoch's tracker, which is the newest from now on. */
  enter(epoch: string): SequenceTracker {
    const tracker = this.#epochs.get(epoch) ?? new SequenceTracker(0);
    // Moved to the end, as the newest.
    this.#epochs.delete(epoch);
    this.#epochs.set(epoch, tracker);
    const oldest = this.#epochs.keys().next().value;
    if (this.#epochs.size > EPOCHS_MAX && oldest !== undefined) {
      this.#epochs.delete(oldest);
      this.#progress.delete(oldest);
    }
    return tracker;
  }

  /** One way: what the epoch stands for after the frame taken last. */
  noteProgress(epoch: string, progress: OneWayProgress): void {
    this.#progress.set(epoch, progress);
  }

  /** What is known of an epoch that came one way; null when it never did. */
  progressOf(epoch: string): (OneWayProgress & { readonly sequence: number }) | null {
    const progress = this.#progress.get(epoch);
    return progress === undefined ? null : { ...progress, sequence: this.#epochs.get(epoch)?.accepted ?? 0 };
  }

  /** The epochs of this key that came one way, in no order. */
  oneWayOf(keyId: number): readonly string[] {
    return [...this.#progress].filter(([, progress]) => progress.keyId === keyId).map(([epoch]) => epoch);
  }

  /** What was accepted so far. */
  snapshot(): EpochSnapshot {
    const marks: EpochMark[] = [];
    const accepted: [SequenceTracker, number][] = [];
    for (const [epoch, tracker] of this.#epochs) {
      const oneWay = this.#progress.get(epoch);
      marks.unshift({ epoch, sequence: tracker.accepted, ...(oneWay === undefined ? {} : { oneWay }) });
      accepted.push([tracker, tracker.accepted]);
    }
    return {
      marks,
      markDurable() {
        for (const [tracker, sequence] of accepted) tracker.markDurable(sequence);
      },
    };
  }
}
