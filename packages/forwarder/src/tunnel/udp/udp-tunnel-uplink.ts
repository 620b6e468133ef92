/**
 * `udp-tunnel`: the tunnel for links on which nothing ever comes back, a data diode above all. Frames are those of the
 * TCP tunnel; each travels as a group of datagrams with parity (docs/protocol.md, "The UDP tunnel").
 *
 * What must stay true:
 * - offered = acknowledged + queued + dropped by reason, to the packet; *acknowledged* can only mean that the system took
 *   at least as many datagrams of the group as restore it;
 * - every BATCH and GAP bears the next sequence and is sent in that order, and each group says what came before it, so that
 *   whatever the link loses, the receiver can tell to the packet what is missing; also what was given up at a stop;
 * - the capture never waits for the link.
 *
 * HELLO is said every second, because a receiver may start at any time and cannot ask. It serves as heartbeat too: its
 * group says where the sequence stands, so a lost tail is noticed within a second.
 */
import { assert } from '@tapline/shared/base/assert.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { encodeBye, encodeHello } from '@tapline/shared/tunnel/messages.ts';
import { capturedBytesOf } from '@tapline/shared/tunnel/packet-batch.ts';
import { systemTunnelClock, type TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { untilDrained } from '../drain-deadline.ts';
import { RefillMark } from '../refill-mark.ts';
import { RoomWaiters } from '../room-waiters.ts';
import { LinkRate } from '../link-rate.ts';
import { encodeUplinkReport, newUplinkCounters } from '../uplink-counters.ts';
import { QUEUE_BYTES_MAX, type Uplink, type UplinkDependencies, type UplinkOptions } from '../uplink.ts';
import { DatagramSender } from './datagram-sender.ts';
import { FrameLine } from './frame-line.ts';
import { GroupEncoder, type OutgoingDatagram, type OutgoingFrame } from './group-encoder.ts';
import { OutgoingSequence } from './outgoing-sequence.ts';
import {
  UDP_BYTES_PER_SECOND,
  encoderOptions,
  senderOptions,
  type UdpTunnelOptions,
} from './udp-tunnel-options.ts';

const HELLO_INTERVAL_MS = 1000;
const REPORT_INTERVAL_MS = 10_000;
/** How long a group waits for others to be interleaved with. */
const LINGER_MS = 100;
/** 10 ms at 50 Mbit/s, and what a receive buffer of the default size holds. */
const BURST_BYTES = 64 * 1024;
const FAREWELLS = 5;
const FAREWELL_INTERVAL_MS = 20;
export class UdpTunnelUplink implements Uplink {
  readonly counters = newUplinkCounters();
  readonly #options: UplinkOptions;
  readonly #dependencies: UplinkDependencies;
  readonly #clock: TunnelClock;
  readonly #interleave: number;
  readonly #mark: RefillMark;
  readonly #encoder: GroupEncoder;
  readonly #sender: DatagramSender;
  readonly #room = new RoomWaiters();
  readonly #line = new FrameLine(this.counters);
  readonly #sequence: OutgoingSequence;
  /** HELLO, REPORT, BYE: they go out with the next block. */
  #controls: OutgoingFrame[] = [];
  #failing = false;
  #state: 'idle' | 'running' | 'draining' | 'closed' = 'idle';
  #finish: (() => void) | null = null;
  #cancelLinger: (() => void) | null = null;
  #isLingerOver = false;
  #cancelHello: () => void = () => undefined;
  #cancelReport: () => void = () => undefined;

  constructor(options: UplinkOptions, udp: UdpTunnelOptions, dependencies: UplinkDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#clock = dependencies.clock ?? systemTunnelClock;
    this.#interleave = udp.interleave;
    this.#mark = new RefillMark(options.queueBytesMax ?? QUEUE_BYTES_MAX);
    const [collector] = options.collectors;
    this.#encoder = new GroupEncoder(encoderOptions(udp, collector.host), this.#clock.wallMs());
    this.#sequence = new OutgoingSequence(
      options.compression,
      this.#encoder,
      this.#line,
      this.counters,
      dependencies.events,
    );
    this.#sender = new DatagramSender(senderOptions(udp, collector), {
      rate: new LinkRate(
        {
          ...(options.rate ?? { bytesPerSecond: UDP_BYTES_PER_SECOND, windows: [] }),
          burstBytesMax: BURST_BYTES,
        },
        this.#clock,
      ),
      clock: this.#clock,
      handlers: {
        opened: (address) => {
          this.#opened(address);
        },
        wanted: () => {
          this.#pump();
        },
        settled: (datagram, wasTaken) => {
          this.#settled(datagram, wasTaken);
        },
        idle: () => {
          this.#pump();
          this.#finishWhenDone();
        },
        failed: (message) => {
          if (!this.#failing) this.#dependencies.events.sendFailed?.({ message });
          this.#failing = true;
        },
      },
    });
  }

  /** 16 hex digits: names this life of the sequence. */
  get epoch(): string {
    return this.#encoder.epoch;
  }

  start(): void {
    assert(this.#state === 'idle', 'the uplink was started twice');
    this.#state = 'running';
    void this.#sender.open();
    this.#armReport();
  }

  offer(batch: Batch): boolean {
    this.counters.offeredPackets += batch.packetCount;
    this.counters.offeredBytes += capturedBytesOf(batch);
    if (this.#state === 'draining' || this.#state === 'closed') {
      this.counters.dropped.stopped += batch.packetCount;
      return false;
    }
    if (this.#options.onFull === 'drop-newest' && !this.hasRoom()) {
      this.#sequence.drop(batch, 'queue-full');
      return false;
    }
    this.#sequence.push(batch);
    this.#pump();
    return true;
  }

  hasRoom(): boolean {
    return this.#mark.hasRoom(this.counters.queuedBytes);
  }

  waitForRoom(): Promise<void> {
    if (this.#state === 'draining' || this.#state === 'closed' || this.hasRoom()) return Promise.resolve();
    return this.#room.wait();
  }

  async drain(deadlineMs: number, hurry?: AbortSignal): Promise<number> {
    if (this.#state === 'closed') return 0;
    assert(this.#state !== 'draining', 'the uplink was drained twice');
    this.#sequence.queueGaps();
    this.#state = 'draining';
    this.#room.release();
    await untilDrained({ deadlineMs, hurry, clock: this.#clock }, (done) => {
      this.#finish = done;
      this.#pump();
      this.#finishWhenDone();
    });
    this.#finish = null;
    const abandoned = this.#abandon();
    await this.#sayBye(hurry);
    this.#close();
    return abandoned;
  }

  #opened(address: string): void {
    const { port } = this.#options.collectors[0];
    this.counters.connections++;
    this.#dependencies.events.sending?.({ host: address, port, epoch: this.epoch });
    this.#sayHello();
  }

  #sayHello(): void {
    this.#cancelHello();
    // Behind a link that is not there they would only pile up.
    if (this.#controls.length === 0) {
      const { sensor, software = 'tapline-forwarder', compression } = this.#options;
      this.#pushControl(
        encodeHello({
          sensor,
          epoch: this.epoch,
          software,
          firstSequence: 1,
          codecs: compression === 'none' ? ['none'] : [compression, 'none'],
          interfaces: [...(this.#dependencies.interfaces?.() ?? [])],
          sentAtMs: this.#clock.wallMs(),
        }),
      );
      this.#pump();
    }
    this.#cancelHello = this.#clock.after(this.#options.heartbeatIntervalMs ?? HELLO_INTERVAL_MS, () => {
      this.#sayHello();
    });
  }

  #armReport(): void {
    this.#cancelReport = this.#clock.after(this.#options.reportIntervalMs ?? REPORT_INTERVAL_MS, () => {
      // A gap must not wait for the next packet to be reported.
      if (this.hasRoom()) this.#sequence.queueGaps();
      if (this.#controls.length < 2) this.#report(false);
      this.#pump();
      this.#armReport();
    });
  }

  #report(final: boolean): void {
    const sentAtMs = this.#clock.wallMs();
    this.#pushControl(encodeUplinkReport(this.counters, this.#dependencies, sentAtMs, final));
  }

  #pushControl(bytes: Uint8Array): void {
    if (this.#encoder.fits(bytes.byteLength))
      this.#controls.push({ bytes, sequence: 0, packetCount: 0, standsFor: null });
  }

  /** Makes blocks while the sender wants them: full ones, or what there is when it has waited long enough. */
  #pump(): void {
    while (this.#sender.wantsMore) {
      const { waiting } = this.#line;
      const isDue = waiting >= this.#interleave || this.#isLingerOver || this.#state === 'draining';
      if (this.#controls.length === 0 && (waiting === 0 || !isDue)) break;
      const frames = this.#line.take(this.#interleave);
      this.#endLinger();
      const block = [...this.#controls, ...frames];
      this.#controls = [];
      this.#sender.push(this.#encoder.encodeBlock(block));
    }
    if (this.#line.waiting > 0 && this.#cancelLinger === null && !this.#isLingerOver)
      this.#cancelLinger = this.#clock.after(LINGER_MS, () => {
        this.#cancelLinger = null;
        this.#isLingerOver = true;
        this.#pump();
      });
  }

  #endLinger(): void {
    this.#cancelLinger?.();
    this.#cancelLinger = null;
    this.#isLingerOver = false;
  }

  #settled(datagram: OutgoingDatagram, wasTaken: boolean): void {
    if (wasTaken) this.#failing = false;
    this.counters.sentBytes = this.#sender.sentBytes;
    if (!this.#line.settle(datagram, wasTaken)) return;
    if (this.hasRoom()) this.#room.release();
  }

  #finishWhenDone(): void {
    if (this.#state === 'draining' && this.#line.waiting === 0 && this.#sender.isIdle) this.#finish?.();
  }

  /** What was not sent is told by the farewells all the same: their groups speak of everything before. */
  #abandon(): number {
    const packets = this.counters.queuedPackets;
    for (const frame of this.#line.abandon()) this.#encoder.skip(frame);
    this.#sender.clear();
    if (packets > 0) this.#dependencies.events.abandoned?.({ packets });
    return packets;
  }

  /** The last report and several goodbyes, some time apart: nobody will ask for them again. */
  async #sayBye(hurry: AbortSignal | undefined): Promise<void> {
    this.#cancelHello();
    if (!this.#sender.isOpen) return;
    this.#controls = [];
    this.#report(true);
    for (let left = FAREWELLS; left > 0 && hurry?.aborted !== true; left--) {
      this.#pushControl(encodeBye({ reason: 'done' }));
      this.#pump();
      await new Promise<void>((resolve) => this.#clock.after(FAREWELL_INTERVAL_MS, resolve));
    }
  }

  #close(): void {
    this.#state = 'closed';
    this.#endLinger();
    this.#cancelHello();
    this.#cancelReport();
    this.#sender.close();
  }
}
