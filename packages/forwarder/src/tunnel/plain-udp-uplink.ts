/**
 * `udp-plain`: one datagram per frame and nothing else, for collectors that know only this. There is no answer, so
 * "acknowledged" means that the kernel took the datagram; what the network loses afterwards nobody can know. The
 * tunnel exists because of that sentence.
 */
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { messageOf } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { systemTunnelClock, type TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { untilDrained } from './drain-deadline.ts';
import { PlainQueue } from './plain-queue.ts';
import type { Uplink, UplinkCounters, UplinkDependencies, UplinkOptions } from './uplink.ts';

/** 65,535 less 20 bytes of IPv4 and 8 of UDP header. */
const DATAGRAM_BYTES_MAX = 65_507;
/** Datagrams handed to the kernel before the first comes back: enough to keep it busy, little to lose. */
const IN_FLIGHT_MAX = 64;
/** A name that does not resolve, and a route that is not there, are asked again after so long. */
const RETRY_MS = 1000;

export class PlainUdpUplink implements Uplink {
  readonly #options: UplinkOptions;
  readonly #dependencies: UplinkDependencies;
  readonly #clock: TunnelClock;
  readonly #queue: PlainQueue;
  #socket: Socket | null = null;
  #address = '';
  #inFlight = 0;
  #failing = false;
  #closed = false;
  #cancelRetry: () => void = () => undefined;

  constructor(options: UplinkOptions, dependencies: UplinkDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#clock = dependencies.clock ?? systemTunnelClock;
    this.#queue = new PlainQueue(options, dependencies.events, DATAGRAM_BYTES_MAX);
  }

  get counters(): UplinkCounters {
    return this.#queue.counters;
  }

  start(): void {
    void this.#open();
  }

  offer(batch: Batch): boolean {
    const taken = this.#queue.add(batch);
    this.#pump();
    return taken;
  }

  hasRoom(): boolean {
    return this.#queue.hasRoom();
  }

  waitForRoom(): Promise<void> {
    return this.#queue.waitForRoom();
  }

  async drain(deadlineMs: number, hurry?: AbortSignal): Promise<number> {
    await untilDrained({ deadlineMs, hurry, clock: this.#clock }, (done) => {
      this.#queue.stop(done);
    });
    this.#closed = true;
    this.#cancelRetry();
    const abandoned = this.#queue.abandon();
    this.#socket?.close();
    this.#socket = null;
    return abandoned;
  }

  /** Resolves the name once, not per packet. */
  async #open(): Promise<void> {
    try {
      const { address, family } = await lookup(this.#options.collectors[0].host);
      if (this.#closed) return;
      const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
      socket.on('error', (error) => {
        this.#failed(messageOf(error));
      });
      // Not connect()ed: a connected socket would lose datagrams to ICMP errors that belong to earlier ones.
      this.#address = address;
      this.#socket = socket;
      this.#pump();
    } catch (error) {
      this.#failed(messageOf(error));
      if (this.#closed) return;
      this.#cancelRetry = this.#clock.after(RETRY_MS, () => void this.#open());
    }
  }

  #pump(): void {
    const socket = this.#socket;
    if (socket === null) return;
    while (this.#inFlight < IN_FLIGHT_MAX) {
      const frame = this.#queue.take();
      if (frame === null) return;
      this.#inFlight++;
      socket.send(frame, this.#options.collectors[0].port, this.#address, (error) => {
        this.#inFlight--;
        if (this.#closed) return;
        this.#queue.settle(frame, error === null ? null : 'send-failed');
        if (error === null) this.#failing = false;
        else this.#failed(messageOf(error));
        this.#pump();
      });
    }
  }

  #failed(message: string): void {
    if (!this.#failing) this.#dependencies.events.sendFailed?.({ message });
    this.#failing = true;
  }
}
