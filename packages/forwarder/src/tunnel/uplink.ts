/**
 * What the pipeline sees of the way to the collector, whichever protocol it speaks:
 *
 *   tunnel     frames, sequences, acknowledgements, resending   tunnel-uplink.ts     nothing is lost silently
 *   udp-tunnel datagrams with parity, no way back               udp/…                gaps are exact, loss is the link's
 *   udp-plain  one datagram per frame                           plain-udp-uplink.ts  for collectors that know no better
 *   tcp-plain  one connection per frame                         plain-tcp-uplink.ts  the same
 *
 * For all of them, at any moment and to the packet: offered + recovered = acknowledged + queued + dropped by reason.
 */
import type { Credit, EdgeQuery } from '@tapline/shared/tunnel/edge-messages.ts';
import { assert } from '@tapline/shared/base/assert.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import type { CodecName } from '@tapline/shared/tunnel/codec.ts';
import type { InterfaceName, Refuse, Welcome } from '@tapline/shared/tunnel/messages.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { Spool } from '../spool/spool.ts';
import type { Collector } from './collector-list.ts';
import type { Dial } from './dial-tcp.ts';
import type { DrainOrder } from '../spool/lane-table.ts';
import type { LinkRateOptions } from './link-rate.ts';
import { PlainTcpUplink } from './plain-tcp-uplink.ts';
import { PlainUdpUplink } from './plain-udp-uplink.ts';
import { TunnelUplink } from './tunnel-uplink.ts';
import type { UdpTunnelOptions } from './udp/udp-tunnel-options.ts';
import { UdpTunnelUplink } from './udp/udp-tunnel-uplink.ts';

export type UplinkProtocol = 'tunnel' | 'udp-tunnel' | 'udp-plain' | 'tcp-plain';

/** 64 MiB: at 100 Mbit/s of OT traffic that shrinks 10 times, about a minute without a collector. */
export const QUEUE_BYTES_MAX = 64 * 1024 * 1024;

export type UplinkDropReason =
  | 'queue-full' // the link was slower than the traffic for longer than the queue lasts
  | 'spool-full' // the same, for longer than the spool lasts: the oldest had to go
  | 'spool-damaged' // the disk did not give back what it was given
  | 'stopped' // not acknowledged when the stop's deadline came, or offered after it
  | 'too-large' // plain modes: no datagram holds the frame; udp-tunnel: no group does
  | 'send-failed'; // plain modes and udp-tunnel: the system or the peer did not take it

export interface UplinkOptions {
  readonly protocol: UplinkProtocol;
  /** The wanted ones first. All but the tunnel know only the first. */
  readonly collectors: readonly [Collector, ...Collector[]];
  /** 1–64 of A–Z a–z 0–9 . _ -, not beginning with a dot: it names a directory at the collector. */
  readonly sensor: string;
  readonly compression: CodecName;
  /** Bytes that may wait in memory, as they go over the wire. The queue may exceed it by one batch. */
  readonly queueBytesMax?: number;
  /** Whether the oldest traffic leaves first after an outage, or the newest. Default: oldest-first. */
  readonly order?: DrainOrder;
  readonly rate?: LinkRateOptions;
  /** How often a collector that is wanted more is looked for. */
  readonly returnAfterMs?: number;
  /** Live captures drop what comes when the queue is full; replays wait for room. */
  readonly onFull: 'drop-newest' | 'wait';
  /** First and longest wait before another attempt to connect. */
  readonly retryFirstMs?: number;
  readonly retryCapMs?: number;
  readonly connectTimeoutMs?: number;
  readonly heartbeatIntervalMs?: number;
  /** A connection from which nothing came for so long is given up. */
  readonly idleTimeoutMs?: number;
  readonly reportIntervalMs?: number;
  /** `tapline-forwarder 0.1.0`, for the collector's list of sensors. */
  readonly software?: string;
  /** Needed for `udp-tunnel`. */
  readonly udp?: UdpTunnelOptions;
}

export interface UplinkCounters {
  offeredPackets: number;
  /** Captured bytes of the packets offered. */
  offeredBytes: number;
  /** Durable at the collector. Modes that know no answer: taken by the system or the connection. */
  acknowledgedPackets: number;
  queuedPackets: number;
  /** Bytes of the queue, as they go over the wire. */
  queuedBytes: number;
  readonly dropped: Record<UplinkDropReason, number>;
  /** Written to a connection at least once. */
  sentPackets: number;
  /** Of queuedBytes, what is on the disk. */
  spooledBytes: number;
  /** Found in the spool at the start: offered to an earlier life, and now to this one. */
  recoveredPackets: number;
  /** Written again after a connection was lost. */
  resentPackets: number;
  /** All bytes written, whatever they were. */
  sentBytes: number;
  /** Handshakes completed. */
  connections: number;
  gapsReported: number;
  /** The collector's clock is ahead by so much, as NTP reckons it. */
  clockOffsetMs: number;
}

