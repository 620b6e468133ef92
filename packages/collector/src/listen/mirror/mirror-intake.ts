/**
 * Unwraps mirrored frames and hands them on under the name of their mirror, as if a sensor had sent them:
 *
 *   <protocol>-<address of the switch>-<id>      vxlan-192.0.2.7-100, erspan-192.0.2.7-5; or the name the configuration gives
 *
 * The frame's VLAN tag is put back where the wrapping took it off. A packet's time is when it came. A mirror that counts its
 * packets tells what was lost on the way here: that is counted, and said once a minute.
 */
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { PlainIntake } from '../plain-intake.ts';
import { MirrorCursor, decodeMirror, type MirrorFault, type MirrorProtocol } from './mirror-header.ts';

/** A source's mirrors each have a counter; forged ones share the last. */
const MIRRORS_MAX = 256;
const MAC_BYTES = 12;
const TAG_BYTES = 4;
/** Later than that is a counter that started anew, or another network's delay. */
const SEQUENCE_STEP_MAX = 1_000_000;
const TELL_INTERVAL_MS = 60_000;

export interface MirrorName {
  readonly source: string;
  readonly id: number;
  readonly sensor: string;
}

export interface MirrorEvents {
  /** Once a minute at most, for all that was lost since. */
  mirrorLost?(loss: { readonly sensor: string; readonly packets: number }): void;
}

export interface MirrorCounters {
  packets: number;
  /** Known from the mirrors' own counting. */
  missingPackets: number;
  truncatedPackets: number;
  readonly dropped: Record<MirrorFault | 'too-large', number>;
}

interface Mirror {
  sequence: number;
  untold: number;
  toldAtMs: number;
}

export class MirrorIntake {
  readonly counters: MirrorCounters = {
    packets: 0,
    missingPackets: 0,
    truncatedPackets: 0,
    dropped: { 'too-short': 0, 'not-this-protocol': 0, 'unknown-payload': 0, 'no-frame': 0, 'too-large': 0 },
  };
  readonly #protocol: MirrorProtocol;
  readonly #names: ReadonlyMap<string, string>;
  readonly #packets: PlainIntake;
  readonly #clock: TunnelClock;
  readonly #events: MirrorEvents;
  readonly #cursor = new MirrorCursor();
  readonly #mirrors = new Map<string, Mirror>();
  readonly #tagged = new Uint8Array(PACKET_BYTES_MAX);

  constructor(
    options: { readonly protocol: MirrorProtocol; readonly names: readonly MirrorName[] },
    dependencies: {
      readonly packets: PlainIntake;
      readonly clock: TunnelClock;
      readonly events: MirrorEvents;
    },
  ) {
    this.#protocol = options.protocol;
    this.#names = new Map(options.names.map(({ source, id, sensor }) => [`${source} ${String(id)}`, sensor]));
    this.#packets = dependencies.packets;
    this.#clock = dependencies.clock;
    this.#events = dependencies.events;
  }

  /** One wrapped frame from `source`, an IP address; its bytes are lent. */
  take(source: string, bytes: Uint8Array): void {
    const cursor = this.#cursor;
    decodeMirror(cursor, this.#protocol, bytes);
    if (cursor.fault !== null) {
      this.counters.dropped[cursor.fault]++;
      return;
    }
    const name =
      this.#names.get(`${source} ${String(cursor.id)}`) ?? `${this.#protocol}-${source}-${String(cursor.id)}`;
    if (cursor.sequence >= 0) this.#follow(name, cursor.sequence);
    if (cursor.isTruncated) this.counters.truncatedPackets++;
    const frame = bytes.subarray(cursor.frameOffset);
    if (frame.byteLength + TAG_BYTES > PACKET_BYTES_MAX) {
      this.counters.dropped['too-large']++;
      return;
    }
    this.counters.packets++;
    if (cursor.vlanTag < 0 || frame.byteLength < MAC_BYTES)
      this.#packets.takeAs(name, cursor.linkType, frame, Math.max(cursor.originalBytes, frame.byteLength));
    else
      this.#packets.takeAs(
        name,
        cursor.linkType,
        this.#withTag(frame, cursor.vlanTag),
        frame.byteLength + TAG_BYTES,
      );
  }

  #withTag(frame: Uint8Array, tag: number): Uint8Array {
    const tagged = this.#tagged;
    tagged.set(frame.subarray(0, MAC_BYTES));
    tagged[MAC_BYTES] = 0x81;
    tagged[MAC_BYTES + 1] = 0x00;
    tagged[MAC_BYTES + 2] = tag >>> 8;
    tagged[MAC_BYTES + 3] = tag & 255;
    tagged.set(frame.subarray(MAC_BYTES), MAC_BYTES + TAG_BYTES);
    return tagged.subarray(0, frame.byteLength + TAG_BYTES);
  }

  #follow(name: string, sequence: number): void {
    const key = this.#mirrors.size < MIRRORS_MAX || this.#mirrors.has(name) ? name : 'others';
    const mirror = this.#mirrors.get(key);
    if (mirror === undefined) {
      this.#mirrors.set(key, { sequence, untold: 0, toldAtMs: -Infinity });
      return;
    }
    // Counters wrap at 2^32. A step back is a packet that was overtaken; it was counted as missing a moment ago.
    const step = (sequence - mirror.sequence) >>> 0;
    if (step === 0 || key === 'others') return;
    if (step > 0xffff_ffff - SEQUENCE_STEP_MAX) {
      if (this.counters.missingPackets > 0) this.counters.missingPackets--;
      return;
    }
    mirror.sequence = sequence;
    if (step === 1 || step > SEQUENCE_STEP_MAX) return;
    this.counters.missingPackets += step - 1;
    mirror.untold += step - 1;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - mirror.toldAtMs < TELL_INTERVAL_MS) return;
    this.#events.mirrorLost?.({ sensor: name, packets: mirror.untold });
    mirror.untold = 0;
    mirror.toldAtMs = nowMs;
  }
}
