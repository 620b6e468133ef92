/**
 * Frames on their way out one by one, for the plain modes: what the lender may take back is copied here, and leaves
 * frame by frame. Knows the books (offered = acknowledged + queued + dropped), not the network.
 *
 * The plain modes exist for collectors that take nothing else and carry a few hundred frames a second; so, unlike
 * anywhere else, one small object per packet is fine here.
 */
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, readU32 } from '@tapline/shared/packet/record.ts';
import { capturedBytesOf } from '@tapline/shared/tunnel/packet-batch.ts';
import { RoomWaiters } from './room-waiters.ts';
import { newUplinkCounters } from './uplink-counters.ts';
import { QUEUE_BYTES_MAX, type UplinkDropReason, type UplinkEvents, type UplinkOptions } from './uplink.ts';

export class PlainQueue {
  readonly counters = newUplinkCounters();
  readonly #options: UplinkOptions;
  readonly #events: UplinkEvents;
  readonly #bytesMax: number;
  readonly #frameBytesMax: number;
  readonly #room = new RoomWaiters();
  #frames: Uint8Array[] = [];
  #head = 0;
  /** Taken out, not yet settled. */
  #inFlight = 0;
  #stopping = false;
  #dropping = false;
  #whenEmpty: (() => void) | null = null;

  constructor(options: UplinkOptions, events: UplinkEvents, frameBytesMax: number) {
    this.#options = options;
    this.#events = events;
    this.#bytesMax = options.queueBytesMax ?? QUEUE_BYTES_MAX;
    this.#frameBytesMax = frameBytesMax;
  }

  hasRoom(): boolean {
    return this.counters.queuedBytes < this.#bytesMax;
  }

  waitForRoom(): Promise<void> {
    return this.#stopping || this.hasRoom() ? Promise.resolve() : this.#room.wait();
  }

  /** As `Uplink.offer`. Frames too large for the protocol are dropped here. */
  add(batch: Batch): boolean {
    this.counters.offeredPackets += batch.packetCount;
    this.counters.offeredBytes += capturedBytesOf(batch);
    const isFull = this.#options.onFull === 'drop-newest' && !this.hasRoom();
    if (this.#stopping || isFull) {
      this.counters.dropped[this.#stopping ? 'stopped' : 'queue-full'] += batch.packetCount;
      if (isFull && !this.#dropping)
        this.#events.gapBegan?.({ reason: 'queue-full', queuedBytes: this.counters.queuedBytes });
      this.#dropping = isFull;
      return false;
    }
    this.#dropping = false;
    // Not slice(): of a Buffer that would be a view of the lender's bytes.
    const bytes = new Uint8Array(batch.bytes.subarray(0, batch.byteLength));
    for (let offset = 0; offset < bytes.byteLength;) {
      const start = offset + RECORD_HEADER_BYTES;
      offset = start + readU32(bytes, offset + RECORD_CAPTURED_BYTES);
      if (offset - start > this.#frameBytesMax) this.counters.dropped['too-large']++;
      else this.#push(bytes.subarray(start, offset));
    }
    return true;
  }

  /** The next frame to be sent; every one taken must be settled once. */
  take(): Uint8Array | null {
    const frame = this.#frames[this.#head];
    if (frame === undefined) return null;
    this.#head++;
    this.#inFlight++;
    if (this.#head === this.#frames.length || this.#head > 4096) {
      this.#frames.splice(0, this.#head);
      this.#head = 0;
    }
    return frame;
  }

  /** `null`: the frame was taken by the system or the peer. Ignored after `abandon`. */
  settle(frame: Uint8Array, dropped: UplinkDropReason | null): void {
    if (this.#inFlight === 0) return;
    const { counters } = this;
    this.#inFlight--;
    counters.queuedPackets--;
    counters.queuedBytes -= frame.byteLength;
    if (dropped === null) {
      counters.acknowledgedPackets++;
      counters.sentPackets++;
      counters.sentBytes += frame.byteLength;
    } else counters.dropped[dropped]++;
    if (this.hasRoom()) this.#room.release();
    if (counters.queuedPackets === 0) this.#whenEmpty?.();
  }

  /** Takes nothing more; `action` runs once, when the last frame is settled. */
  stop(action: () => void): void {
    this.#stopping = true;
    this.#room.release();
    if (this.counters.queuedPackets === 0) action();
    else this.#whenEmpty = action;
  }

  /** Gives up what is left; returns the number of packets. */
  abandon(): number {
    const packets = this.counters.queuedPackets;
    this.counters.dropped.stopped += packets;
    this.counters.queuedPackets = this.counters.queuedBytes = 0;
    this.#frames = [];
    this.#head = this.#inFlight = 0;
    if (packets > 0) this.#events.abandoned?.({ packets });
    return packets;
  }

  #push(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.counters.queuedPackets++;
    this.counters.queuedBytes += frame.byteLength;
  }
}
