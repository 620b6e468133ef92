/**
 * When a replayed packet is due. Recorded times of one file are laid over the monotonic clock from the file's first
 * packet on, divided by the speed. Nothing is timed per packet: whoever waits, waits for a slice of PACING_SLICE_MS.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  readU32,
} from '@tapline/shared/packet/record.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';

/** Packets due within the same slice travel together: a fifth of a live batch's linger. */
const PACING_SLICE_MS = 10;
/** One timer cannot be set further ahead than 2³¹ − 1 ms; a recording may have longer silences. */
const SLEEP_MS_MAX = 3_600_000;

export class ReplayPacer {
  readonly #speed: number;
  /** Monotonic time that the recorded time 0 falls on; NaN before the file's first packet. */
  #originMs = Number.NaN;

  /** `speed`: how many recorded seconds pass in one. */
  constructor(speed: number) {
    this.#speed = speed;
  }

  /** The next packet is the first of another file: its times start now. */
  restart(): void {
    this.#originMs = Number.NaN;
  }

  /** The batch in pieces, each as its packets fall due. Ends early when `signal` says so. */
  async *slices(batch: Batch, signal: AbortSignal): AsyncGenerator<Batch> {
    const { bytes, byteLength } = batch;
    let start = 0;
    while (start < byteLength && !signal.aborted) {
      const now = performance.now();
      let end = start;
      let packetCount = 0;
      let waitMs = 0;
      while (end < byteLength) {
        waitMs = this.#dueMs(bytes, end, now) - now;
        if (waitMs > 0) break;
        end += RECORD_HEADER_BYTES + readU32(bytes, end + RECORD_CAPTURED_BYTES);
        packetCount++;
      }
      if (packetCount > 0) {
        yield { ...batch, bytes: bytes.subarray(start, end), byteLength: end - start, packetCount };
        start = end;
      } else {
        await pause(Math.min(SLEEP_MS_MAX, Math.max(PACING_SLICE_MS, waitMs)), signal);
      }
    }
  }

  #dueMs(bytes: Uint8Array, at: number, now: number): number {
    const recordedMs = readU32(bytes, at) * 1000 + readU32(bytes, at + RECORD_NANOSECONDS) / 1e6;
    if (Number.isNaN(this.#originMs)) this.#originMs = now - recordedMs / this.#speed;
    return this.#originMs + recordedMs / this.#speed;
  }
}

/** Sleeps, or returns early when `signal` says so. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
