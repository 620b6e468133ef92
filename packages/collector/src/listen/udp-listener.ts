/**
 * The collector's UDP door. The first four bytes of a datagram decide what it is:
 *
 *   "TAPD"           the one-way tunnel: datagram-intake.ts
 *   anything else    `udp-plain`: one datagram is one packet
 *
 * Nobody can be told to slow down here, so what matters is a large receive buffer, a short way per datagram, and an honest
 * count of what the kernel had to drop. (A frame to a MAC address that begins 54:41:50:44 would pass for the tunnel; no
 * vendor has that prefix.)
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import type { AddressInfo } from 'node:net';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { isTunnelDatagram } from '@tapline/shared/tunnel/datagram.ts';
import type { DatagramIntake } from './datagram-intake.ts';
import type { PlainIntake } from './plain-intake.ts';

/** Asked for; the kernel grants up to net.core.rmem_max and says nothing when that is less. */
export const RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024;

export interface UdpListenerOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly receiveBufferBytes?: number;
  /** A group to join, on one interface: its IPv4 address, or for IPv6 `::%eth1`; absent: the system's choice. */
  readonly multicast?: { readonly group: string; readonly interface?: string | undefined };
}

export interface UdpListenerEvents {
  /** Bursts will be lost that the wanted buffer would have held; the remedy is `sysctl net.core.rmem_max`. */
  receiveBufferSmall?(buffer: { readonly wantedBytes: number; readonly grantedBytes: number }): void;
  socketFailed?(failure: { readonly message: string }): void;
}

export class UdpListener {
  readonly #options: UdpListenerOptions;
  readonly counters = { strangerDatagrams: 0 };
  readonly #plain: PlainIntake | null;
  readonly #tunnel: DatagramIntake | null;
  readonly #events: UdpListenerEvents;
  readonly #socket: Socket;
  #port = 0;
  #kernelDrops = 0;

  /** Where there is no intake for a kind, datagrams of it are counted and dropped. */
  constructor(
    options: UdpListenerOptions,
    dependencies: {
      readonly plain: PlainIntake | null;
      readonly tunnel?: DatagramIntake;
      readonly events: UdpListenerEvents;
    },
  ) {
    this.#options = options;
    this.#plain = dependencies.plain;
    this.#tunnel = dependencies.tunnel ?? null;
    this.#events = dependencies.events;
    this.#socket = createSocket(isIPv6(options.host) ? 'udp6' : 'udp4');
    this.#socket.on('message', (bytes: Buffer, from: RemoteInfo) => {
      this.#take(bytes, from);
    });
  }

  /** Resolves when the port is open. Rejects with LISTEN_FAILED when it cannot be. */
  async open(): Promise<AddressInfo> {
    const { host, port, receiveBufferBytes: wantedBytes = RECEIVE_BUFFER_BYTES } = this.#options;
    try {
      this.#socket.bind({ address: host, port });
      await once(this.#socket, 'listening');
    } catch (error) {
      const message = `cannot listen on ${host}:${String(port)} (UDP): ${messageOf(error)}`;
      throw new OperatingError('LISTEN_FAILED', message, { host, port }, error);
    }
    this.#join();
    this.#socket.on('error', (error) => {
      this.#events.socketFailed?.({ message: messageOf(error) });
    });
    this.#socket.setRecvBufferSize(wantedBytes);
    // Linux reports twice what it grants, the other half being for its own bookkeeping.
    const grantedBytes = this.#socket.getRecvBufferSize() / 2;
    if (grantedBytes < wantedBytes) this.#events.receiveBufferSmall?.({ wantedBytes, grantedBytes });
    const address = this.#socket.address();
    this.#port = address.port;
    return address;
  }

  /** Datagrams the kernel dropped because this process was too slow, since the socket was opened. */
  kernelDroppedPackets(): number {
    // After the close the kernel has forgotten; the last count stays.
    const drops = socketDrops(this.#port);
    if (drops !== null) this.#kernelDrops = drops;
    return this.#kernelDrops;
  }

  async close(): Promise<void> {
    this.kernelDroppedPackets();
    this.#socket.close();
    await once(this.#socket, 'close');
    this.#tunnel?.close();
    this.#plain?.flush();
  }

  #take(bytes: Buffer, { address }: RemoteInfo): void {
    const peer = address.startsWith('::ffff:') ? address.slice(7) : address;
    if (this.#tunnel !== null && isTunnelDatagram(bytes)) this.#tunnel.take(peer, bytes);
    else if (this.#plain === null) this.counters.strangerDatagrams++;
    else this.#plain.take(peer, bytes);
  }

  #join(): void {
    const { multicast } = this.#options;
    if (multicast === undefined) return;
    const { group, interface: networkInterface } = multicast;
    try {
      this.#socket.addMembership(group, networkInterface);
    } catch (error) {
      this.#socket.close();
      throw new OperatingError(
        'LISTEN_FAILED',
        `cannot join the multicast group ${group}: ${messageOf(error)}`,
        { group, interface: networkInterface },
        error,
      );
    }
  }
}

/** The `drops` column of /proc/net/udp and udp6 for a local port; null where there is no such socket or file. */
export function socketDrops(port: number): number | null {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  let drops: number | null = null;
  for (const path of ['/proc/net/udp', '/proc/net/udp6']) {
    for (const line of readLines(path)) {
      const columns = line.trim().split(/\s+/);
      if (columns[1]?.endsWith(suffix) === true) drops = (drops ?? 0) + Number(columns.at(-1));
    }
  }
  return drops;
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'latin1').split('\n');
  } catch {
    return [];
  }
}
