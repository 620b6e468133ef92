/**
 * The collector's TCP door. With TLS, only what passes the gate (`tls-gate.ts`) is a forwarder. Without, the first four
 * bytes of a connection decide what it is:
 *
 *   "TAPL"           a forwarder: handed to the session table with what was read
 *   anything else    a plain sender: one packet, or a stream of them (`plain-connection.ts`)
 *
 * A stranger costs one socket and four bytes, and no longer than `greetingTimeoutMs`. (A frame to a MAC address that begins
 * 54:41:50:4c would pass for a forwarder; no vendor has that prefix.)
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { FRAME_MAGIC } from '@tapline/shared/tunnel/frame.ts';
import { readU32 } from '@tapline/shared/packet/record.ts';
import { encodeRefuse } from '@tapline/shared/tunnel/messages.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { TlsFiles } from '@tapline/shared/system/tls-files.ts';
import { receivePlainConnection, type PlainTcp } from './plain-connection.ts';
import { TlsGate, type PeerCertificate } from './tls-gate.ts';
import type { PlainIntake } from './plain-intake.ts';

/** 1,024 × (a socket, a session's frame) stays under half a GiB in the worst case. */
export const CONNECTIONS_MAX = 1024;
const GREETING_TIMEOUT_MS = 10_000;
const PLAIN_TIMEOUT_MS = 30_000;
const MAGIC_BYTES = 4;
const BACKLOG = 511;
const REASONS_MAX = 64;

/** What the port is for: both, or one of them alone. */
export type TcpProtocol = 'auto' | 'tunnel' | 'plain';

export interface TcpListenerOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly protocol: TcpProtocol;
  readonly connectionsMax?: number;
  readonly connectionsPerAddress?: number;
  readonly greetingTimeoutMs?: number;
  /** What a plain connection carries. Default: auto. */
  readonly plainTcp?: PlainTcp;
  readonly plainTimeoutMs?: number;
  /** With it, nothing but the tunnel over TLS is spoken here. */
  readonly tls?: { readonly files: TlsFiles; readonly revoked: ReadonlySet<string> } | undefined;
}

export interface TcpListenerEvents {
  /** Turned away before a byte was read. */
  connectionsExhausted?(limit: {
    readonly connectionsMax: number;
    readonly ownConnections: number;
    readonly peer: string;
  }): void;
  /** TLS did not come about. */
  handshakeFailed?(failure: { readonly peer: string; readonly reason: string }): void;
  /** Nobody spoke, or not what this port is for. */
  strangerDropped?(stranger: { readonly peer: string; readonly reason: string }): void;
}

export interface TcpListenerDependencies {
  readonly clock: TunnelClock;
  readonly sessions: SessionTable;
  readonly plain: PlainIntake;
  readonly events: TcpListenerEvents;
}

export class TcpListener {
  readonly counters = {
    connections: 0,
    connectionsRefused: 0,
    plainConnections: 0,
    strangers: 0,
    handshakesFailedByReason: {} as Record<string, number>,
  };
  readonly #options: TcpListenerOptions;
  readonly #dependencies: TcpListenerDependencies;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** How many connections each address has now. */
  readonly #byAddress = new Map<string, number>();
  readonly #gate: TlsGate | null;

