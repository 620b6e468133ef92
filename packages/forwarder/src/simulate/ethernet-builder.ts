/**
 * Ethernet frames: Ethernet II, IEEE 802.1Q tags and IEEE 802.3 with LLC, built in one reused buffer and handed to the tap.
 *
 *   offset  size  field
 *        0     6  destination MAC
 *        6     6  source MAC
 *       12     4  802.1Q tag: 0x8100, then priority (3 bits), DEI (1), VLAN identifier (12); only in tagged frames
 *     12/16    2  EtherType, or in 802.3 the length of what follows
 *     14/18    n  payload, zeros up to the 60 bytes an Ethernet frame has at least (without its check sequence)
 *
 * A `Wire` belongs to one protocol and, in an attack, to one label, so that every frame is counted where it belongs.
 */
import { assert } from '@tapline/shared/base/assert.ts';
import { ETHERTYPE_VLAN } from '@tapline/shared/packet/ether-type.ts';
import type { LabelTally } from './labels.ts';
import type { Scheduler } from './scheduler.ts';
import type { Tally, Tap } from './tap.ts';

export const ETHERNET_HEADER_BYTES = 14;
/** IEEE 802.3, 3.2.7: 64 bytes with the frame check sequence, which captures do not show. */
const FRAME_BYTES_MIN = 60;
/** A payload of 1,500 bytes behind a tagged header. */
export const FRAME_BYTES_MAX = 1518;

export const BROADCAST = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);

export class Wire {
  /** The frame under construction. */
  readonly frame = new Uint8Array(FRAME_BYTES_MAX);
  readonly #scheduler: Scheduler;
  readonly #tap: Tap;
  readonly #tally: Tally;
  readonly #label: LabelTally | null;

  constructor(scheduler: Scheduler, tap: Tap, tally: Tally, label: LabelTally | null) {
    this.#scheduler = scheduler;
    this.#tap = tap;
    this.#tally = tally;
    this.#label = label;
  }

  /** Nanoseconds since the start of the capture. */
  get nowNs(): number {
    return this.#scheduler.nowNs;
  }

  /** Sends an Ethernet II frame. */
  send(source: Uint8Array, destination: Uint8Array, etherType: number, payload: Uint8Array): void {
    const at = this.header(source, destination, etherType);
    this.frame.set(payload, at);
    this.finish(at + payload.byteLength);
  }

  /** Sends a frame with an 802.1Q tag; VLAN 0 means a priority without a VLAN. */
  sendTagged(
    source: Uint8Array,
    destination: Uint8Array,
    priority: number,
    vlanId: number,
    etherType: number,
    payload: Uint8Array,
  ): void {
    let at = this.header(source, destination, ETHERTYPE_VLAN);
    at = this.#u16(at, (priority << 13) | vlanId);
    at = this.#u16(at, etherType);
    this.frame.set(payload, at);
    this.finish(at + payload.byteLength);
  }

  /** Sends an 802.3 frame, whose payload starts with its LLC header (IEEE 802.2). */
  sendLlc(source: Uint8Array, destination: Uint8Array, payload: Uint8Array): void {
    this.send(source, destination, payload.byteLength, payload);
  }

  /** Begins an Ethernet II frame; returns the offset of the payload, which the caller writes into `frame`. */
  header(source: Uint8Array, destination: Uint8Array, etherType: number): number {
    const { frame } = this;
    for (let i = 0; i < 6; i++) {
      frame[i] = destination[i] as number;
      frame[6 + i] = source[i] as number;
    }
    return this.#u16(12, etherType);
  }

  /** Pads the frame that ends at `byteLength` and sends it. */
  finish(byteLength: number): void {
    assert(byteLength <= FRAME_BYTES_MAX, 'the frame does not fit the wire');
    let end = byteLength;
    while (end < FRAME_BYTES_MIN) this.frame[end++] = 0;
    this.#tap.mirror(this.frame, end, this.#tally, this.#label);
  }

  #u16(at: number, value: number): number {
    this.frame[at] = value >>> 8;
    this.frame[at + 1] = value;
    return at + 2;
  }
}
