/**
 * Alerts as syslog (RFC 5424) with CEF inside, over TLS (RFC 5425) or plain TCP (RFC 6587), each message with its length before it.
 *
 *   length in bytes, decimal | space | message
 *
 * Syslog has no acknowledgement: a message counts as published when the system took it. What was under way when a connection broke is sent again, as a
 * whole batch; so the other side may see a message twice.
 */
import { connect, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { connect as connectTls } from 'node:tls';
import type { AlertRecord } from './alert-record.ts';
import { syslogMessage, type Facility, type SyslogOrigin } from './cef.ts';
import { QueuedSink, type Courier, type QueuedSinkOptions } from './queued-sink.ts';
import type { Sink, SinkEvents } from './sink.ts';
import type { ClientTls } from './client-tls.ts';

const BATCH_MAX = 200;
const CONNECT_TIMEOUT_MS = 10_000;
/** A receiver that takes nothing for this long is tried anew. */
const WRITE_TIMEOUT_MS = 30_000;
/**
 * In TLS 1.3 a client is through before the server has looked at its certificate, and what it writes then goes to a server that is about to say no. The
 * server's first session ticket says yes; of a server that sends none so long a silence must do.
 */
const ADMISSION_MS = 1000;

export interface SyslogSinkOptions {
  readonly host: string;
  readonly port: number;
  readonly facility: Facility;
  readonly version: string;
  /** Reads the files again for each connection; null: plain TCP. */
  readonly tls: (() => ClientTls) | null;
  readonly hostname?: string;
}

export function syslogSink(
  options: SyslogSinkOptions,
  events: SinkEvents,
  queue: Partial<QueuedSinkOptions> = {},
): Sink {
  return new QueuedSink({ name: 'syslog', ...queue }, new SyslogCourier(options), events);
}

class SyslogCourier implements Courier {
  readonly batchMax = BATCH_MAX;
  readonly #options: SyslogSinkOptions;
  readonly #origin: SyslogOrigin;
  #socket: Socket | null = null;

  constructor(options: SyslogSinkOptions) {
    this.#options = options;
    const { facility, version } = options;
    this.#origin = { facility, version, hostname: options.hostname ?? hostname(), processId: process.pid };
  }

  async deliver(records: readonly AlertRecord[], signal: AbortSignal): Promise<void> {
    const socket = (this.#socket ??= await this.#connect(signal));
    const frames = records.map((record) => octetCounted(syslogMessage(record, this.#origin))).join('');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const fail = (reason: string): void => {
      reject(new Error(`${this.#options.host}:${this.#options.port}: ${reason}`));
    };
    const onError = (error: Error): void => {
      fail(error.message);
    };
    const onClose = (): void => {
      fail('the connection was closed');
    };
    const onAbort = (): void => {
      fail('stopped');
    };
    const timer = setTimeout(() => {
      fail('takes nothing');
    }, WRITE_TIMEOUT_MS);
    socket.once('error', onError).once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.write(frames, (error) => {
      if (error) fail(error.message);
      else resolve();
    });
    try {
      await promise;
    } catch (error) {
      this.#letGo();
      throw error;
    } finally {
      clearTimeout(timer);
      socket.off('error', onError).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** A new connection with what the files hold now. */
  reopen(): void {
    if (this.#options.tls !== null) this.#socket?.end();
    this.#socket = null;
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null || socket.destroyed) return;
    // Ends it in order: what the system took still goes out.
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        socket.destroy();
      }, 1000);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.end();
    });
  }

  async #connect(signal: AbortSignal): Promise<Socket> {
    const { host, port, tls } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const files = tls?.() ?? {};
    const socket =
      tls === null
        ? connect({ host, port })
        : connectTls({ host, port, minVersion: 'TLSv1.2', ...nameOf(host), ...files });
    const fail = (reason: string): void => {
      socket.destroy();
      reject(new Error(`cannot reach ${host}:${port}: ${reason}`));
    };
    const onAbort = (): void => {
      fail('stopped');
    };
    const timer = setTimeout(() => {
      fail('no answer');
    }, CONNECT_TIMEOUT_MS);
    signal.addEventListener('abort', onAbort, { once: true });
    const onReady = (): void => {
      resolve(socket);
    };
    let admission: NodeJS.Timeout | undefined;
    if (tls === null) socket.once('connect', onReady);
    else
      socket
        // Not at once: the event comes from within OpenSSL's reading, and what is written there never arrives (Node 24).
        .once('session', () => setImmediate(onReady))
        .once('secureConnect', () => {
          admission = setTimeout(onReady, ADMISSION_MS);
        });
    socket.on('error', (error: Error) => {
      fail(error.message);
    });
    socket.once('close', () => {
      fail('closed');
      if (this.#socket === socket) this.#socket = null;
    });
    // Nothing is expected from there; unread bytes would hide that it has ended.
    socket.resume();
    socket.setKeepAlive(true, 30_000);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      clearTimeout(admission);
      signal.removeEventListener('abort', onAbort);
    }
  }

  #letGo(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }
}

/** SNI takes names only. */
function nameOf(name: string): { servername?: string } {
  return /^[\d.]+$|:/.test(name) ? {} : { servername: name };
}

/** RFC 6587, 3.4.1: the length counts bytes, not characters. */
export function octetCounted(message: string): string {
  return `${Buffer.byteLength(message)} ${message}`;
}
