/**
 * The mirror port the simulated plant is watched through: stamps each frame, counts it, notes it in the label of its
 * attack, and puts it into the batch.
 *
 * What must stay true: timestamps strictly increase. A mirror port sends one frame after the other, so a frame that comes
 * while another leaves waits for its turn; at 10 Gbit/s that is 67 ns to 1.2 µs.
 */
import { BatchBuilder, type Batch } from '@tapline/shared/packet/batch.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import type { LabelTally } from './labels.ts';
import { SECOND, type Scheduler } from './scheduler.ts';

/** Preamble (8), frame check sequence (4) and gap (12) occupy the wire too, though no capture shows them. */
const WIRE_OVERHEAD_BYTES = 24;
/** 10 Gbit/s. */
const NS_PER_BYTE = 0.8;

/** What one protocol put on the wire. */
export interface Tally {
  packets: number;
  bytes: number;
}

export interface TapLimits {
  readonly durationNs: number;
  readonly packetsMax: number;
}

export class Tap {
  packetCount = 0;
  byteCount = 0;
  readonly #scheduler: Scheduler;
  readonly #limits: TapLimits;
  readonly #batch = new BatchBuilder(LINKTYPE_ETHERNET);
  readonly #startSeconds: number;
  readonly #startFractionNs: number;
  #freeAtNs = 0;

  constructor(scheduler: Scheduler, startNs: bigint, limits: TapLimits) {
    this.#scheduler = scheduler;
    this.#limits = limits;
    this.#startSeconds = Number(startNs / BigInt(SECOND));
    this.#startFractionNs = Number(startNs % BigInt(SECOND));
  }

  /** Whether the capture has all the packets it was to have. */
  get full(): boolean {
    return this.packetCount >= this.#limits.packetsMax;
  }

  /** Mirrors `frame[0, byteLength)`. Past the end of the capture frames are not seen any more. */
  mirror(frame: Uint8Array, byteLength: number, tally: Tally, label: LabelTally | null): void {
    const atNs = Math.max(this.#scheduler.nowNs, this.#freeAtNs);
    if (atNs >= this.#limits.durationNs || this.full) return;
    this.#freeAtNs = atNs + Math.ceil((byteLength + WIRE_OVERHEAD_BYTES) * NS_PER_BYTE);
    const fromSecondNs = this.#startFractionNs + atNs;
    const seconds = Math.floor(fromSecondNs / SECOND);
    const nanoseconds = fromSecondNs - seconds * SECOND;
    this.#batch.append(this.#startSeconds + seconds, nanoseconds, byteLength, frame, 0, byteLength);
    this.packetCount++;
    this.byteCount += byteLength;
    tally.packets++;
    tally.bytes += byteLength;
    label?.add(this.packetCount, atNs);
  }

  /** Whether so many bytes of frames still fit into the batch. */
  hasRoom(byteLength: number): boolean {
    return this.#batch.hasRoom(byteLength);
  }

  /** The batch, lent until `reset`. */
  take(): Batch {
    return this.#batch.take();
  }

  reset(): void {
    this.#batch.reset();
  }
}
