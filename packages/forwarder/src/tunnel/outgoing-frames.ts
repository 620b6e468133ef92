/**
 * What waits for the collector: frames in their lanes, in memory and in the spool, and the gap that the packets without room
 * will become. It keeps its part of the uplink's ledger: a packet pushed is queued or dropped by reason, never both.
 */
import { randomBytes } from 'node:crypto';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import type { CodecName } from '@tapline/shared/tunnel/codec.ts';
import { encodeGap, type Gap } from '@tapline/shared/tunnel/messages.ts';
import { encodeBatch, timeSpanOf } from '@tapline/shared/tunnel/packet-batch.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { DownTime } from '../spool/down-time.ts';
import { LaneTable } from '../spool/lane-table.ts';
import type { Spool } from '../spool/spool.ts';
import { GapTally } from './gap-tally.ts';
import { RefillMark } from './refill-mark.ts';
import {
  QUEUE_BYTES_MAX,
  type UplinkCounters,
  type UplinkDependencies,
  type UplinkEvents,
  type UplinkOptions,
} from './uplink.ts';

export class OutgoingFrames {
  readonly lanes: LaneTable;
  readonly #isPatient: boolean;
  readonly #counters: UplinkCounters;
  readonly #events: UplinkEvents;
  readonly #spool: Spool | null;
  readonly #downTime: DownTime;
  readonly #gap = new GapTally();
  readonly #mark: RefillMark;

  /** Opens the spool: throws SPOOL_FAILED when that cannot be used. */
  constructor(
    options: Pick<UplinkOptions, 'queueBytesMax' | 'order' | 'onFull'>,
    dependencies: Pick<UplinkDependencies, 'spool' | 'newEpoch' | 'events'>,
    clock: TunnelClock,
    counters: UplinkCounters,
  ) {
    const { queueBytesMax = QUEUE_BYTES_MAX, order = 'oldest-first', onFull } = options;
    this.#isPatient = onFull === 'wait';
    this.#counters = counters;
    this.#events = dependencies.events;
    this.#mark = new RefillMark(queueBytesMax);
    this.#spool = dependencies.spool ?? null;
    const found = this.#spool?.open();
    const newEpoch = dependencies.newEpoch ?? ((): string => randomBytes(8).toString('hex'));
    this.lanes = new LaneTable({ order, queueBytesMax, newEpoch }, this.#spool, found?.lanes);
    const isComplete = found?.state?.mode === 'always';
    this.#downTime = new DownTime(clock, found === undefined ? null : { ...found, isComplete });
    counters.recoveredPackets = this.lanes.packets;
    this.count();
  }

  /** Has the spool keep its state up to date; says when nobody captured. `isStopped`: whether the forwarder is on its way out. */
  start(isStopped: () => boolean): void {
    if (!this.#isPatient) this.#reportDownTime();
    this.#spool?.keep(
      () => this.#downTime.state(this.lanes, this.#spool?.options.mode ?? 'always', isStopped()),
      () => this.lanes.dropOrder(),
    );
  }

  /** Queues a batch of `bytes` captured bytes; false when it was dropped. */
  push(batch: Batch, bytes: number, priority: number, codec: CodecName): boolean {
    if (!this.#isPatient && !this.hasRoom()) {
      this.#drop(batch, bytes, priority);
      return false;
    }
    this.queueGap();
    this.lanes.push(priority, batch.packetCount, (sequence, lane) => {
      const frame = encodeBatch(batch, sequence, codec, lane);
      this.#downTime.offered(frame);
      return frame;
    });
    this.count();
    return true;
  }

  hasRoom(): boolean {
    // A replay waits for the collector; a live capture fills the disk first, where there is one.
    if (this.#mark.isFull) this.lanes.relieve();
    return this.#mark.hasRoom(this.#isPatient ? this.lanes.bytes : this.lanes.unspooledBytes);
  }

  /** What was dropped becomes a frame. Small, and only between full and three quarters full: it may exceed the queue's limit. */
  queueGap(): void {
    if (this.#gap.packets === 0) return;
    const { priority } = this.#gap;
    const gap = this.#gap.take('queue-full');
    this.#pushGap(gap, priority);
    this.#events.gapEnded?.(gap);
  }

  /** Brings the ledger up to date with the lanes. */
  count(): void {
    const counters = this.#counters;
    counters.queuedPackets = this.lanes.packets;
    counters.queuedBytes = this.lanes.bytes;
    if (this.#spool === null) return;
    counters.spooledBytes = this.#spool.bytes;
    Object.assign(counters.dropped, this.#spool.lost);
  }

  /** The end: what no spool keeps is given up. Returns its packets. */
  close(): number {
    const packets = this.lanes.abandon();
    this.#counters.dropped.stopped += packets;
    this.count();
    if (packets > 0) this.#events.abandoned?.({ packets });
    if (this.#spool === null) return packets;
    if (this.lanes.packets > 0) this.#events.kept?.({ packets: this.lanes.packets, bytes: this.lanes.bytes });
    this.lanes.retire();
    this.#spool.close();
    return packets;
  }

  #drop(batch: Batch, bytes: number, priority: number): void {
    if (this.#gap.packets === 0)
      this.#events.gapBegan?.({ reason: 'queue-full', queuedBytes: this.lanes.bytes });
    this.#gap.add(batch.packetCount, bytes, timeSpanOf(batch), priority);
    this.#counters.dropped['queue-full'] += batch.packetCount;
  }

  /** Nobody captured between the last life and this one: the collector shall know. */
  #reportDownTime(): void {
    const gap = this.#downTime.gap();
    if (gap === null) return;
    this.#pushGap(gap, 0);
    this.#events.wasDown?.(gap);
  }

  #pushGap(gap: Gap, priority: number): void {
    this.lanes.push(priority, 0, (sequence, lane) => encodeGap(gap, sequence, lane));
    this.#counters.gapsReported++;
    this.count();
  }
}
