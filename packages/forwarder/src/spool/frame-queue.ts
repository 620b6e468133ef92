/**
 * The frames of one lane, from their encoding to their acknowledgement, in sequence:
 *
 *   first ─ sent, not acknowledged ─ cursor ─ not yet sent ─ next
 *   └────────── on the disk ──────────┴──┬──┘
 *                              └── in memory ──┘
 *
 * Without a spool everything is in memory. With one, the oldest frames are on the disk, the newest in memory, and what lies
 * between may be in both; a frame that was taken out of memory is read back when its turn comes.
 *
 * Pure: it knows no socket. A lost connection only moves the cursor back.
 */
import { assert } from '@tapline/shared/base/assert.ts';

export interface QueuedFrame {
  /** Of a GAP over several sequences: the last of them. */
  readonly sequence: number;
  readonly bytes: Uint8Array;
  /** Packets inside; 0 for a GAP, whose packets were counted as dropped. */
  readonly packetCount: number;
}

/** Frames and what they hold, for the books. */
export interface FrameTotals {
  readonly packets: number;
  readonly bytes: number;
}

/** The disk behind a queue: frames of consecutive sequences from the oldest on (`spool/spool-lane.ts`). */
export interface FrameStore {
  /** Oldest sequence held; beyond `last` when there is none. */
  readonly first: number;
  readonly last: number;
  readonly totals: FrameTotals;
  /** Takes the frame after `last`; false when the disk has no room or refuses. */
  append(frame: QueuedFrame): boolean;
  /** The frame that bears `sequence`, or the GAP that stands for it; its bytes are the caller's. What cannot be read becomes a GAP. */
  read(sequence: number): QueuedFrame;
  /** Lets go of everything up to `sequence`; says what that was. */
  acknowledge(sequence: number): FrameTotals;
}

/** Freed places at the front before the array is moved together. */
const COMPACT_AT = 1024;
const FREED: QueuedFrame = { sequence: 0, bytes: new Uint8Array(0), packetCount: 0 };

export class FrameQueue {
  readonly #store: FrameStore | null;
  /** Frames in memory: consecutive, the last is `#next - 1`. */
  #frames: QueuedFrame[] = [];
  #head = 0;
  #heldBytes = 0;
  /** Of the frames in memory, how many the disk has too: they stand first. */
  #spooledHeld = 0;
  #unspooledBytes = 0;
  #unspooledPackets = 0;
  #first: number;
  #cursor: number;
  #next: number;
  #sentUpTo: number;
  /** Left by an earlier life. What that sent at its very end nobody wrote down, and a power failure may have taken it. */
  readonly #isFound: boolean;

  /** A store that holds frames already is one that an earlier life of the process has left; `sentUpTo` is what that remembered. */
  constructor(store: FrameStore | null = null, sentUpTo = 0) {
    this.#store = store;
    this.#first = this.#cursor = store === null || store.last < store.first ? 1 : store.first;
    this.#next = store === null ? 1 : Math.max(store.last + 1, this.#first);
    this.#sentUpTo = sentUpTo;
    this.#isFound = this.#next > 1;
  }

  /** Bytes of all frames held, in memory or on the disk. */
  get bytes(): number {
    return this.#spooled.bytes + this.#unspooledBytes;
  }

  get packets(): number {
    return this.#spooled.packets + this.#unspooledPackets;
  }

  /** Bytes that only memory holds: what a death of the process would lose. */
  get unspooledBytes(): number {
    return this.#unspooledBytes;
  }

  /** Bytes in memory. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  get isEmpty(): boolean {
    return this.#first === this.#next;
  }

  get allSent(): boolean {
    return this.#cursor === this.#next;
  }

  /** The sequence the next frame will bear. */
  get nextSequence(): number {
    return this.#next;
  }

  /** The oldest frame that is not acknowledged, or the next one to be made. */
  get firstSequence(): number {
    return this.#first;
  }

  /** The last sequence that was ever given out by `takeNext`. */
  get sentUpTo(): number {
    return this.#sentUpTo;
  }

  /** The oldest frame that only memory holds. */
  get oldestUnspooled(): QueuedFrame | null {
    return this.#frames[this.#head + this.#spooledHeld] ?? null;
  }

