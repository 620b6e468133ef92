/**
 * What a DHCP server gives away, in both versions; big-endian.
 *
 *   DHCPv4 (RFC 2131)   0 operation = 2   4 transaction (4)   16 address (4)   24 relay (4)   28 device (16)   236 63 82 53 63   240 options: code, length, value
 *                       1 mask   3 routers   53 message: 2 offer, 5 acknowledgement   54 server
 *   DHCPv6 (RFC 8415)   0 message: 2 advertise, 7 reply   1 transaction (3)   4 options: code (2), length (2), value
 *                       2 server   3 addresses: 12 bytes, then options, of which 5 is an address (16)   23 name servers (16 each)
 */
import { formatAddress } from '@tapline/shared/packet/ip-address.ts';
import { be16, be32 } from './byte-reader.ts';

const FIXED_BYTES = 240;
const COOKIE = 0x63825363;
const RELAY_OFFSET = 24;
const MASK = 1;
const ROUTERS = 3;
const MESSAGE = 53;
const SERVER = 54;
const END = 255;
const GIVING: ReadonlySet<number> = new Set([2, 5]);
const OPTIONS_MAX = 128;
const ADDRESSES_MAX = 8;

const ADVERTISE = 2;
const REPLY = 7;
const OPTION_SERVER_6 = 2;
const OPTION_ADDRESSES_6 = 3;
const OPTION_ADDRESS_6 = 5;
const OPTION_NAME_SERVERS_6 = 23;
const ASSOCIATION_BYTES = 12;

export interface Lease {
  /** Network of the address that is given, as `10.0.0.0/24`; '' without a mask. */
  readonly network: string;
  /** '' without. */
  readonly server: string;
  readonly routers: readonly string[];
  readonly isRelayed: boolean;
}

export interface Lease6 {
  /** The server's identifier in hexadecimal digits, '' without. */
  readonly server: string;
  readonly addresses: readonly string[];
  readonly nameServers: readonly string[];
}

/** The offer or acknowledgement `[at, end)` of an address; null for any other message. */
export function readLease(bytes: Uint8Array, at: number, end: number): Lease | null {
  if (end - at < FIXED_BYTES || bytes[at] !== 2 || be32(bytes, at + 236) !== COOKIE) return null;
  let mask = -1;
  let message = 0;
  let server = '';
  const routers: string[] = [];
  let next = at + FIXED_BYTES;
  for (let options = 0; options < OPTIONS_MAX && next < end && bytes[next] !== END; options++) {
    // Option 0 fills up and has no length.
    if (bytes[next] === 0) {
      next++;
      continue;
    }
    const value = next + 2;
    const to = value + (bytes[next + 1] ?? 0);
    if (value > end || to > end) break;
    const code = bytes[next];
    if (code === MASK && to - value === 4) mask = be32(bytes, value);
    else if (code === MESSAGE && to - value === 1) message = bytes[value] as number;
    else if (code === SERVER && to - value === 4) server = formatAddress(bytes, value, 4);
    else if (code === ROUTERS)
      for (let i = value; i + 4 <= to && routers.length < ADDRESSES_MAX; i += 4) routers.push(formatAddress(bytes, i, 4)); // prettier-ignore
    next = to;
  }
  const given = be32(bytes, at + 16);
  if (!GIVING.has(message) || given === 0) return null;
  return { network: mask === -1 ? '' : networkOf(given, mask), server, routers, isRelayed: be32(bytes, at + RELAY_OFFSET) !== 0 }; // prettier-ignore
}

function networkOf(address: number, mask: number): string {
  const network = (address & mask) >>> 0;
  return `${network >>> 24}.${(network >>> 16) & 255}.${(network >>> 8) & 255}.${network & 255}/${32 - Math.round(Math.log2(2 ** 32 - mask))}`; // prettier-ignore
}

/** What the message `[at, end)` of a DHCPv6 server gives; null for any other. */
export function readLease6(bytes: Uint8Array, at: number, end: number): Lease6 | null {
  if (end - at < 4 || (bytes[at] !== ADVERTISE && bytes[at] !== REPLY)) return null;
  let server = '';
  const addresses: string[] = [];
  const nameServers: string[] = [];
  eachOption(bytes, at + 4, end, (code, from, to) => {
    if (code === OPTION_SERVER_6)
      server = Buffer.from(bytes.subarray(from, Math.min(to, from + 32))).toString('hex'); // prettier-ignore
    else if (code === OPTION_NAME_SERVERS_6)
      for (let i = from; i + 16 <= to && nameServers.length < ADDRESSES_MAX; i += 16) nameServers.push(formatAddress(bytes, i, 16)); // prettier-ignore
    else if (code === OPTION_ADDRESSES_6 && to - from >= ASSOCIATION_BYTES)
      eachOption(bytes, from + ASSOCIATION_BYTES, to, (inner, value, valueEnd) => {
        if (inner === OPTION_ADDRESS_6 && valueEnd - value >= 16 && addresses.length < ADDRESSES_MAX)
          addresses.push(formatAddress(bytes, value, 16));
      });
  });
  return { server, addresses, nameServers };
}

function eachOption(
  bytes: Uint8Array,
  from: number,
  end: number,
  take: (code: number, from: number, to: number) => void,
): void {
  let at = from;
  for (let options = 0; options < OPTIONS_MAX && end - at >= 4; options++) {
    const to = at + 4 + be16(bytes, at + 2);
    if (to > end) return;
    take(be16(bytes, at), at + 4, to);
    at = to;
  }
}
