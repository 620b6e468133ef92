/**
 * A host of the plant: its addresses, the habits of its TCP/IP stack, and the counters that a stack keeps (IP
 * identification, ephemeral ports, known neighbours).
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { formatAddress } from '@tapline/shared/packet/ip-address.ts';
import { MILLISECOND } from './scheduler.ts';

/** What gives an operating system away on the wire. */
export interface Stack {
  readonly ttl: number;
  /** RFC 791 DF: desktop systems do path MTU discovery, controllers do not. */
  readonly dontFragment: boolean;
  /** Receive window in bytes. */
  readonly windowBytes: number;
  /** RFC 7323 window scale offered in a SYN, or null for no such option. */
  readonly windowShift: number | null;
  /** RFC 7323 timestamps. */
  readonly timestamps: boolean;
  /** RFC 2018. */
  readonly selectiveAck: boolean;
  /** RFC 1122, 4.2.3.2: how long an acknowledgement waits for data to ride on. */
  readonly ackDelayNs: number;
}

export const WINDOWS: Stack = {
  ttl: 128,
  dontFragment: true,
  windowBytes: 262_656,
  windowShift: 8,
  timestamps: false,
  selectiveAck: true,
  ackDelayNs: 50 * MILLISECOND,
};

export const LINUX: Stack = {
  ttl: 64,
  dontFragment: true,
  windowBytes: 64_256,
  windowShift: 7,
  timestamps: true,
  selectiveAck: true,
  ackDelayNs: 40 * MILLISECOND,
};

/** A controller's real-time operating system: small window, no options but the segment size. */
export const CONTROLLER: Stack = {
  ttl: 64,
  dontFragment: false,
  windowBytes: 8192,
  windowShift: null,
  timestamps: false,
  selectiveAck: false,
  ackDelayNs: 200 * MILLISECOND,
};

/** RFC 6335 dynamic ports. */
const PORT_FIRST = 49_152;
const PORT_COUNT = 65_536 - PORT_FIRST;

export class Host {
  readonly name: string;
  readonly mac: Uint8Array;
  readonly ipv4: Uint8Array;
  /** Link-local, made of the MAC (RFC 4291, appendix A). */
  readonly ipv6: Uint8Array;
  readonly stack: Stack;
  /** Hosts whose MAC it verifies from time to time, in the order learned. */
  readonly neighbours: Host[] = [];
  readonly #known = new Set<Host>();
  #ipId: number;
  #port: number;

  constructor(name: string, mac: Uint8Array, ipv4: Uint8Array, stack: Stack, random: Prng) {
    this.name = name;
    this.mac = mac;
    this.ipv4 = ipv4;
    this.ipv6 = linkLocal(mac);
    this.stack = stack;
    this.#ipId = random.below(0x1_0000);
    this.#port = random.below(PORT_COUNT);
  }

  get address(): string {
    return formatAddress(this.ipv4, 0, 4);
  }

  /** The next IP identification: one counter per host, as most stacks keep it. */
  takeIpId(): number {
    this.#ipId = (this.#ipId + 1) & 0xffff;
    return this.#ipId;
  }

  /** The next ephemeral port; one comes back only after all others were used. */
  takePort(): number {
    this.#port = (this.#port + 1) % PORT_COUNT;
    return PORT_FIRST + this.#port;
  }

  knows(other: Host): boolean {
    return this.#known.has(other);
  }

  /** Takes a neighbour's MAC into the ARP cache; `verify` lets it be asked for again from time to time. */
  learn(other: Host, verify: boolean): void {
    if (this.#known.has(other)) return;
    this.#known.add(other);
    if (verify) this.neighbours.push(other);
  }
}

/** fe80::/64 and the modified EUI-64 of the MAC: bit 1 of the first byte inverted, ff:fe in the middle. */
function linkLocal(mac: Uint8Array): Uint8Array {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac;
  return Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f);
}
