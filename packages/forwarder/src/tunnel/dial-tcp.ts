/** The one door to outgoing TCP: how a connection is made, and nothing of what is said on it. */
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';

export interface DialTarget {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
}

/** Resolves with a connection ready for bytes (TLS: after its handshake), or rejects with an `OperatingError`. */
export type Dial = (target: DialTarget, signal: AbortSignal) => Promise<Duplex>;

/** How long a silent path may stay silent before the kernel asks whether the peer is there. */
const KEEP_ALIVE_MS = 30_000;

/** Plain TCP. */
export const dialTcp: Dial = ({ host, port, timeoutMs }, signal) =>
  new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    const fail = (error: unknown): void => {
      cleanUp();
      // An error that comes after the promise is settled must find a listener.
      socket.on('error', () => undefined).destroy();
      const where = `${host}:${String(port)}`;
      const message = `cannot connect to ${where}: ${messageOf(error)}`;
      reject(new OperatingError('TUNNEL_UNREACHABLE', message, { host, port }, error));
    };
    const onTimeout = (): void => {
      fail(new Error(`no answer within ${String(timeoutMs)} ms`));
    };
    const onAbort = (): void => {
      fail(new Error('given up'));
    };
    const onConnect = (): void => {
      cleanUp();
      resolve(socket);
    };
    const timer = setTimeout(onTimeout, timeoutMs);
    function cleanUp(): void {
      clearTimeout(timer);
      socket.off('connect', onConnect).off('error', fail);
      signal.removeEventListener('abort', onAbort);
    }
    socket.once('connect', onConnect).once('error', fail);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