  constructor(options: TcpListenerOptions, dependencies: TcpListenerDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#gate = this.#createGate();
    this.#server = createServer(
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 },
      (socket) => {
        this.#accept(socket);
      },
    );
  }

  /** Resolves when the port is open. Rejects with LISTEN_FAILED when it cannot be. */
  async open(): Promise<AddressInfo> {
    const { host, port } = this.#options;
    try {
      this.#server.listen({ host, port, backlog: BACKLOG });
      await once(this.#server, 'listening');
    } catch (error) {
      const message = `cannot listen on ${host}:${String(port)}: ${messageOf(error)}`;
      throw new OperatingError('LISTEN_FAILED', message, { host, port }, error);
    }
    // accept() failing for want of descriptors is survived; the kernel keeps the queue.
    this.#server.on('error', (error) => {
      this.#dependencies.events.strangerDropped?.({ peer: '', reason: messageOf(error) });
    });
    return this.#server.address() as AddressInfo;
  }

  get connectionCount(): number {
    return this.#sockets.size;
  }

  /** Takes no more connections. Those there are end with their session table, which is closed next. */
  stop(): void {
    this.#server.close();
  }

  /** Ends what is left. */
  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    const { connectionsMax = CONNECTIONS_MAX, connectionsPerAddress = Infinity } = this.#options;
    const peer = peerAddress(socket);
    // Whatever happens to it later, an error event must find a listener.
    socket.on('error', () => undefined);
    const own = this.#byAddress.get(peer) ?? 0;
    if (this.#sockets.size >= connectionsMax || own >= connectionsPerAddress) {
      this.counters.connectionsRefused++;
      this.#dependencies.events.connectionsExhausted?.({ connectionsMax, ownConnections: own, peer });
      socket.end(encodeRefuse('busy', 'this collector has connections enough, in all or from your address'));
      socket.destroySoon();
      return;
    }
    this.counters.connections++;
    this.#sockets.add(socket);
    this.#byAddress.set(peer, own + 1);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      const left = (this.#byAddress.get(peer) ?? 1) - 1;
      if (left > 0) this.#byAddress.set(peer, left);
      else this.#byAddress.delete(peer);
    });
    if (this.#gate === null) this.#awaitGreeting(socket, peer, null);
    else this.#gate.push(socket, peer);
  }

  /** New certificates and a new list; sessions whose certificate was taken back are over. */
  renewTls(files: TlsFiles, revoked: ReadonlySet<string>): void {
    const gate = this.#gate;
    if (gate === null) return;
    gate.renew(files, revoked);
    this.#dependencies.sessions.endRevoked((certificate) => gate.isRevoked(certificate));
  }

  #createGate(): TlsGate | null {
    const { tls, greetingTimeoutMs = GREETING_TIMEOUT_MS } = this.#options;
    if (tls === undefined) return null;
    return new TlsGate(tls.files, tls.revoked, greetingTimeoutMs, {
      handshakeFailed: (peer, reason) => {
        const { handshakesFailedByReason: failed } = this.counters;
        // Reasons are the library's; should it ever make them up from what a peer sends, they are still few.
        const known = reason in failed || Object.keys(failed).length < REASONS_MAX ? reason : 'other';
        failed[known] = (failed[known] ?? 0) + 1;
        this.#dependencies.events.handshakeFailed?.({ peer, reason });
      },
      passed: (socket, peer, certificate) => {
        this.#awaitGreeting(socket, peer, certificate);
      },
    });
  }

  #awaitGreeting(socket: Socket, peer: string, certificate: PeerCertificate | null): void {
    let greeting: Buffer = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      greeting = greeting.byteLength === 0 ? chunk : Buffer.concat([greeting, chunk]);
      if (greeting.byteLength >= MAGIC_BYTES) decide(false);
    };
    const onEnd = (): void => {
      decide(true);
    };
    const onClose = (): void => {
      cleanUp();
    };
    const cancel = this.#dependencies.clock.after(
      this.#options.greetingTimeoutMs ?? GREETING_TIMEOUT_MS,
      () => {
        cleanUp();
        this.#dropStranger(socket, peer, 'it connected and said nothing');
      },
    );
    const cleanUp = (): void => {
      cancel();
      socket.off('data', onData).off('end', onEnd).off('close', onClose);
    };
    const decide = (hasEnded: boolean): void => {
      cleanUp();
      socket.pause();
      this.#dispatch(socket, peer, certificate, greeting, hasEnded);
    };
    socket.on('data', onData).on('end', onEnd).on('close', onClose);
  }

  #dispatch(
    socket: Socket,
    peer: string,
    certificate: PeerCertificate | null,
    greeting: Buffer,
    hasEnded: boolean,
  ): void {
    const { protocol, plainTcp = 'auto', plainTimeoutMs: timeoutMs = PLAIN_TIMEOUT_MS } = this.#options;
    const { clock, sessions, plain: intake } = this.#dependencies;
    const isTunnel = greeting.byteLength >= MAGIC_BYTES && readU32(greeting, 0) === FRAME_MAGIC;
    if (isTunnel && protocol !== 'plain') {
      sessions.accept(socket, peer, greeting, certificate);
    } else if (protocol === 'tunnel' || this.#gate !== null) {
      this.#dropStranger(socket, peer, 'its first bytes are not those of a forwarder');
    } else {
      this.counters.plainConnections++;
      receivePlainConnection(socket, peer, greeting, hasEnded, { intake, clock, timeoutMs, mode: plainTcp });
    }
  }

  #dropStranger(socket: Socket, peer: string, reason: string): void {
    this.counters.strangers++;
    socket.destroy();
    this.#dependencies.events.strangerDropped?.({ peer, reason });
  }
}

/** The peer's IP address; IPv4 without the `::ffff:` of a dual-stack socket. */
function peerAddress(socket: Socket): string {
  const address = socket.remoteAddress ?? '';
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}
