/**
 * The socket of the one-way tunnel: sends datagrams in their order, no faster than the link's rate allows, and says of
 * each whether the system took it. A link that is not there (no route, interface down, firewall) is waited for, so that
 * the queue behind fills up and reports a gap, instead of everything being sent to nowhere.
 */
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { messageOf } from '@tapline/shared/base/errors.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { LinkRate } from '../link-rate.ts';
import type { OutgoingDatagram } from './group-encoder.ts';

/** Handed to the system before the first comes back: enough to keep it busy, little to wait for. */
const IN_FLIGHT_MAX = 64;
/** Wants more when it has less than this: a block in reserve while the timer sleeps. */
const LOW_WATER = 64;
const RETRY_MS = 250;
const SEND_BUFFER_BYTES = 4 * 1024 * 1024;

export interface DatagramSenderOptions {
  readonly host: string;
  readonly port: number;
  /** IP and UDP header, which the link carries too. */
  readonly overheadBytes: { readonly 4: number; readonly 6: number };
  /** Hop limit; absent: the system's (1 for multicast). */
  readonly ttl?: number;
  /** For multicast: the address of the interface, or for IPv6 `::%eth1`. */
  readonly multicastInterface?: string;
}

export interface DatagramSenderHandlers {
  /** The socket is there; `family` is 4 or 6. */
  opened(address: string, family: 4 | 6): void;
  /** There is room for another block. */
  wanted(): void;
  /** A datagram is settled: taken by the system, or not. */
  settled(datagram: OutgoingDatagram, wasTaken: boolean): void;
  /** Every datagram is settled. */
  idle(): void;
  failed(message: string): void;
}

export class DatagramSender {
  sentBytes = 0;
  readonly #options: DatagramSenderOptions;
  readonly #rate: LinkRate;
  readonly #clock: TunnelClock;
  readonly #handlers: DatagramSenderHandlers;
  #socket: Socket | null = null;
  #address = '';
  #overheadBytes = 0;
  #waiting: OutgoingDatagram[] = [];
  #head = 0;
  /** Refused by the system; they go before the others. */
  #again: OutgoingDatagram[] = [];
  #inFlight = 0;
  #isClosed = false;
  #cancelTimer: (() => void) | null = null;

  constructor(
    options: DatagramSenderOptions,
    dependencies: {
      readonly rate: LinkRate;
      readonly clock: TunnelClock;
      readonly handlers: DatagramSenderHandlers;
    },
  ) {
    this.#options = options;
    this.#rate = dependencies.rate;
    this.#clock = dependencies.clock;
    this.#handlers = dependencies.handlers;
  }

  get isOpen(): boolean {
    return this.#socket !== null;
  }

  get isIdle(): boolean {
    return this.#inFlight === 0 && this.#again.length === 0 && this.#head === this.#waiting.length;
  }

  get wantsMore(): boolean {
    return this.#socket !== null && this.#waiting.length - this.#head < LOW_WATER;
  }

  /** Resolves the name, and tries again until it can or is closed. */
  async open(): Promise<void> {
    const { host, ttl, multicastInterface } = this.#options;
    try {
      const { address, family } = await lookup(host);
      if (this.#isClosed) return;
      const socket = await bound(family === 6 ? 6 : 4);
      if (this.#hasClosed()) {
        socket.close();
        return;
      }
      socket.on('error', (error) => {
        this.#handlers.failed(messageOf(error));
      });
      try {
        if (multicastInterface !== undefined) socket.setMulticastInterface(multicastInterface);
        if (ttl !== undefined) socket.setTTL(ttl);
        if (ttl !== undefined) socket.setMulticastTTL(ttl);
        socket.setSendBufferSize(SEND_BUFFER_BYTES);
      } catch (error) {
        socket.close();
        throw error;
      }
      this.#address = address;
      this.#overheadBytes = this.#options.overheadBytes[family === 6 ? 6 : 4];
      this.#socket = socket;
      this.#handlers.opened(address, family === 6 ? 6 : 4);
      this.#handlers.wanted();
    } catch (error) {
      this.#handlers.failed(messageOf(error));
      if (!this.#hasClosed()) this.#later(RETRY_MS, () => void this.open());
    }
  }

  push(datagrams: readonly OutgoingDatagram[]): void {
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    }
    for (const datagram of datagrams) this.#waiting.push(datagram);
    this.#pump();
  }

  /** Forgets what the system does not have yet; it is never settled. */
  clear(): void {
    this.#waiting = [];
    this.#again = [];
    this.#head = 0;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#socket?.close();
    this.#socket = null;
  }

  #pump(): void {
    const socket = this.#socket;
    // A timer that runs is a wait that must not be cut short.
    if (socket === null || this.#cancelTimer !== null) return;
    while (this.#inFlight < IN_FLIGHT_MAX) {
      if (this.#again.length === 0 && this.#head === this.#waiting.length) break;
      const waitMs = this.#rate.waitMs();
      if (waitMs > 0) {
        this.#later(waitMs, () => {
          this.#pump();
        });
        break;
      }
      const datagram = this.#again.shift() ?? this.#waiting[this.#head++];
      if (datagram === undefined) break;
      this.#send(socket, datagram);
    }
    if (this.wantsMore) this.#handlers.wanted();
  }

  #send(socket: Socket, datagram: OutgoingDatagram): void {
    this.#rate.spend(datagram.bytes.byteLength + this.#overheadBytes);
    this.#inFlight++;
    // Not connect()ed: a connected socket would lose datagrams to ICMP errors that belong to earlier ones.
    socket.send(datagram.bytes, this.#options.port, this.#address, (error) => {
      this.#inFlight--;
      if (this.#isClosed) return;
      if (error === null) {
        this.sentBytes += datagram.bytes.byteLength;
        this.#settle(datagram, true);
      } else {
        this.#handlers.failed(messageOf(error));
        // Too large for the interface: it will be so the next time, too.
        if ((error as NodeJS.ErrnoException).code === 'EMSGSIZE') this.#settle(datagram, false);
        else this.#sendAgain(datagram);
      }
      this.#pump();
    });
  }

  #settle(datagram: OutgoingDatagram, wasTaken: boolean): void {
    this.#handlers.settled(datagram, wasTaken);
    if (this.isIdle) this.#handlers.idle();
  }

  #sendAgain(datagram: OutgoingDatagram): void {
    this.#again.push(datagram);
    if (this.#cancelTimer === null)
      this.#later(RETRY_MS, () => {
        this.#pump();
      });
  }

  #later(delayMs: number, action: () => void): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#clock.after(delayMs, () => {
      this.#cancelTimer = null;
      action();
    });
  }

  #hasClosed(): boolean {
    return this.#isClosed;
  }
}

/** Options can be set once a socket is bound. It is given addresses only: a resolver would cost each send. */
function bound(family: 4 | 6): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      lookup: (address, _options, done) => {
        done(null, address, family);
      },
    });
    socket.once('error', reject);
    socket.bind(0, family === 6 ? '::' : '0.0.0.0', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
