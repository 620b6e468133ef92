/**
 * `tcp-plain`: one connection per frame, whose close is the frame's end, for collectors that know only this. Every
 * connection leaves a port in TIME_WAIT for a minute: some 470 frames a second to one collector is all there is. A frame
 * is "acknowledged" when its bytes were sent and the connection closed in order; one that fails is dropped and counted,
 * not repeated, because nobody can tell whether it arrived.
 */
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { systemTunnelClock, type TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { dialTcp, type Dial } from './dial-tcp.ts';
import { untilDrained } from './drain-deadline.ts';
import { PlainQueue } from './plain-queue.ts';
import type { Uplink, UplinkCounters, UplinkDependencies, UplinkOptions } from './uplink.ts';

/** The largest packet there is; the receiver's limit is the same. */
const FRAME_BYTES_MAX = 262_144;
/** Connections at once. In order within one is no promise of order among them. */
const IN_FLIGHT_MAX = 16;
const CONNECT_TIMEOUT_MS = 2000;
/** From the connection's beginning to its orderly end. */
const FRAME_TIMEOUT_MS = 10_000;

export class PlainTcpUplink implements Uplink {
  readonly #options: UplinkOptions;
  readonly #dependencies: UplinkDependencies;
  readonly #clock: TunnelClock;
  readonly #dial: Dial;
  readonly #queue: PlainQueue;
  readonly #aborter = new AbortController();
  #inFlight = 0;
  #failing = false;
  #started = false;

  constructor(options: UplinkOptions, dependencies: UplinkDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#clock = dependencies.clock ?? systemTunnelClock;
    this.#dial = dependencies.dial ?? dialTcp;
    this.#queue = new PlainQueue(options, dependencies.events, FRAME_BYTES_MAX);
  }

  get counters(): UplinkCounters {
    return this.#queue.counters;
  }

  start(): void {
    this.#started = true;
    this.#pump();
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
    const abandoned = this.#queue.abandon();
    this.#aborter.abort();
    return abandoned;
  }

  #pump(): void {
    while (this.#started && this.#inFlight < IN_FLIGHT_MAX) {
      const frame = this.#queue.take();
      if (frame === null) return;
      this.#inFlight++;
      void this.#send(frame);
    }
  }

  async #send(frame: Uint8Array): Promise<void> {
    try {
      await this.#deliver(frame);
      this.#failing = false;
      this.#queue.settle(frame, null);
    } catch (error) {
      this.#queue.settle(frame, 'send-failed');
      if (!this.#failing && !this.#aborter.signal.aborted)
        this.#dependencies.events.sendFailed?.({ message: messageOf(error) });
      this.#failing = true;
    }
    this.#inFlight--;
    this.#pump();
  }

  async #deliver(frame: Uint8Array): Promise<void> {
    const { collectors, connectTimeoutMs: timeoutMs = CONNECT_TIMEOUT_MS } = this.#options;
    const { host, port } = collectors[0];
    const socket = await this.#dial({ host, port, timeoutMs }, this.#aborter.signal);
    await new Promise<void>((resolve, reject) => {
      const cancel = this.#clock.after(FRAME_TIMEOUT_MS, () => {
        fail(
          new OperatingError('TUNNEL_UNREACHABLE', `${host} did not take a frame in time`, { host, port }),
        );
      });
      const abort = (): void => {
        fail(new OperatingError('TUNNEL_UNREACHABLE', 'given up', { host, port }));
      };
      const fail = (error: unknown): void => {
        cancel();
        socket.destroy();
        reject(error instanceof Error ? error : new Error(messageOf(error)));
      };
      this.#aborter.signal.addEventListener('abort', abort, { once: true });
      socket.on('error', fail);
      socket.on('close', () => {
        cancel();
        this.#aborter.signal.removeEventListener('abort', abort);
        if (socket.errored === null) resolve();
      });
      // A peer that answers is not listened to; without reading, its close would never be seen.
      socket.resume();
      socket.end(frame);
    });
  }
}
