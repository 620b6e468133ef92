/**
 * TLS at the collector's door: TLS 1.3, both sides with certificates of one authority. What comes out is a connection and the
 * name of the sensor that its certificate speaks for; who has none, or one that was taken back, is told so and no more.
 *
 * What must stay true: no byte of a stranger passes; a certificate that is taken back ends the session it opened; files that
 * are read again and found wrong leave the old ones in force.
 */
import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { messageOf } from '@tapline/shared/base/errors.ts';
import { encodeRefuse } from '@tapline/shared/tunnel/messages.ts';
import type { TlsFiles } from '@tapline/shared/system/tls-files.ts';

/** Whom a connection's certificate speaks for. */
export interface PeerCertificate {
  readonly name: string;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly notAfterMs: number;
}

export interface TlsGateEvents {
  /** Told by the listener, which knows how often. `reason` is one word of TLS's or ours. */
  handshakeFailed(peer: string, reason: string): void;
  passed(socket: TLSSocket, peer: string, certificate: PeerCertificate): void;
}

export class TlsGate {
  readonly #server: Server;
  readonly #events: TlsGateEvents;
  readonly #peers = new WeakMap<Socket, string>();
  #revoked: ReadonlySet<string>;

  constructor(
    files: TlsFiles,
    revoked: ReadonlySet<string>,
    handshakeTimeoutMs: number,
    events: TlsGateEvents,
  ) {
    this.#events = events;
    this.#revoked = revoked;
    // Never listens: the listener accepts, counts and limits connections, and pushes them through here.
    this.#server = createServer({
      ...contextOf(files),
      requestCert: true,
      // Judged in `#admit`: so the sensor is told why, and the collector's books know it too.
      rejectUnauthorized: false,
      handshakeTimeout: handshakeTimeoutMs,
    });
    this.#server.on('tlsClientError', (error, socket) => {
      events.handshakeFailed(this.#peerOf(socket), reasonOf(error));
      socket.destroy();
    });
    this.#server.on('secureConnection', (socket) => {
      this.#admit(socket);
    });
  }

  /** Takes a connection over, to its handshake or its end. */
  push(socket: Socket, peer: string): void {
    this.#peers.set(socket, peer);
    this.#server.emit('connection', socket);
  }

  /** From the next connection on. */
  renew(files: TlsFiles, revoked: ReadonlySet<string>): void {
    this.#server.setSecureContext(contextOf(files));
    this.#revoked = revoked;
  }

  isRevoked({ serial }: PeerCertificate): boolean {
    return this.#revoked.has(serial);
  }

  #admit(socket: TLSSocket): void {
    const peer = this.#peerOf(socket);
    socket.on('error', () => undefined);
    // A resumed session would carry the judgement of another day. No ticket is given; should one turn up, it is not believed.
    const certificate = socket.authorized && !socket.isSessionReused() ? certificateOf(socket) : null;
    // The list is in the context too; but that of a renewed one says nothing about a handshake that was under way.
    const isWelcome = certificate !== null && !this.isRevoked(certificate);
    if (isWelcome) {
      this.#events.passed(socket, peer, certificate);
      return;
    }
    const reason =
      certificate !== null
        ? 'CERT_REVOKED'
        : socket.isSessionReused()
          ? 'RESUMED_SESSION'
          : socket.authorized
            ? 'NO_NAME'
            : objectionOf(socket);
    this.#events.handshakeFailed(peer, reason);
    socket.end(encodeRefuse('sensor', `the certificate is not accepted: ${reason}`));
    socket.destroySoon();
  }

  #peerOf(socket: Socket): string {
    // The raw connection underneath is what was pushed.
    const raw = (socket as { _parent?: Socket })._parent;
    return this.#peers.get(socket) ?? (raw === undefined ? undefined : this.#peers.get(raw)) ?? '';
  }
}

function contextOf({ ca, certificates, key, crl }: TlsFiles) {
  return {
    ca: [...ca],
    cert: certificates.join(''),
    key,
    ...(crl === null ? {} : { crl }),
    minVersion: 'TLSv1.3' as const,
    maxVersion: 'TLSv1.3' as const,
    // No tickets: every connection shows its certificate, and has it judged by today's date, authority and list.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/** `null`: the certificate bears no name, or several. */
function certificateOf(socket: TLSSocket): PeerCertificate | null {
  const { subject, serialNumber, valid_to: validTo } = socket.getPeerCertificate();
  const name: unknown = (subject as { CN?: unknown } | undefined)?.CN;
  if (typeof name !== 'string' || name === '') return null;
  return {
    name,
    serial: serialNumber.toLowerCase().replace(/^0+/, ''),
    notAfterMs: Date.parse(validTo),
  };
}

/** The library's word, such as CERT_HAS_EXPIRED. Without a certificate it is one about an issuer that cannot be found. */
function objectionOf(socket: TLSSocket): string {
  const error: unknown = socket.authorizationError;
  const hasNone = Object.keys(socket.getPeerCertificate()).length === 0;
  return hasNone ? 'NO_CERTIFICATE' : error instanceof Error ? reasonOf(error) : String(error);
}

/** `certificate has expired` → `CERT_HAS_EXPIRED`, or the library's own word. */
function reasonOf(error: Error): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : messageOf(error);
}
