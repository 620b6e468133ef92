/**
 * The uplink that speaks the tunnel protocol (docs/protocol.md). What must stay true:
 * - a packet offered is acknowledged, queued or counted as dropped, never two of them and never none;
 * - a frame is kept until the collector says it is durable there, and every frame from WELCOME's position on is sent
 *   again after a connection was lost, in order within its lane: so the collector gets each exactly once;
 * - what is dropped becomes a GAP frame, which bears a sequence like a batch and is as sure to arrive;
 * - the capture never waits for the network: encoding, and a write to the spool, are all that `offer` costs.
 */
import { randomBytes } from 'node:crypto';
import { assert } from '@tapline/shared/base/assert.ts';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { RetrySchedule } from '@tapline/shared/base/retry-schedule.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import type { CodecName } from '@tapline/shared/tunnel/codec.ts';
import { broken } from '@tapline/shared/tunnel/frame.ts';
import {
  SENSOR_NAME,
  encodeGap,
  encodeLane,
  encodeReport,
  type Refuse,
  type Welcome,
} from '@tapline/shared/tunnel/messages.ts';
import { capturedBytesOf, encodeBatch, timeSpanOf } from '@tapline/shared/tunnel/packet-batch.ts';
import { systemTunnelClock, type TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { Spool } from '../spool/spool.ts';
import { CollectorList, collectorName, type Collector } from './collector-list.ts';
import { dialTcp, type Dial } from './dial-tcp.ts';
import { DownTime } from '../spool/down-time.ts';
import { untilDrained } from './drain-deadline.ts';
import { acceptWelcome, helloOf, positionOf, type Introduction } from './handshake.ts';
import { PreferredCollectors } from './preferred-collectors.ts';
import { GapTally } from './gap-tally.ts';
import { LaneTable, type Lane } from '../spool/lane-table.ts';
import { LinkRate } from './link-rate.ts';
import { RoomWaiters } from './room-waiters.ts';
import { UplinkConnection } from './uplink-connection.ts';
import { newUplinkCounters, reportedCounters } from './uplink-counters.ts';
import { QUEUE_BYTES_MAX, type Uplink, type UplinkDependencies, type UplinkOptions } from './uplink.ts';

const RETRY_FIRST_MS = 500;
const RETRY_CAP_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
const HEARTBEAT_INTERVAL_MS = 5_000;
const IDLE_TIMEOUT_MS = 20_000;
const REPORT_INTERVAL_MS = 10_000;
const RETURN_AFTER_MS = 60_000;
/** How long a change to a collector that is wanted more waits for the acknowledgements of the one that is left. */
const LEAVE_MS = 5_000;
/** A connection that held so long was a good one: the next loss starts again with the shortest wait. */
const STABLE_MS = 5_000;
/** A full queue takes batches again when it is three quarters full: one long gap instead of a thousand short ones. */
const REFILL_SHARE = 0.75;
/** Refusals that trying again in a second cannot change. */
const LASTING_REFUSALS: ReadonlySet<string> = new Set(['version', 'hello', 'sensor', 'codec']);

export class TunnelUplink implements Uplink {
  readonly counters = newUplinkCounters();

  readonly #options: UplinkOptions;
  readonly #dependencies: UplinkDependencies;
  readonly #clock: TunnelClock;
  readonly #dial: Dial;
  readonly #queueBytesMax: number;
  readonly #spool: Spool | null;
  readonly #lanes: LaneTable;
  readonly #downTime: DownTime;
  readonly #collectors: CollectorList;
  readonly #rate: LinkRate;
  readonly #preferred: PreferredCollectors;
  readonly #gap = new GapTally();
  readonly #room = new RoomWaiters();
  readonly #aborter = new AbortController();

  #connection: UplinkConnection | null = null;
  #openedAtMs = 0;
  /** How much of the connection's `sentBytes` is in the ledger. */
  #countedBytes = 0;
  #codec: CodecName;
  #full = false;
  #state: 'idle' | 'running' | 'draining' | 'closed' = 'idle';
  #saidBye = false;
  /** A collector that is wanted more, while the last acknowledgements of the present one are awaited. */
  #returningTo: Collector | null = null;
  #finish: (() => void) | null = null;
  #isPumpArmed = false;
  #cancelPump: () => void = () => undefined;
  #cancelRetry: () => void = () => undefined;
  #cancelReport: () => void = () => undefined;
  #cancelLeave: () => void = () => undefined;

  /** Opens the spool: throws SPOOL_FAILED when that cannot be used. */
  constructor(options: UplinkOptions, dependencies: UplinkDependencies) {
    if (!SENSOR_NAME.test(options.sensor))
      throw new OperatingError('CONFIG_INVALID', `'${options.sensor}' cannot be a sensor's name`, {
        key: 'sensor',
      });
    this.#options = options;
    this.#dependencies = dependencies;
    this.#clock = dependencies.clock ?? systemTunnelClock;
    this.#dial = dependencies.dial ?? dialTcp;
    this.#queueBytesMax = options.queueBytesMax ?? QUEUE_BYTES_MAX;
    this.#codec = options.compression;
    this.#rate = new LinkRate(options.rate ?? { bytesPerSecond: Infinity, windows: [] }, this.#clock);
    const { retryFirstMs: firstMs = RETRY_FIRST_MS, retryCapMs: capMs = RETRY_CAP_MS } = options;
    const retry = new RetrySchedule({ firstMs, capMs }, dependencies.random ?? Math.random);
    this.#collectors = new CollectorList(options.collectors, retry);
    this.#preferred = new PreferredCollectors(
      {
        intervalMs: options.returnAfterMs ?? RETURN_AFTER_MS,
        timeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      },
      {
        clock: this.#clock,
        dial: this.#dial,
        found: (collector) => {
          this.#return(collector);
        },
      },
    );
    this.#spool = dependencies.spool ?? null;
    const found = this.#spool?.open();
    this.#lanes = new LaneTable(
      {
        order: options.order ?? 'oldest-first',
        queueBytesMax: this.#queueBytesMax,
        newEpoch: dependencies.newEpoch ?? ((): string => randomBytes(8).toString('hex')),
      },
      this.#spool,
      found?.lanes,
    );
    const isComplete = found?.state?.mode === 'always';
    this.#downTime = new DownTime(this.#clock, found === undefined ? null : { ...found, isComplete });
    this.counters.recoveredPackets = this.#lanes.packets;
    this.#countQueue();
  }

  start(): void {
    assert(this.#state === 'idle', 'the uplink was started twice');
    this.#state = 'running';
    if (this.#options.onFull === 'drop-newest') this.#reportDownTime();
    this.#spool?.keep(
      () =>
        this.#downTime.state(this.#lanes, this.#spool?.options.mode ?? 'always', this.#state === 'closed'),
      () => this.#lanes.dropOrder(),
    );
    void this.#connect();
    this.#armReport();
  }

  offer(batch: Batch, priority = 0): boolean {
    const bytes = capturedBytesOf(batch);
    this.counters.offeredPackets += batch.packetCount;
    this.counters.offeredBytes += bytes;
    if (this.#state === 'draining' || this.#state === 'closed') {
      this.counters.dropped.stopped += batch.packetCount;
      return false;
    }
    if (this.#options.onFull === 'drop-newest' && !this.hasRoom()) {
      this.#drop(batch, bytes, priority);
      return false;
    }
    this.#queueGap();
    this.#lanes.push(priority, batch.packetCount, (sequence, lane) => {
      const frame = encodeBatch(batch, sequence, this.#codec, lane);
      this.#downTime.offered(frame);
      return frame;
    });
    this.#countQueue();
    this.#pump();
    return true;
  }

  hasRoom(): boolean {
    // A replay waits for the collector; a live capture fills the disk first, where there is one.
    const isPatient = this.#options.onFull === 'wait';
    if (this.#full) this.#lanes.relieve();
    const bytes = isPatient ? this.#lanes.bytes : this.#lanes.unspooledBytes;
    if (bytes >= this.#queueBytesMax) this.#full = true;
    else if (bytes <= this.#queueBytesMax * REFILL_SHARE) this.#full = false;
    return !this.#full;
  }

  waitForRoom(): Promise<void> {
    if (this.#state === 'draining' || this.#state === 'closed' || this.hasRoom()) return Promise.resolve();
    return this.#room.wait();
  }

  async drain(deadlineMs: number, hurry?: AbortSignal): Promise<number> {
    if (this.#state === 'closed') return 0;
    assert(this.#state !== 'draining', 'the uplink was drained twice');
    this.#queueGap();
    this.#state = 'draining';
    this.#returningTo = null;
    this.#room.release();
    // With a spool nobody needs to wait for a collector that is away.
    const isHopeless = this.#spool !== null && this.#connection === null;
    await untilDrained({ deadlineMs: isHopeless ? 0 : deadlineMs, hurry, clock: this.#clock }, (done) => {
      this.#finish = done;
      this.#pump();
      this.#finishWhenDone();
    });
    return this.#close();
  }

  #drop(batch: Batch, bytes: number, priority: number): void {
    if (this.#gap.packets === 0)
      this.#dependencies.events.gapBegan?.({ reason: 'queue-full', queuedBytes: this.#lanes.bytes });
    this.#gap.add(batch.packetCount, bytes, timeSpanOf(batch), priority);
    this.counters.dropped['queue-full'] += batch.packetCount;
  }

  /** Small, and only between full and three quarters full: it may exceed the queue's limit. */
  #queueGap(): void {
    if (this.#gap.packets === 0) return;
    const { priority } = this.#gap;
    const gap = this.#gap.take('queue-full');
    this.#lanes.push(priority, 0, (sequence, lane) => encodeGap(gap, sequence, lane));
    this.counters.gapsReported++;
    this.#countQueue();
    this.#dependencies.events.gapEnded?.(gap);
  }

  /** Nobody captured between the last life and this one: the collector shall know. */
  #reportDownTime(): void {
    const gap = this.#downTime.gap();
    if (gap === null) return;
    this.#lanes.push(0, 0, (sequence, lane) => encodeGap(gap, sequence, lane));
    this.counters.gapsReported++;
    this.#countQueue();
    this.#dependencies.events.wasDown?.(gap);
  }

  #countQueue(): void {
    this.counters.queuedPackets = this.#lanes.packets;
    this.counters.queuedBytes = this.#lanes.bytes;
    if (this.#spool === null) return;
    this.counters.spooledBytes = this.#spool.bytes;
    Object.assign(this.counters.dropped, this.#spool.lost);
  }

  async #connect(): Promise<void> {
    const collector = this.#collectors.current;
    const { connectTimeoutMs: timeoutMs = CONNECT_TIMEOUT_MS } = this.#options;
    let socket;
    try {
      socket = await this.#dial({ ...collector, timeoutMs }, this.#aborter.signal);
    } catch (error) {
      if (this.#state === 'closed') return;
      const retryMs = this.#retryLater(this.#collectors.failed());
      this.#dependencies.events.connectFailed?.({
        collector: collectorName(collector),
        message: messageOf(error),
        attempt: this.#collectors.attempts,
        retryMs,
      });
      return;
    }
    if (this.#isClosed()) {
      socket.on('error', () => undefined).destroy();
      return;
    }
    const { heartbeatIntervalMs = HEARTBEAT_INTERVAL_MS, idleTimeoutMs = IDLE_TIMEOUT_MS } = this.#options;
    this.#openedAtMs = this.#clock.monotonicMs();
    this.#saidBye = false;
    this.#countedBytes = 0;
    // There is always a lane: a forwarder without traffic says where traffic would come.
    if (this.#lanes.lanes.length === 0) this.#lanes.current(0);
    const announced = this.#lanes.announceable();
    this.#connection = new UplinkConnection(
      socket,
      helloOf(this.#introduction(), this.#lanes, announced, collectorName(collector)),
      { heartbeatIntervalMs, idleTimeoutMs },
      this.#clock,
      {
        welcomed: (welcome) => {
          this.#welcomed(welcome, announced);
        },
        acknowledged: (lane, sequence) => {
          this.#acknowledged(lane, sequence);
        },
        clockCompared: (offsetMs) => {
          this.counters.clockOffsetMs = offsetMs;
        },
        asked: (query) => {
          this.#dependencies.edge?.query(query, (frame) => this.#sendAnswer(frame));
        },
        credited: (credit) => {
          this.#dependencies.edge?.credit(credit);
        },
        writable: () => {
          this.#pump();
        },
        ended: (end) => {
          this.#ended(end.reason, end.refusal, end.clean);
        },
      },
    );
  }

  #introduction(): Introduction {
    const { sensor, software = 'tapline-forwarder', compression } = this.#options;
    const interfaces = this.#dependencies.interfaces?.() ?? [];
    const edge = this.#dependencies.edge !== undefined;
    return { sensor, software, compression, interfaces, edge, sentAtMs: this.#clock.wallMs() };
  }

  #welcomed(welcome: Welcome, announced: readonly Lane[]): void {
    this.#codec = acceptWelcome(welcome, announced);
    this.counters.connections++;
    this.#dependencies.events.connected?.({ ...this.#collectors.current, welcome });
    for (const [index, lane] of announced.entries())
      this.#acknowledged(lane.id, positionOf(welcome, announced, index).durableSequence);
    this.#lanes.beginLive();
    this.#lanes.retire();
    this.#preferred.lookFor(this.#collectors.preferred);
    this.#pump();
  }

  #acknowledged(id: number, sequence: number): void {
    const lane = this.#lanes.openLane(id);
    if (lane?.queue.mayBeReceived(sequence) !== true)
      throw broken('sequence', 'the collector acknowledges what was never sent', { lane: id, sequence });
    const acknowledged = lane.queue.acknowledge(sequence);
    this.counters.acknowledgedPackets += acknowledged;
    const name = collectorName(this.#collectors.current);
    if (sequence > (lane.byCollector.get(name) ?? 0)) lane.byCollector.set(name, sequence);
    if (lane.queue.isEmpty) this.#lanes.retire();
    this.#countQueue();
    if (this.hasRoom()) this.#room.release();
    if (this.#returningTo !== null && !this.#lanes.isInFlight) this.#leave();
    this.#finishWhenDone();
  }

  #pump(): void {
    const connection = this.#connection;
    if (connection === null || !connection.isOpen || this.#returningTo !== null) return;
    this.#openLanes(connection);
    while (!connection.isFull) {
      const lane = this.#lanes.next();
      if (lane === null) break;
      const waitMs = this.#rate.waitMs();
      if (waitMs > 0) {
        this.#pumpLater(waitMs);
        break;
      }
      const resent = lane.queue.cursorWasSent;
      const frame = lane.queue.takeNext();
      if (frame === null) break;
      connection.write(frame.bytes);
      this.#rate.spend(frame.bytes.byteLength);
      if (resent) this.counters.resentPackets += frame.packetCount;
      else this.counters.sentPackets += frame.packetCount;
    }
    if (this.#state === 'draining' && this.#lanes.allSent && !this.#saidBye) {
      // Said before the acknowledgements are there: it makes the collector commit at once.
      this.#saidBye = true;
      this.#sendReport(true);
      connection.sayBye();
    }
    this.#countSent(connection);
  }

  /** Lanes that came up since the HELLO. */
  #openLanes(connection: UplinkConnection): void {
    for (const lane of this.#lanes.announceable()) {
      if (lane.isOpen || this.#lanes.openLane(lane.id) !== null) continue;
      connection.write(encodeLane(this.#lanes.describe(lane, collectorName(this.#collectors.current))));
      lane.isOpen = true;
    }
  }

  #pumpLater(waitMs: number): void {
    if (this.#isPumpArmed) return;
    this.#isPumpArmed = true;
    this.#cancelPump = this.#clock.after(waitMs, () => {
      this.#isPumpArmed = false;
      this.#pump();
    });
  }

  #countSent(connection: UplinkConnection): void {
    this.counters.sentBytes += connection.sentBytes - this.#countedBytes;
    this.#countedBytes = connection.sentBytes;
  }

  /** Behind everything that is live: false while any of that waits, or the link takes no more. */
  #sendAnswer(frame: Uint8Array): boolean {
    const connection = this.#connection;
    if (connection === null || !connection.isOpen || connection.isFull || this.#rate.waitMs() > 0)
      return false;
    if (this.#lanes.next() !== null) return false;
    connection.write(frame);
    this.#rate.spend(frame.byteLength);
    this.#countSent(connection);
    return true;
  }

  #ended(reason: string, refusal: Refuse | null, clean: boolean): void {
    this.#dependencies.edge?.disconnected();
    if (this.#connection !== null) this.#countSent(this.#connection);
    this.#connection = null;
    this.#preferred.stop();
    this.#cancelLeave();
    for (const lane of this.#lanes.lanes) lane.isOpen = false;
    if (this.#state === 'closed') return;
    if (
      this.#state === 'draining' &&
      (this.#spool !== null || (this.#lanes.isEmpty && (clean || this.#saidBye)))
    ) {
      this.#finish?.();
      return;
    }
    if (this.#returningTo !== null) {
      this.#collectors.choose(this.#returningTo);
      this.#returningTo = null;
      void this.#connect();
      return;
    }
    const isStable = this.#clock.monotonicMs() - this.#openedAtMs >= STABLE_MS;
    const delayMs = isStable ? this.#collectors.lost() : this.#collectors.failed();
    const isLasting = refusal !== null && LASTING_REFUSALS.has(refusal.code) && delayMs > 0;
    const retryMs = this.#retryLater(isLasting ? (this.#options.retryCapMs ?? RETRY_CAP_MS) : delayMs);
    if (refusal !== null) this.#dependencies.events.refused?.({ ...refusal, retryMs });
    else this.#dependencies.events.disconnected?.({ reason, retryMs, queuedPackets: this.#lanes.packets });
    this.#finishWhenDone();
  }

  #retryLater(delayMs: number): number {
    this.#cancelRetry = this.#clock.after(delayMs, () => {
      void this.#connect();
    });
    return Math.round(delayMs);
  }

  /** One that is wanted more can be reached: goes there when what is under way is acknowledged, or has had its time. */
  #return(collector: Collector): void {
    if (this.#connection === null || this.#state !== 'running') return;
    this.#dependencies.events.returning?.(collector);
    this.#returningTo = collector;
    this.#cancelLeave = this.#clock.after(LEAVE_MS, () => {
      this.#leave();
    });
    if (!this.#lanes.isInFlight) this.#leave();
  }

  #leave(): void {
    this.#cancelLeave();
    this.#connection?.sayBye();
    this.#connection?.close('a collector that is wanted more is back');
  }

  #finishWhenDone(): void {
    // With a connection the collector's BYE is awaited too; without one there is nobody left to say it.
    if (this.#state === 'draining' && this.#lanes.isEmpty && this.#connection === null) this.#finish?.();
  }

  #armReport(): void {
    this.#cancelReport = this.#clock.after(this.#options.reportIntervalMs ?? REPORT_INTERVAL_MS, () => {
      // A gap must not wait for the next packet to be reported.
      if (this.hasRoom()) this.#queueGap();
      this.#pump();
      if (this.#connection?.isOpen === true && !this.#connection.isFull) this.#sendReport(false);
      this.#armReport();
    });
  }

  #sendReport(final: boolean): void {
    const counters = { ...reportedCounters(this.counters), ...this.#dependencies.report?.() };
    const interfaces = [...(this.#dependencies.interfaces?.() ?? [])];
    this.#connection?.write(encodeReport({ sentAtMs: this.#clock.wallMs(), final, counters, interfaces }));
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** Returns the packets given up. */
  #close(): number {
    this.#state = 'closed';
    for (const cancel of [this.#cancelRetry, this.#cancelReport, this.#cancelPump, this.#cancelLeave])
      cancel();
    this.#preferred.stop();
    this.#aborter.abort();
    this.#connection?.close('the forwarder stops');
    const packets = this.#lanes.abandon();
    this.counters.dropped.stopped += packets;
    this.#countQueue();
    if (packets > 0) this.#dependencies.events.abandoned?.({ packets });
    if (this.#spool === null) return packets;
    if (this.#lanes.packets > 0)
      this.#dependencies.events.kept?.({ packets: this.#lanes.packets, bytes: this.#lanes.bytes });
    this.#lanes.retire();
    this.#spool.close();
    return packets;
  }
}
