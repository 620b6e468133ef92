/**
 * The collector's UDP door for `udp-plain`: one datagram is one packet. Nobody can be told to slow down here, so what
 * matters is a large receive buffer, a short way per datagram, and an honest count of what the kernel had to drop.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import type { AddressInfo } from 'node:net';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import type { PlainIntake } from './plain-intake.ts';

/** Asked for; the kernel grants up to net.core.rmem_max and says nothing when that is less. */
export const RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024;

export interface UdpListenerOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly receiveBufferBytes?: number;
}

export interface UdpListenerEvents {
  /** Bursts will be lost that the wanted buffer would have held; the remedy is `sysctl net.core.rmem_max`. */
  receiveBufferSmall?(buffer: { readonly wantedBytes: number; readonly grantedBytes: number }): void;
  socketFailed?(failure: { readonly message: string }): void;
}

export class UdpListener {
  readonly #options: UdpListenerOptions;
  readonly #intake: PlainIntake;
  readonly #events: UdpListenerEvents;
  readonly #socket: Socket;
  #port = 0;
  #kernelDrops = 0;

  constructor(
    options: UdpListenerOptions,
    dependencies: { readonly plain: PlainIntake; readonly events: UdpListenerEvents },
  ) {
    this.#options = options;
    this.#intake = dependencies.plain;
    this.#events = dependencies.events;
    this.#socket = createSocket(isIPv6(options.host) ? 'udp6' : 'udp4');
    this.#socket.on('message', (bytes: Buffer, from: RemoteInfo) => {
      this.#intake.take(from.address.startsWith('::ffff:') ? from.address.slice(7) : from.address, bytes);
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
    const drops = udpDrops(this.#port);
    if (drops !== null) this.#kernelDrops = drops;
    return this.#kernelDrops;
  }

  async close(): Promise<void> {
    this.kernelDroppedPackets();
    this.#socket.close();
    await once(this.#socket, 'close');
    this.#intake.flush();
  }
}

/** The `drops` column of /proc/net/udp and udp6 for a local port; null where there is no such socket or file. */
function udpDrops(port: number): number | null {
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
