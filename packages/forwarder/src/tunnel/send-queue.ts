/**
 * Frames from their encoding to their acknowledgement, in sequence:
 *
 *   oldest ─ sent, not acknowledged ─ cursor ─ not yet sent ─ newest
 *
 * Pure: it knows no socket. A lost connection only moves the cursor back. A spool on disk takes this file's place, or
 * stands behind it, without the rest noticing.
 */
import { assert } from '@tapline/shared/base/assert.ts';

export interface QueuedFrame {
  readonly sequence: number;
  readonly bytes: Uint8Array;
  /** Packets inside; 0 for a GAP, whose packets were counted as dropped. */
  readonly packetCount: number;
}

/** Freed places at the front before the array is moved together. */
const COMPACT_AT = 1024;

export class SendQueue {
  #frames: QueuedFrame[] = [];
  #head = 0;
  #cursor = 0;
  #bytes = 0;
  #packets = 0;
  #nextSequence = 1;
  #sentUpTo = 0;

  /** Bytes of all frames held. */
  get bytes(): number {
    return this.#bytes;
  }

  get packets(): number {
    return this.#packets;
  }

  get isEmpty(): boolean {
    return this.#head === this.#frames.length;
  }

  get allSent(): boolean {
    return this.#cursor === this.#frames.length;
  }

  /** The sequence the next frame will bear. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** The oldest frame that is not acknowledged, or the next one to be made. */
  get firstSequence(): number {
    return this.#frames[this.#head]?.sequence ?? this.#nextSequence;
  }

  push(bytes: Uint8Array, packetCount: number): void {
    this.#frames.push({ sequence: this.#nextSequence++, bytes, packetCount });
    this.#bytes += bytes.byteLength;
    this.#packets += packetCount;
  }

  /** The next frame to be sent, and moves on; null when all are. */
  takeNext(): QueuedFrame | null {
    const frame = this.#frames[this.#cursor];
    if (frame === undefined) return null;
    this.#cursor++;
    if (frame.sequence > this.#sentUpTo) this.#sentUpTo = frame.sequence;
    return frame;
  }

  /** Whether the frame that `takeNext` will give was given before. */
  get cursorWasSent(): boolean {
    const frame = this.#frames[this.#cursor];
    return frame !== undefined && frame.sequence <= this.#sentUpTo;
  }

  /** Whether the peer may speak of this sequence as received: it was sent at some time. */
  mayBeReceived(sequence: number): boolean {
    return sequence <= this.#sentUpTo || sequence < this.firstSequence;
  }

  /** Sends again from `sequence` on; what is older stays until acknowledged. */
  rewindTo(sequence: number): void {
    assert(sequence >= this.firstSequence && sequence <= this.#nextSequence, 'rewound beyond the queue');
    this.#cursor = this.#head + (sequence - this.firstSequence);
  }

  /** Lets go of everything up to `sequence`; returns the number of packets. */
  acknowledge(sequence: number): number {
    let packets = 0;
    for (;;) {
      const frame = this.#frames[this.#head];
      if (frame === undefined || frame.sequence > sequence) break;
      this.#head++;
      this.#bytes -= frame.bytes.byteLength;
      packets += frame.packetCount;
    }
    this.#packets -= packets;
    if (this.#cursor < this.#head) this.#cursor = this.#head;
    this.#compact();
    return packets;
  }

  /** Lets go of everything, unacknowledged; returns the number of packets. */
  abandon(): number {
    return this.acknowledge(this.#nextSequence);
  }

  #compact(): void {
    if (this.#head < COMPACT_AT && this.#head < this.#frames.length) {
      // Few: keep the array, but not the bytes.
      for (let i = this.#head - 1; i >= 0; i--) {
        if (this.#frames[i] === FREED) break;
        this.#frames[i] = FREED;
      }
      return;
    }
    this.#frames.splice(0, this.#head);
    this.#cursor -= this.#head;
    this.#head = 0;
  }
}

const FREED: QueuedFrame = { sequence: 0, bytes: new Uint8Array(0), packetCount: 0 };