  push(bytes: Uint8Array, packetCount: number): void {
    this.#frames.push({ sequence: this.#next++, bytes, packetCount });
    this.#heldBytes += bytes.byteLength;
    this.#unspooledBytes += bytes.byteLength;
    this.#unspooledPackets += packetCount;
  }

  /** Writes the oldest frame that only memory holds to the disk. False: there is none, or the disk does not take it. */
  spool(): boolean {
    const frame = this.oldestUnspooled;
    if (frame === null || this.#store?.append(frame) !== true) return false;
    this.#spooledHeld++;
    this.#unspooledBytes -= frame.bytes.byteLength;
    this.#unspooledPackets -= frame.packetCount;
    return true;
  }

  /** Takes the oldest frame out of memory, if the disk has it. */
  forget(): boolean {
    if (this.#spooledHeld === 0) return false;
    this.#shift();
    this.#compact();
    return true;
  }

  /** The next frame to be sent, and moves on; null when all are. */
  takeNext(): QueuedFrame | null {
    if (this.#cursor === this.#next) return null;
    const held = this.#frames[this.#frames.length - (this.#next - this.#cursor)];
    const isHeld = held !== undefined && held.sequence === this.#cursor;
    const frame = isHeld ? held : this.#read(this.#cursor);
    this.#cursor = frame.sequence + 1;
    if (frame.sequence > this.#sentUpTo) this.#sentUpTo = frame.sequence;
    return frame;
  }

  /** Whether the frame that `takeNext` will give was given before. */
  get cursorWasSent(): boolean {
    return this.#cursor < this.#next && this.#cursor <= this.#sentUpTo;
  }

  /** Whether the peer may speak of this sequence as received: it was sent at some time. */
  mayBeReceived(sequence: number): boolean {
    return this.#isFound || sequence <= this.#sentUpTo || sequence < this.#first;
  }

  /** Sends again from `sequence` on; what is older stays until acknowledged. */
  rewindTo(sequence: number): void {
    assert(sequence >= this.#first && (sequence <= this.#next || this.#isFound), 'rewound beyond the queue');
    this.#cursor = Math.min(sequence, this.#next);
  }

  /** Frames that were sent and are not acknowledged. */
  get isInFlight(): boolean {
    return this.#cursor > this.#first;
  }

  /** Lets go of everything up to `sequence`; returns the number of packets. */
  acknowledge(sequence: number): number {
    const before = this.packets;
    this.#store?.acknowledge(sequence);
    for (;;) {
      const frame = this.#frames[this.#head];
      if (frame === undefined || frame.sequence > sequence) break;
      this.#shift();
    }
    this.#compact();
    if (sequence >= this.#first) this.#first = Math.min(sequence + 1, this.#next);
    if (this.#cursor < this.#first) this.#cursor = this.#first;
    return before - this.packets;
  }

  /** Lets go of what only memory holds, unacknowledged; returns the number of packets. The queue takes nothing any more. */
  abandon(): number {
    const packets = this.#unspooledPackets;
    this.#frames = [];
    this.#head = this.#heldBytes = this.#spooledHeld = 0;
    this.#unspooledBytes = this.#unspooledPackets = 0;
    return packets;
  }

  get #spooled(): FrameTotals {
    return this.#store?.totals ?? { packets: 0, bytes: 0 };
  }

  #read(sequence: number): QueuedFrame {
    assert(this.#store !== null, 'a frame is neither in memory nor on a disk');
    return this.#store.read(sequence);
  }

  #shift(): void {
    const frame = this.#frames[this.#head] as QueuedFrame;
    this.#frames[this.#head++] = FREED;
    this.#heldBytes -= frame.bytes.byteLength;
    if (this.#spooledHeld > 0) this.#spooledHeld--;
    else {
      this.#unspooledBytes -= frame.bytes.byteLength;
      this.#unspooledPackets -= frame.packetCount;
    }
  }

  #compact(): void {
    if (this.#head < COMPACT_AT && this.#head < this.#frames.length) return;
    this.#frames.splice(0, this.#head);
    this.#head = 0;
  }
}
