/**
 * The uplink that speaks the tunnel protocol (docs/protocol.md). What must stay true:
 * - a packet offered is acknowledged, queued or counted as dropped, never two of them and never none;
 * - a frame is kept until the collector says it is durable there, and every frame from WELCOME's position on is sent
 *   again after a connection was lost, in order within its lane: so the collector gets each exactly once;
 * - what is dropped becomes a GAP frame, which bears a sequence like a batch and is as sure to arrive;
 * - the capture never waits for the network: encoding, and a write to the spool, are all that `offer` costs.
 */
import type { Duplex } from 'node:stream';
import { assert } from '@tapline/shared/base/assert.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import type { CodecName } from '@tapline/shared/tunnel/codec.ts';
import { broken } from '@tapline/shared/tunnel/frame.ts';
import { SENSOR_NAME, encodeLane, type Refuse, type Welcome } from '@tapline/shared/tunnel/messages.ts';
import { capturedBytesOf } from '@tapline/shared/tunnel/packet-batch.ts';
import { systemTunnelClock, type TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { CollectorDialer } from './collector-dialer.ts';
import { collectorName } from './collector-list.ts';
import { untilDrained } from './drain-deadline.ts';
import { acceptWelcome, helloOf, positionOf, type Introduction } from './handshake.ts';
import { OutgoingFrames } from './outgoing-frames.ts';
import type { Lane, LaneTable } from '../spool/lane-table.ts';
import { LinkRate } from './link-rate.ts';
import { RoomWaiters } from './room-waiters.ts';
import { UplinkConnection } from './uplink-connection.ts';
import { encodeUplinkReport, newUplinkCounters } from './uplink-counters.ts';
import type { Uplink, UplinkDependencies, UplinkOptions } from './uplink.ts';

const HEARTBEAT_INTERVAL_MS = 5_000;
const IDLE_TIMEOUT_MS = 20_000;
const REPORT_INTERVAL_MS = 10_000;

export class TunnelUplink implements Uplink {
  readonly counters = newUplinkCounters();

  readonly #options: UplinkOptions;
  readonly #dependencies: UplinkDependencies;
  readonly #clock: TunnelClock;
  readonly #outgoing: OutgoingFrames;
  readonly #lanes: LaneTable;
  readonly #dialer: CollectorDialer;
  readonly #rate: LinkRate;
  readonly #room = new RoomWaiters();

  #connection: UplinkConnection | null = null;
  /** How much of the connection's `sentBytes` is in the ledger. */
  #countedBytes = 0;
  #codec: CodecName;
  #state: 'idle' | 'running' | 'draining' | 'closed' = 'idle';
  #saidBye = false;
  #finish: (() => void) | null = null;
  #isPumpArmed = false;
  #cancelPump: () => void = () => undefined;
  #cancelReport: () => void = () => undefined;

  /** Opens the spool: throws SPOOL_FAILED when that cannot be used. */
  constructor(options: UplinkOptions, dependencies: UplinkDependencies) {
    if (!SENSOR_NAME.test(options.sensor))
      throw new OperatingError('CONFIG_INVALID', `'${options.sensor}' cannot be a sensor's name`, {
        key: 'sensor',
      });
    this.#options = options;
    this.#dependencies = dependencies;
    this.#clock = dependencies.clock ?? systemTunnelClock;
    this.#codec = options.compression;
    this.#rate = new LinkRate(options.rate ?? { bytesPerSecond: Infinity, windows: [] }, this.#clock);
    this.#dialer = new CollectorDialer(options, dependencies, this.#clock, {
      opened: (socket) => {
        this.#greet(socket);
      },
      mayLeave: () => this.#connection !== null && this.#state === 'running',
      isInFlight: () => this.#lanes.isInFlight,
      leave: () => {
        this.#connection?.sayBye();
        this.#connection?.close('a collector that is wanted more is back');
      },
    });
    this.#outgoing = new OutgoingFrames(options, dependencies, this.#clock, this.counters);
    this.#lanes = this.#outgoing.lanes;
  }

  start(): void {
    assert(this.#state === 'idle', 'the uplink was started twice');
    this.#state = 'running';
    this.#outgoing.start(() => this.#state === 'closed');
    void this.#dialer.dial();
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
    if (!this.#outgoing.push(batch, bytes, priority, this.#codec)) return false;
    this.#pump();
    return true;
  }

  hasRoom(): boolean {
    return this.#outgoing.hasRoom();
  }

  waitForRoom(): Promise<void> {
    if (this.#state === 'draining' || this.#state === 'closed' || this.hasRoom()) return Promise.resolve();
    return this.#room.wait();
  }

  async drain(deadlineMs: number, hurry?: AbortSignal): Promise<number> {
    if (this.#state === 'closed') return 0;
    assert(this.#state !== 'draining', 'the uplink was drained twice');
    this.#outgoing.queueGap();
    this.#state = 'draining';
    this.#dialer.stay();
    this.#room.release();
    // With a spool nobody needs to wait for a collector that is away.
    const isHopeless = this.#hasSpool && this.#connection === null;
    await untilDrained({ deadlineMs: isHopeless ? 0 : deadlineMs, hurry, clock: this.#clock }, (done) => {
      this.#finish = done;
      this.#pump();
      this.#finishWhenDone();
    });
    return this.#close();
  }

  #greet(socket: Duplex): void {
    const { heartbeatIntervalMs = HEARTBEAT_INTERVAL_MS, idleTimeoutMs = IDLE_TIMEOUT_MS } = this.#options;
    this.#saidBye = false;
    this.#countedBytes = 0;
    // There is always a lane: a forwarder without traffic says where traffic would come.
    if (this.#lanes.lanes.length === 0) this.#lanes.current(0);
    const announced = this.#lanes.announceable();
    this.#connection = new UplinkConnection(
      socket,
      helloOf(this.#introduction(), this.#lanes, announced, this.#collectorName),
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
    this.#dependencies.events.connected?.({ ...this.#dialer.current, welcome });
    for (const [index, lane] of announced.entries())
      this.#acknowledged(lane.id, positionOf(welcome, announced, index).durableSequence);
    this.#lanes.beginLive();
    this.#lanes.retire();
    this.#dialer.welcomed();
    this.#pump();
  }

  #acknowledged(id: number, sequence: number): void {
    const lane = this.#lanes.openLane(id);
    if (lane?.queue.mayBeReceived(sequence) !== true)
      throw broken('sequence', 'the collector acknowledges what was never sent', { lane: id, sequence });
    const acknowledged = lane.queue.acknowledge(sequence);
    this.counters.acknowledgedPackets += acknowledged;
    const name = this.#collectorName;
    if (sequence > (lane.byCollector.get(name) ?? 0)) lane.byCollector.set(name, sequence);
    if (lane.queue.isEmpty) this.#lanes.retire();
    this.#outgoing.count();
    if (this.hasRoom()) this.#room.release();
    this.#dialer.acknowledged();
    this.#finishWhenDone();
  }

  #pump(): void {
    const connection = this.#connection;
    if (connection === null || !connection.isOpen || this.#dialer.isReturning) return;
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
      connection.write(encodeLane(this.#lanes.describe(lane, this.#collectorName)));
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
    this.#dialer.ended();
    for (const lane of this.#lanes.lanes) lane.isOpen = false;
    if (this.#state === 'closed') return;
    if (this.#state === 'draining' && (this.#hasSpool || (this.#lanes.isEmpty && (clean || this.#saidBye)))) {
      this.#finish?.();
      return;
    }
    const retryMs = this.#dialer.redial(refusal);
    if (retryMs === null) return;
    if (refusal !== null) this.#dependencies.events.refused?.({ ...refusal, retryMs });
    else this.#dependencies.events.disconnected?.({ reason, retryMs, queuedPackets: this.#lanes.packets });
    this.#finishWhenDone();
  }

  #finishWhenDone(): void {
    // With a connection the collector's BYE is awaited too; without one there is nobody left to say it.
    if (this.#state === 'draining' && this.#lanes.isEmpty && this.#connection === null) this.#finish?.();
  }

  #armReport(): void {
    this.#cancelReport = this.#clock.after(this.#options.reportIntervalMs ?? REPORT_INTERVAL_MS, () => {
      // A gap must not wait for the next packet to be reported.
      if (this.hasRoom()) this.#outgoing.queueGap();
      this.#pump();
      if (this.#connection?.isOpen === true && !this.#connection.isFull) this.#sendReport(false);
      this.#armReport();
    });
  }

  #sendReport(final: boolean): void {
    const sentAtMs = this.#clock.wallMs();
    this.#connection?.write(encodeUplinkReport(this.counters, this.#dependencies, sentAtMs, final));
  }

  get #collectorName(): string {
    return collectorName(this.#dialer.current);
  }

  get #hasSpool(): boolean {
    return (this.#dependencies.spool ?? null) !== null;
  }

  /** Returns the packets given up. */
  #close(): number {
    this.#state = 'closed';
    this.#cancelReport();
    this.#cancelPump();
    this.#dialer.close();
    this.#connection?.close('the forwarder stops');
    return this.#outgoing.close();
  }
}
