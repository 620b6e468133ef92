/**
 * The uplink that speaks the tunnel protocol (docs/protocol.md). What must stay true:
 * - a packet offered is acknowledged, queued or counted as dropped, never two of them and never none;
 * - a frame is kept until the collector says it is durable there, and every frame from WELCOME.nextSequence on is sent
 *   again after a connection was lost, in order: so the collector gets each exactly once;
 * - what is dropped becomes a GAP frame, which bears a sequence like a batch and is as sure to arrive;
 * - the capture never waits for the network: encoding is all that `offer` costs (about 1 ms per MiB).
 */
import { randomBytes } from 'node:crypto';
import { assert } from '@tapline/shared/base/assert.ts';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { RetrySchedule } from '@tapline/shared/base/retry-schedule.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { CODEC_NAMES, type CodecName } from '@tapline/shared/tunnel/codec.ts';
import { BATCH_PAYLOAD_BYTES_MAX, broken } from '@tapline/shared/tunnel/frame.ts';
import {
  SENSOR_NAME,
  encodeGap,
  encodeReport,
  type Hello,
  type Refuse,
  type Welcome,
} from '@tapline/shared/tunnel/messages.ts';
import { capturedBytesOf, encodeBatch, timeSpanOf } from '@tapline/shared/tunnel/packet-batch.ts';
import { systemTunnelClock, type TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { dialTcp, type Dial } from './dial-tcp.ts';
import { untilDrained } from './drain-deadline.ts';
import { GapTally } from './gap-tally.ts';
import { RoomWaiters } from './room-waiters.ts';
import { SendQueue } from './send-queue.ts';
import { UplinkConnection } from './uplink-connection.ts';
import { newUplinkCounters, reportedCounters } from './uplink-counters.ts';
import { QUEUE_BYTES_MAX, type Uplink, type UplinkDependencies, type UplinkOptions } from './uplink.ts';

const RETRY_FIRST_MS = 500;
const RETRY_CAP_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
const HEARTBEAT_INTERVAL_MS = 5_000;
const IDLE_TIMEOUT_MS = 20_000;
const REPORT_INTERVAL_MS = 10_000;
/** A connection that held so long was a good one: the next loss starts again with the shortest wait. */
const STABLE_MS = 5_000;
/** A full queue takes batches again when it is three quarters full: one long gap instead of a thousand short ones. */
const REFILL_SHARE = 0.75;
/** Refusals that trying again in a second cannot change. */
const LASTING_REFUSALS: ReadonlySet<string> = new Set(['version', 'hello', 'sensor', 'codec']);

export class TunnelUplink implements Uplink {
  readonly counters = newUplinkCounters();
  readonly epoch: string;

  readonly #options: UplinkOptions;
  readonly #dependencies: UplinkDependencies;
  readonly #clock: TunnelClock;
  readonly #dial: Dial;
  readonly #queueBytesMax: number;
  readonly #queue = new SendQueue();
  readonly #gap = new GapTally();
  readonly #room = new RoomWaiters();
  readonly #retry: RetrySchedule;
  readonly #aborter = new AbortController();

  #connection: UplinkConnection | null = null;
  #openedAtMs = 0;
  /** How much of the connection's `sentBytes` is in the ledger. */
  #countedBytes = 0;
  #codec: CodecName;
  #full = false;
  #state: 'idle' | 'running' | 'draining' | 'closed' = 'idle';
  #saidBye = false;
  #finish: (() => void) | null = null;
  #cancelRetry: () => void = () => undefined;
  #cancelReport: () => void = () => undefined;

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
    this.epoch = dependencies.epoch ?? randomBytes(8).toString('hex');
    this.#retry = new RetrySchedule(
      { firstMs: options.retryFirstMs ?? RETRY_FIRST_MS, capMs: options.retryCapMs ?? RETRY_CAP_MS },
      dependencies.random ?? Math.random,
    );
  }

  start(): void {
    assert(this.#state === 'idle', 'the uplink was started twice');
    this.#state = 'running';
    void this.#connect();
    this.#armReport();
  }

  offer(batch: Batch): boolean {
    const bytes = capturedBytesOf(batch);
    this.counters.offeredPackets += batch.packetCount;
    this.counters.offeredBytes += bytes;
    if (this.#state === 'draining' || this.#state === 'closed') {
      this.counters.dropped.stopped += batch.packetCount;
      return false;
    }
    if (this.#options.onFull === 'drop-newest' && !this.hasRoom()) {
      this.#drop(batch, bytes);
      return false;
    }
    this.#queueGap();
    this.#queue.push(encodeBatch(batch, this.#queue.nextSequence, this.#codec), batch.packetCount);
    this.#countQueue();
    this.#pump();
    return true;
  }

  hasRoom(): boolean {
    const { bytes } = this.#queue;
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
    this.#room.release();
    await untilDrained({ deadlineMs, hurry, clock: this.#clock }, (done) => {
      this.#finish = done;
      this.#pump();
      this.#finishWhenDone();
    });
    return this.#close();
  }

  #drop(batch: Batch, bytes: number): void {
    if (this.#gap.packets === 0)
      this.#dependencies.events.gapBegan?.({ reason: 'queue-full', queuedBytes: this.#queue.bytes });
    this.#gap.add(batch.packetCount, bytes, timeSpanOf(batch));
    this.counters.dropped['queue-full'] += batch.packetCount;
  }

  /** Small, and only between full and three quarters full: it may exceed the queue's limit. */
  #queueGap(): void {
    if (this.#gap.packets === 0) return;
    const gap = this.#gap.take('queue-full');
    this.#queue.push(encodeGap(gap, this.#queue.nextSequence), 0);
    this.counters.gapsReported++;
    this.#countQueue();
    this.#dependencies.events.gapEnded?.(gap);
  }

  #countQueue(): void {
    this.counters.queuedPackets = this.#queue.packets;
    this.counters.queuedBytes = this.#queue.bytes;
  }

  async #connect(): Promise<void> {
    const { host, port, connectTimeoutMs: timeoutMs = CONNECT_TIMEOUT_MS } = this.#options;
    let socket;
    try {
      socket = await this.#dial({ host, port, timeoutMs }, this.#aborter.signal);
    } catch (error) {
      if (this.#state === 'closed') return;
      const retryMs = this.#retryLater(this.#retry.nextDelayMs());
      const attempt = this.#retry.attempts;
      this.#dependencies.events.connectFailed?.({ message: messageOf(error), attempt, retryMs });
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
    this.#connection = new UplinkConnection(
      socket,
      this.#hello(),
      { heartbeatIntervalMs, idleTimeoutMs },
      this.#clock,
      {
        welcomed: (welcome) => {
          this.#welcomed(welcome);
        },
        acknowledged: (sequence) => {
          this.#acknowledged(sequence);
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

  #hello(): Hello {
    const { sensor, software = 'tapline-forwarder', compression } = this.#options;
    return {
      sensor,
      epoch: this.epoch,
      software,
      firstSequence: this.#queue.firstSequence,
      codecs:
        compression === 'none' ? ['none'] : [compression, ...CODEC_NAMES.filter((n) => n !== compression)],
      interfaces: [...(this.#dependencies.interfaces?.() ?? [])],
      sentAtMs: this.#clock.wallMs(),
    };
  }

  #welcomed(welcome: Welcome): void {
    const { nextSequence, durableSequence, codec, limits } = welcome;
    const { firstSequence } = this.#queue;
    if (
      nextSequence < firstSequence ||
      !this.#queue.mayBeReceived(nextSequence - 1) ||
      durableSequence >= nextSequence
    )
      throw broken('sequence', 'the collector asks for a sequence that cannot be', {
        nextSequence,
        firstSequence,
      });
    if (limits.payloadBytesMax < BATCH_PAYLOAD_BYTES_MAX)
      throw broken('limits', 'the collector takes no batch of full size', { ...limits });
    const known = CODEC_NAMES.find((name) => name === codec);
    if (known === undefined)
      throw broken('codec', `the collector chose an unknown codec ${codec}`, { codec });
    this.#codec = known;
    this.counters.connections++;
    this.#queue.rewindTo(nextSequence);
    const { host, port } = this.#options;
    this.#dependencies.events.connected?.({ host, port, welcome });
    this.#acknowledged(durableSequence);
    this.#pump();
  }

  #acknowledged(sequence: number): void {
    if (!this.#queue.mayBeReceived(sequence))
      throw broken('sequence', 'the collector acknowledges what was never sent', { sequence });
    this.counters.acknowledgedPackets += this.#queue.acknowledge(sequence);
    this.#countQueue();
    if (this.hasRoom()) this.#room.release();
    this.#finishWhenDone();
  }

  #pump(): void {
    const connection = this.#connection;
    if (connection === null || !connection.isOpen) return;
    while (!connection.isFull) {
      const resent = this.#queue.cursorWasSent;
      const frame = this.#queue.takeNext();
      if (frame === null) break;
      connection.write(frame.bytes);
      if (resent) this.counters.resentPackets += frame.packetCount;
      else this.counters.sentPackets += frame.packetCount;
    }
    if (this.#state === 'draining' && this.#queue.allSent && !this.#saidBye) {
      // Said before the acknowledgements are there: it makes the collector commit at once.
      this.#saidBye = true;
      this.#sendReport(true);
      connection.sayBye();
    }
    this.#countSent(connection);
  }

  #countSent(connection: UplinkConnection): void {
    this.counters.sentBytes += connection.sentBytes - this.#countedBytes;
    this.#countedBytes = connection.sentBytes;
  }

  #ended(reason: string, refusal: Refuse | null, clean: boolean): void {
    if (this.#connection !== null) this.#countSent(this.#connection);
    this.#connection = null;
    if (this.#state === 'closed') return;
    if (this.#state === 'draining' && this.#queue.isEmpty && (clean || this.#saidBye)) {
      this.#finish?.();
      return;
    }
    if (this.#clock.monotonicMs() - this.#openedAtMs >= STABLE_MS) this.#retry.reset();
    const lasting = refusal !== null && LASTING_REFUSALS.has(refusal.code);
    const delayMs = this.#retry.nextDelayMs();
    const retryMs = this.#retryLater(lasting ? (this.#options.retryCapMs ?? RETRY_CAP_MS) : delayMs);
    if (refusal !== null) this.#dependencies.events.refused?.({ ...refusal, retryMs });
    else this.#dependencies.events.disconnected?.({ reason, retryMs, queuedPackets: this.#queue.packets });
    this.#finishWhenDone();
  }

  #retryLater(delayMs: number): number {
    this.#cancelRetry = this.#clock.after(delayMs, () => {
      void this.#connect();
    });
    return Math.round(delayMs);
  }

  #finishWhenDone(): void {
    // With a connection the collector's BYE is awaited too; without one there is nobody left to say it.
    if (this.#state === 'draining' && this.#queue.isEmpty && this.#connection === null) this.#finish?.();
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
    this.#cancelRetry();
    this.#cancelReport();
    this.#aborter.abort();
    this.#connection?.close('the forwarder stops');
    const packets = this.#queue.abandon();
    this.counters.dropped.stopped += packets;
    this.#countQueue();
    if (packets > 0) this.#dependencies.events.abandoned?.({ packets });
    return packets;
  }
}
