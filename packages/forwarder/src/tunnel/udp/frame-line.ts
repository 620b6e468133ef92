/**
 * BATCH and GAP frames on their one-way journey, in the order of their sequence: those that are not datagrams yet, and those whose
 * datagrams the system has not all taken. Keeps that part of the uplink's ledger: a packet pushed is queued until its frame is
 * settled, and then acknowledged or `send-failed`.
 */
import type { UplinkCounters } from '../uplink.ts';
import type { OutgoingDatagram, OutgoingFrame } from './group-encoder.ts';

/** The array is copied down when so much of its front is spent. */
const SPENT_MIN = 1024;

export class FrameLine {
  readonly #counters: UplinkCounters;
  #queue: OutgoingFrame[] = [];
  #head = 0;
  /** Datagrams of a frame that were settled: all, and those the system took. */
  readonly #unsettled = new Map<OutgoingFrame, { settled: number; taken: number }>();

  constructor(counters: UplinkCounters) {
    this.#counters = counters;
  }

  /** Frames that are not datagrams yet. */
  get waiting(): number {
    return this.#queue.length - this.#head;
  }

  push(frame: OutgoingFrame): void {
    this.#queue.push(frame);
    this.#counters.queuedPackets += frame.packetCount;
    this.#counters.queuedBytes += frame.bytes.byteLength;
  }

  /** The next frames, at most `count` of them: they become datagrams now. */
  take(count: number): readonly OutgoingFrame[] {
    const frames = this.#queue.slice(this.#head, this.#head + count);
    this.#forget(frames.length);
    for (const frame of frames) this.#unsettled.set(frame, { settled: 0, taken: 0 });
    return frames;
  }

  /** A datagram was taken by the system, or given up. True when that settled its frame. */
  settle({ frame, shards, dataShards }: OutgoingDatagram, wasTaken: boolean): boolean {
    const progress = this.#unsettled.get(frame);
    if (progress === undefined) return false;
    progress.settled++;
    if (wasTaken) progress.taken++;
    if (progress.settled < shards) return false;
    this.#unsettled.delete(frame);
    const counters = this.#counters;
    counters.queuedPackets -= frame.packetCount;
    counters.queuedBytes -= frame.bytes.byteLength;
    if (progress.taken >= dataShards) {
      counters.acknowledgedPackets += frame.packetCount;
      counters.sentPackets += frame.packetCount;
    } else counters.dropped['send-failed'] += frame.packetCount;
    return true;
  }

  /** Gives up everything: returns the frames that never became datagrams, and counts all their packets as `stopped`. */
  abandon(): readonly OutgoingFrame[] {
    const frames = this.#queue.splice(0).slice(this.#head);
    this.#head = 0;
    this.#unsettled.clear();
    this.#counters.dropped.stopped += this.#counters.queuedPackets;
    this.#counters.queuedPackets = this.#counters.queuedBytes = 0;
    return frames;
  }

  #forget(count: number): void {
    this.#head += count;
    if (this.#head < SPENT_MIN && this.#head < this.#queue.length) return;
    this.#queue.splice(0, this.#head);
    this.#head = 0;
  }
}
