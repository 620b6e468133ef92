/**
 * Where readers of a feed come from: a port they connect to, or an address that is called again and again (PCAP-over-IP, both ways).
 * With TLS a reader needs a certificate of the authority that the configuration names.
 */
import { constants } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { RetrySchedule } from '../base/retry-schedule.ts';
import { OperatingError, messageOf } from '../base/errors.ts';
import type { TlsFiles } from '../system/tls-files.ts';
import type { LiveFeed, Replay } from './live-feed.ts';

const RETRY = { firstMs: 1000, capMs: 30_000 };
const HANDSHAKE_MS = 10_000;

export interface FeedDoorOptions {
  readonly mode: 'listen' | 'connect';
  readonly host: string;
  readonly port: number;
  /** Only for `listen`. */
  readonly tls: TlsFiles | null;
}

export interface FeedDoorEvents {
  connectFailed?(failure: {
    readonly feed: string;
    readonly to: string;
    readonly message: string;
    readonly retryMs: number;
  }): void;
  handshakeFailed?(failure: { readonly feed: string; readonly peer: string; readonly reason: string }): void;
}

export class FeedDoor {
  readonly #feed: LiveFeed;
  readonly #options: FeedDoorOptions;
  readonly #events: FeedDoorEvents;
  readonly #replay: (() => Replay) | undefined;
  #server: Server | null = null;
  #timer: NodeJS.Timeout | null = null;
  #socket: Socket | null = null;
  #isClosed = false;

  /** `replay`: makes what a new reader is sent of the past. */
  constructor(feed: LiveFeed, options: FeedDoorOptions, events: FeedDoorEvents, replay?: () => Replay) {
    this.#feed = feed;
    this.#options = options;
    this.#events = events;
    this.#replay = replay;
  }

  /** Opens the port, or begins to call. Resolves with the port; rejects with LISTEN_FAILED. */
  async open(): Promise<number> {
    if (this.#options.mode === 'connect') {
      this.#call(new RetrySchedule(RETRY, Math.random));
      return this.#options.port;
    }
    const { host, port } = this.#options;
    const server = (this.#server = this.#createServer());
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        reject(new OperatingError('LISTEN_FAILED', `port ${port} of ${host} cannot be opened for pcap_over_ip: ${messageOf(error)}`, { host, port }, error)); // prettier-ignore
      });
      server.listen(port, host, resolve);
    });
    server.on('error', () => undefined);
    return (server.address() as { port: number }).port;
  }

  close(): void {
    this.#isClosed = true;
    this.#server?.close();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#socket?.destroy();
  }

  #createServer(): Server {
    const { tls } = this.#options;
    if (tls === null) return createServer((socket) => this.#join(socket));
    const server = createTlsServer({
      ca: [...tls.ca],
      cert: tls.certificates.join(''),
      key: tls.key,
      ...(tls.crl === null ? {} : { crl: tls.crl }),
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      handshakeTimeout: HANDSHAKE_MS,
      // Every connection shows its certificate.
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
    server.on('secureConnection', (socket: TLSSocket) => {
      this.#join(socket);
    });
    server.on('tlsClientError', (error, socket) => {
      this.#events.handshakeFailed?.({ feed: this.#feed.options.name, peer: peerOf(socket), reason: messageOf(error) }); // prettier-ignore
      socket.destroy();
    });
    return server;
  }

  #join(socket: Socket): void {
    socket.setNoDelay(true);
    this.#feed.join(socket, peerOf(socket), this.#replay?.());
  }

  #call(retry: RetrySchedule): void {
    const { host, port } = this.#options;
    const socket = (this.#socket = connect({ host, port }));
    let message = 'the reader closed the connection';
    socket.once('connect', () => {
      retry.reset();
      this.#join(socket);
    });
    socket.on('error', (error) => {
      message = error.message;
    });
    socket.once('close', () => {
      if (this.#isClosed) return;
      const retryMs = Math.round(retry.nextDelayMs());
      this.#events.connectFailed?.({
        feed: this.#feed.options.name,
        to: `${host}:${port}`,
        message,
        retryMs,
      });
      this.#timer = setTimeout(() => {
        this.#call(retry);
      }, retryMs);
    });
  }
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''}:${socket.remotePort ?? ''}`;
}
