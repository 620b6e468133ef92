/**
 * The accounting that makes the tunnel exactly-once: which frames of an epoch were accepted, and up to which one they
 * are durable. Pure: no clock, no socket, no file.
 *
 *   1 … durable … accepted │ next = accepted + 1
 *
 * Over TCP frames come in order, so one number describes what was accepted. `durable` follows when the disk has it, and
 * only that is acknowledged. A frame at or below `accepted` is a duplicate (sent again after a cut) and is not looked at.
 */
import { assert } from '../base/assert.ts';

/** What to do with a frame: take it, skip it, or end the connection because frames before it are missing. */
export type SequenceJudgement = 'accept' | 'duplicate' | 'ahead';

export class SequenceTracker {
  #accepted: number;
  #durable: number;

  /** `durable` is what the resume point says, 0 for an epoch never seen. */
  constructor(durable: number) {
    this.#accepted = durable;
    this.#durable = durable;
  }

  /** Last sequence taken in. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Last sequence that survives a crash of this side. */
  get durable(): number {
    return this.#durable;
  }

  /** Where the peer should go on sending. */
  get next(): number {
    return this.#accepted + 1;
  }

  /**
   * Judges a frame that stands for sequences `first` to `last` (the same, but for a GAP of several), and takes it when
   * the answer is `accept`. A GAP whose beginning is known and whose end is new is accepted.
   */
  take(first: number, last: number): SequenceJudgement {
    if (last <= this.#accepted) return 'duplicate';
    if (first > this.#accepted + 1) return 'ahead';
    this.#accepted = last;
    return 'accept';
  }

  /** Everything up to `sequence` is on the disk. */
  markDurable(sequence: number): void {
    assert(sequence >= this.#durable && sequence <= this.#accepted, 'durable must follow accepted');
    this.#durable = sequence;
  }

  /**
   * The peer no longer has what comes before `first` (this side lost its state, or a backup was restored). Moves on
   * and returns how many frames are missing; 0 when nothing is.
   */
  skipTo(first: number): number {
    const missing = first - this.next;
    if (missing <= 0) return 0;
    this.#accepted = first - 1;
    return missing;
  }
}
