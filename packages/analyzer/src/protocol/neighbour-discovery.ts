/**
 * Neighbour discovery of IPv6 (RFC 4861), the body of ICMPv6 types 133 to 136, big-endian:
 *
 *   router advertisement      0 type = 134   4 hop limit   5 flags, preference in bits 3 and 4   6 lifetime (2)   8 times (8)   16 options
 *   neighbour solicitation    0 type = 135   8 target (16)   24 options
 *   neighbour advertisement   0 type = 136   4 flags: 0x80 router, 0x40 solicited, 0x20 override   8 target (16)   24 options
 *   option                    type   length in eights   value: 1 and 2 MAC address (6), 3 prefix: length, flags, times (12), prefix (16)
 */
import { formatAddress, formatMac } from '@tapline/shared/packet/ip-address.ts';
import { be16 } from './byte-reader.ts';

export const ROUTER_ADVERTISEMENT = 134;
export const NEIGHBOUR_SOLICITATION = 135;
export const NEIGHBOUR_ADVERTISEMENT = 136;

const ROUTER_BYTES = 16;
const NEIGHBOUR_BYTES = 24;
const OPTION_SOURCE_MAC = 1;
const OPTION_TARGET_MAC = 2;
const OPTION_PREFIX = 3;
const PREFIX_BYTES = 32;
const PREFIXES_MAX = 32;
const OPTIONS_MAX = 256;
/** RFC 4191: high, medium, (not used), low. */
const PREFERENCES = [0, 1, 0, -1] as const;

export interface RouterAdvertisement {
  /** Seconds; 0: it is no default router, or no longer. */
  readonly lifetime: number;
  /** 1 high, 0 medium, -1 low. */
  readonly preference: number;
  readonly prefixes: readonly string[];
  /** Of the option; '' without. */
  readonly mac: string;
}

export interface NeighbourMessage {
  readonly type: typeof NEIGHBOUR_SOLICITATION | typeof NEIGHBOUR_ADVERTISEMENT;
  readonly target: string;
  /** Of the option: the sender's, or the target's; '' without. */
  readonly mac: string;
  readonly isSolicited: boolean;
  readonly isOverride: boolean;
}

/** The router advertisement `[at, end)`; null for what is none. */
export function readRouterAdvertisement(
  bytes: Uint8Array,
  at: number,
  end: number,
): RouterAdvertisement | null {
  // prettier-ignore
  if (end - at < ROUTER_BYTES || bytes[at] !== ROUTER_ADVERTISEMENT) return null;
  const prefixes: string[] = [];
  let mac = '';
  eachOption(bytes, at + ROUTER_BYTES, end, (type, from, to) => {
    if (type === OPTION_SOURCE_MAC && to - from === 8) mac = formatMac(bytes, from + 2);
    if (type === OPTION_PREFIX && to - from === PREFIX_BYTES && prefixes.length < PREFIXES_MAX)
      prefixes.push(`${formatAddress(bytes, from + 16, 16)}/${bytes[from + 2]}`);
  });
  const preference = PREFERENCES[((bytes[at + 5] as number) >> 3) & 3] as number;
  return { lifetime: be16(bytes, at + 6), preference, prefixes, mac };
}

/** The neighbour solicitation or advertisement `[at, end)`; null for what is neither. */
export function readNeighbour(bytes: Uint8Array, at: number, end: number): NeighbourMessage | null {
  const type = bytes[at];
  if (end - at < NEIGHBOUR_BYTES) return null;
  if (type !== NEIGHBOUR_SOLICITATION && type !== NEIGHBOUR_ADVERTISEMENT) return null;
  const wanted = type === NEIGHBOUR_SOLICITATION ? OPTION_SOURCE_MAC : OPTION_TARGET_MAC;
  let mac = '';
  eachOption(bytes, at + NEIGHBOUR_BYTES, end, (option, from, to) => {
    if (option === wanted && to - from === 8) mac = formatMac(bytes, from + 2);
  });
  const flags = type === NEIGHBOUR_ADVERTISEMENT ? (bytes[at + 4] as number) : 0;
  return { type, target: formatAddress(bytes, at + 8, 16), mac, isSolicited: (flags & 0x40) !== 0, isOverride: (flags & 0x20) !== 0 }; // prettier-ignore
}

/** Options up to the first that cannot be. */
function eachOption(
  bytes: Uint8Array,
  from: number,
  end: number,
  take: (type: number, from: number, to: number) => void,
): void {
  let at = from;
  for (let options = 0; options < OPTIONS_MAX && end - at >= 8; options++) {
    const to = at + 8 * (bytes[at + 1] as number);
    if (to === at || to > end) return;
    take(bytes[at] as number, at, to);
    at = to;
  }
}
