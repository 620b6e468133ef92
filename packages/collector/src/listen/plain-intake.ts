/**
 * Collects the packets of plain senders into batches, per sender and link type, and hands each batch on when it is
 * full or has waited BATCH_LINGER_MS. A plain sender has no name, no clock and no way to be answered: it is known by its
 * address, and a packet's time is the time it came.
 *
 * Memory: SLOTS_MAX × SLOT_BYTES = 33 MiB, however many senders there are; when slots run out, the one that has waited
 * longest is handed on early.
 */
import { BatchBuilder, type Batch } from '@tapline/shared/packet/batch.ts';
import { BATCH_LINGER_MS } from '@tapline/shared/packet/batch.ts';
import { PACKET_BYTES_MAX, RECORD_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { PLAIN_BYTES_MIN, plainLinkType, type PlainPayload } from './plain-packet.ts';

const SLOTS_MAX = 128;
const SLOT_BYTES = RECORD_BYTES_MAX;

export type PlainDropReason =
  | 'too-short' // not even an Ethernet header
  | 'too-large' // more than a packet can have
  | 'incomplete' // the connection broke before its end
  | 'garbage'; // in a stream of packets: bytes that are none, once for each run of them

export interface PlainCounters {
  packets: number;
  bytes: number;
  readonly dropped: Record<PlainDropReason, number>;
}

export interface PlainIntakeDependencies {
  readonly clock: TunnelClock;
  /** Where batches go. The batch is lent. `peer` is the sender's IP address. */
  readonly deliver: (peer: string, batch: Batch) => void;
}

interface Slot {
  readonly key: string;
  readonly peer: string;
  readonly builder: BatchBuilder;
  readonly dueAtMs: number;
}

export class PlainIntake {
  readonly counters: PlainCounters = {
    packets: 0,
    bytes: 0,
    dropped: { 'too-short': 0, 'too-large': 0, incomplete: 0, garbage: 0 },
  };
  readonly #payload: PlainPayload;
  readonly #clock: TunnelClock;
  readonly #deliver: (peer: string, batch: Batch) => void;
  /** In the order in which they are due. */
  readonly #slots = new Map<string, Slot>();
  readonly #buffers: Uint8Array[] = [];
  #cancelTimer: (() => void) | null = null;

  constructor(payload: PlainPayload, dependencies: PlainIntakeDependencies) {
    this.#payload = payload;
    this.#clock = dependencies.clock;
    this.#deliver = dependencies.deliver;
  }

  /** One packet from `peer`; its bytes are copied. */
  take(peer: string, bytes: Uint8Array): void {
    const { byteLength } = bytes;
    if (byteLength < PLAIN_BYTES_MIN || byteLength > PACKET_BYTES_MAX) {
      this.counters.dropped[byteLength < PLAIN_BYTES_MIN ? 'too-short' : 'too-large']++;
      return;
    }
    this.takeAs(peer, plainLinkType(bytes, this.#payload), bytes, byteLength);
  }

  /** One packet whose link type is known; its bytes, at most PACKET_BYTES_MAX, are copied. */
  takeAs(peer: string, linkType: number, bytes: Uint8Array, originalBytes: number): void {
    const { byteLength } = bytes;
    const key = `${String(linkType)} ${peer}`;
    let slot = this.#slots.get(key);
    if (slot !== undefined && !slot.builder.hasRoom(byteLength)) {
      this.#handOn(slot);
      slot = undefined;
    }
    slot ??= this.#openSlot(key, peer, linkType);
    const wallMs = this.#clock.wallMs();
    const seconds = Math.floor(wallMs / 1000);
    const nanoseconds = Math.floor((wallMs - seconds * 1000) * 1_000_000);
    slot.builder.append(seconds, nanoseconds, originalBytes, bytes, 0, byteLength);
    this.counters.packets++;
    this.counters.bytes += byteLength;
  }

  /** A packet that could not be received whole. */
  drop(reason: PlainDropReason, times = 1): void {
    this.counters.dropped[reason] += times;
  }

  /** Hands on everything. */
  flush(): void {
    for (const slot of [...this.#slots.values()]) this.#handOn(slot);
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  #openSlot(key: string, peer: string, linkType: number): Slot {
    const oldest = this.#slots.values().next().value;
    if (this.#slots.size >= SLOTS_MAX && oldest !== undefined) this.#handOn(oldest);
    const bytes = this.#buffers.pop() ?? new Uint8Array(SLOT_BYTES);
    const dueAtMs = this.#clock.monotonicMs() + BATCH_LINGER_MS;
    const slot = { key, peer, builder: new BatchBuilder(linkType, 0, bytes), dueAtMs };
    this.#slots.set(key, slot);
    this.#armTimer();
    return slot;
  }

  #handOn(slot: Slot): void {
    this.#slots.delete(slot.key);
    this.#deliver(slot.peer, slot.builder.take());
    this.#buffers.push(slot.builder.bytes);
  }

  #armTimer(): void {
    const first = this.#slots.values().next().value;
    if (this.#cancelTimer !== null || first === undefined) return;
    this.#cancelTimer = this.#clock.after(Math.max(0, first.dueAtMs - this.#clock.monotonicMs()), () => {
      this.#cancelTimer = null;
      const nowMs = this.#clock.monotonicMs();
      for (const slot of this.#slots.values()) {
        if (slot.dueAtMs > nowMs) break;
        this.#handOn(slot);
      }
      this.#armTimer();
    });
  }
}