/** One function per event. `reason` texts are sentences for a log. */
export interface UplinkEvents {
  connected?(connection: Collector & { readonly welcome: Welcome }): void;
  /** One-way: the first datagrams leave. Whether anybody takes them cannot be known here. */
  sending?(link: Collector & { readonly epoch: string }): void;
  disconnected?(loss: {
    readonly reason: string;
    readonly retryMs: number;
    readonly queuedPackets: number;
  }): void;
  connectFailed?(failure: {
    readonly collector: string;
    readonly message: string;
    readonly attempt: number;
    readonly retryMs: number;
  }): void;
  /** The collector said no. Codes version, hello, sensor and codec need a person. */
  refused?(refusal: Refuse & { readonly retryMs: number }): void;
  /** The queue is full: packets are being dropped from now on. */
  gapBegan?(gap: { readonly reason: UplinkDropReason; readonly queuedBytes: number }): void;
  /** There is room again; the gap is on its way to the collector. */
  gapEnded?(gap: {
    readonly packets: number;
    readonly bytes: number;
    readonly fromNs: string;
    readonly toNs: string;
  }): void;
  /** Nobody captured between the last life of this forwarder and now. */
  wasDown?(gap: { readonly fromNs: string; readonly toNs: string; readonly reason: string }): void;
  /** A collector that is wanted more can be reached again. */
  returning?(collector: Collector): void;
  /** What was not acknowledged before the stop waits in the spool. */
  kept?(kept: { readonly packets: number; readonly bytes: number }): void;
  /** The stop's deadline came before the last acknowledgement. */
  abandoned?(loss: { readonly packets: number }): void;
  /** Plain modes: frames are not taken. Once per kind of failure until one is taken again. */
  sendFailed?(failure: { readonly message: string }): void;
}

/** Who answers queries to the archive here. */
export interface EdgeAnswerer {
  /** `send`: false when the link has something better to do; to be asked again. */
  query(query: EdgeQuery, send: (frame: Uint8Array) => boolean): void;
  credit(credit: Credit): void;
  disconnected(): void;
}

export interface UplinkDependencies {
  readonly events: UplinkEvents;
  readonly clock?: TunnelClock;
  /** 0 ≤ x < 1, for the jitter. */
  readonly random?: () => number;
  readonly dial?: Dial;
  /** 16 hex digits for each lane; drawn at random where absent. */
  readonly newEpoch?: () => string;
  /** Where frames wait that memory cannot hold, or all of them; the uplink opens and closes it. */
  readonly spool?: Spool | null;
  /** What to call the interfaces of the batches, asked at every handshake and report. */
  readonly interfaces?: () => readonly InterfaceName[];
  /** Counters of the whole forwarder for the collector's eyes; this station's own are added. */
  readonly report?: () => Readonly<Record<string, number>>;
  /** Absent: queries are not answered. */
  readonly edge?: EdgeAnswerer;
}

export interface Uplink {
  readonly counters: Readonly<UplinkCounters>;
  /** Begins to connect, and never stops trying. */
  start(): void;
  /**
   * Takes a copy of the batch, which the lender may reuse at once. True: queued. False: dropped and counted. With
   * `onFull: 'wait'` it always takes the batch; the caller awaits `waitForRoom` before the next. `priority` 0 is sent
   * first; protocols without classes ignore it.
   */
  offer(batch: Batch, priority?: number): boolean;
  hasRoom(): boolean;
  /** Resolves when `hasRoom()`, or when the uplink is stopping. */
  waitForRoom(): Promise<void>;
  /**
   * The clean end: sends what is queued, waits for the acknowledgements and says goodbye, all within `deadlineMs`,
   * or until `hurry` aborts.
   * Then closes. What is left stays in the spool, or is given up: returns the number of those packets (counted as `stopped`).
   */
  drain(deadlineMs: number, hurry?: AbortSignal): Promise<number>;
}

export function createUplink(options: UplinkOptions, dependencies: UplinkDependencies): Uplink {
  switch (options.protocol) {
    case 'tunnel':
      return new TunnelUplink(options, dependencies);
    case 'udp-tunnel':
      assert(options.udp !== undefined, 'udp-tunnel without its options');
      return new UdpTunnelUplink(options, options.udp, dependencies);
    case 'udp-plain':
      return new PlainUdpUplink(options, dependencies);
    case 'tcp-plain':
      return new PlainTcpUplink(options, dependencies);
  }
}
