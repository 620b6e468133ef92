/**
 * The door for one kind of mirror: a UDP socket, or for GRE and ERSPAN a raw one, which needs CAP_NET_RAW and a thread of its
 * own (`gre-worker.ts`).
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { Worker } from 'node:worker_threads';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { RECEIVE_BUFFER_BYTES, socketDrops } from '../udp-listener.ts';
import type { GreMessage } from './gre-protocol.ts';
import { eachPacket } from './gre-protocol.ts';
import type { MirrorIntake } from './mirror-intake.ts';

export interface MirrorListenerOptions {
  readonly protocol: 'vxlan' | 'geneve' | 'tzsp' | 'gre' | 'erspan';
  readonly host: string;
  /** Of UDP; 0: any that is free. */
  readonly port: number;
}

export interface MirrorListenerEvents {
  socketFailed?(failure: { readonly message: string }): void;
}

export class MirrorListener {
  readonly intake: MirrorIntake;
  readonly #options: MirrorListenerOptions;
  readonly #events: MirrorListenerEvents;
  #socket: Socket | null = null;
  #worker: Worker | null = null;
  #port = 0;

  constructor(options: MirrorListenerOptions, intake: MirrorIntake, events: MirrorListenerEvents) {
    this.#options = options;
    this.intake = intake;
    this.#events = events;
  }

  /** Resolves with the port when packets are taken; GRE has none. Rejects with LISTEN_FAILED. */
  async open(): Promise<number> {
    const { protocol } = this.#options;
    if (protocol === 'gre' || protocol === 'erspan') await this.#openRaw();
    else await this.#openUdp();
    return this.#port;
  }

  /** What the kernel dropped because this process was too slow. */
  kernelDroppedPackets(): number {
    return this.#socket === null ? 0 : (socketDrops(this.#port) ?? 0);
  }

  async close(): Promise<void> {
    this.#worker?.postMessage('stop');
    if (this.#worker !== null) await once(this.#worker, 'exit');
    if (this.#socket === null) return;
    this.#socket.close();
    await once(this.#socket, 'close');
  }

  async #openUdp(): Promise<void> {
    const { host, port, protocol } = this.#options;
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    this.#socket = socket;
    socket.on('message', (bytes, from) => {
      this.intake.take(from.address.replace(/^::ffff:/, ''), bytes);
    });
    try {
      socket.bind({ address: host, port });
      await once(socket, 'listening');
    } catch (error) {
      this.#socket = null;
      throw cannotListen(`${protocol} on ${host}:${String(port)}`, messageOf(error), error);
    }
    socket.on('error', (error) => {
      this.#events.socketFailed?.({ message: messageOf(error) });
    });
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
    this.#port = socket.address().port;
  }

  async #openRaw(): Promise<void> {
    const { host, protocol } = this.#options;
    const worker = new Worker(new URL('gre-worker.ts', import.meta.url), { workerData: { host } });
    const [first] = (await once(worker, 'message')) as [GreMessage];
    if (first.kind === 'failed')
      throw cannotListen(
        `${protocol} on ${host}`,
        `${first.message}; it needs CAP_NET_RAW: in a drop-in of the service, AmbientCapabilities=CAP_NET_RAW`,
      );
    this.#worker = worker;
    worker.on('message', (message: GreMessage) => {
      if (message.kind === 'packets')
        eachPacket(message.bytes, (source, bytes) => {
          this.intake.take(source, bytes);
        });
      else if (message.kind === 'failed') this.#events.socketFailed?.({ message: message.message });
    });
  }
}

function cannotListen(what: string, reason: string, cause?: unknown): OperatingError {
  return new OperatingError('LISTEN_FAILED', `cannot listen for ${what}: ${reason}`, {}, cause);
}
