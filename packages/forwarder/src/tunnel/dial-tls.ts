/**
 * TLS 1.3 to a collector, both sides with certificates. Trusted is the one authority the configuration names, never the
 * system's; the collector must bear the name or address it was called by.
 */
import { connect } from 'node:tls';
import { isIP } from 'node:net';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import type { TlsFiles } from '@tapline/shared/system/tls-files.ts';
import { dialTcp, type Dial } from './dial-tcp.ts';

/** A `Dial` that takes the newest files at every connection, so that they can change without a restart. */
export function dialTls(files: () => TlsFiles, serverName: string | undefined): Dial {
  return async (target, signal) => {
    const { host, port, timeoutMs } = target;
    const startedAtMs = performance.now();
    const socket = await dialTcp(target, signal);
    const { ca, certificates, key } = files();
    const name = serverName ?? host;
    const secure = connect({
      socket,
      host: name,
      // RFC 6066: an address is no server name.
      ...(isIP(name) === 0 ? { servername: name } : {}),
      ca: [...ca],
      cert: certificates.join(''),
      key,
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
    });
    const leftMs = Math.max(1, timeoutMs - (performance.now() - startedAtMs));
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        cleanUp();
        secure.on('error', () => undefined).destroy();
        socket.destroy();
        const message = `no TLS with ${host}:${String(port)}: ${messageOf(error)}`;
        reject(new OperatingError('TUNNEL_UNREACHABLE', message, { host, port }, error));
      };
      const onClose = (): void => {
        fail(new Error('the collector closed the connection'));
      };
      const onAbort = (): void => {
        fail(new Error('given up'));
      };
      const onSecure = (): void => {
        cleanUp();
        resolve(secure);
      };
      const timer = setTimeout(() => {
        fail(new Error(`no handshake within ${String(timeoutMs)} ms`));
      }, leftMs);
      function cleanUp(): void {
        clearTimeout(timer);
        secure.off('secureConnect', onSecure).off('error', fail).off('close', onClose);
        signal.removeEventListener('abort', onAbort);
      }
      secure.once('secureConnect', onSecure).once('error', fail).once('close', onClose);
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
    });
  };
}
