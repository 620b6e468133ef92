/**
 * Routers that share one address: HSRP (RFC 2281, and its version 2) over UDP, VRRP (RFC 3768, RFC 5798) as IP protocol 112. All big-endian.
 *
 *   HSRP 1   0 version = 0   1 operation: 0 hello, 1 coup, 2 resign   2 state: 16 active   3 hello s   4 hold s   5 priority   6 group   8 text (8)   16 address
 *   HSRP 2   0 type = 1   1 length = 40   2 version = 2   3 operation   4 state: 6 active   5 IP version   6 group (2)   8 identifier (6)   14 priority (4)
 *            18 hello ms (4)   22 hold ms (4)   26 address (16)
 *   VRRP     0 version (4 bits), type = 1   1 router   2 priority   3 addresses   4 version 2: text, interval s; 3: interval in 12 bits of 1/100 s   6 sum
 *            8 addresses
 *
 * Only the router that has the address sends VRRP; with priority 0 it gives the address away. CARP lies under the same protocol number.
 */
import { formatAddress } from '@tapline/shared/packet/ip-address.ts';
import { be16, be32 } from './byte-reader.ts';

const HSRP_1_BYTES = 20;
const HSRP_1_ACTIVE = 16;
const HSRP_2_BYTES = 42;
const HSRP_2_ACTIVE = 6;
const COUP = 1;
const RESIGN = 2;
const VRRP_HEADER_BYTES = 8;
/** CARP: seven words of counter and digest where VRRP has addresses. */
const CARP_BYTES = 36;
const CARP_WORDS = 7;
const SECOND_US = 1_000_000;
/** Whatever a message says; timers below a second are for laboratories, and a sensor may lose a message. */
const HOLD_US_MIN = 3 * SECOND_US;
const HOLD_US_MAX = 60 * SECOND_US;

export interface FirstHop {
  readonly protocol: 'hsrp' | 'vrrp';
  /** Group and address that it is about. */
  readonly group: string;
  readonly address: string;
  readonly priority: number;
  /** The sender says that it has the address, or takes it. */
  readonly isClaim: boolean;
  /** The sender gives it away. */
  readonly isResignation: boolean;
  /** Silence after which another takes over. */
  readonly holdUs: number;
}

/** The HSRP message `[at, end)`; null for what is none. */
export function readHsrp(bytes: Uint8Array, at: number, end: number): FirstHop | null {
  if (end - at >= HSRP_2_BYTES && bytes[at] === 1 && bytes[at + 1] === 40 && bytes[at + 2] === 2) {
    const isSix = bytes[at + 5] === 6;
    return hsrp(be16(bytes, at + 6), formatAddress(bytes, at + 26, isSix ? 16 : 4), be32(bytes, at + 14), bytes[at + 3], bytes[at + 4] === HSRP_2_ACTIVE, be32(bytes, at + 22) * 1000); // prettier-ignore
  }
  if (end - at < HSRP_1_BYTES || bytes[at] !== 0 || (bytes[at + 1] as number) > RESIGN) return null;
  return hsrp(bytes[at + 6] as number, formatAddress(bytes, at + 16, 4), bytes[at + 5] as number, bytes[at + 1], bytes[at + 2] === HSRP_1_ACTIVE, (bytes[at + 4] as number) * SECOND_US); // prettier-ignore
}

function hsrp(
  group: number,
  address: string,
  priority: number,
  operation: number | undefined,
  isActive: boolean,
  holdUs: number,
): FirstHop {
  return {
    protocol: 'hsrp',
    group: `${group}`,
    address,
    priority,
    isClaim: operation === COUP || (isActive && operation !== RESIGN),
    isResignation: operation === RESIGN,
    holdUs: bounded(holdUs),
  };
}

/** The VRRP message `[at, end)` of an IP packet with addresses of so many bytes; null for what is none. */
export function readVrrp(bytes: Uint8Array, at: number, end: number, addressBytes: number): FirstHop | null {
  if (end - at < VRRP_HEADER_BYTES) return null;
  const version = (bytes[at] as number) >> 4;
  const count = bytes[at + 3] as number;
  if (((bytes[at] as number) & 15) !== 1 || (version !== 2 && version !== 3) || count === 0) return null;
  if (version === 2 && count === CARP_WORDS && end - at === CARP_BYTES) return null;
  const width = addressBytes === 16 ? 16 : 4;
  if (end - at < VRRP_HEADER_BYTES + width * count) return null;
  const intervalUs = version === 2 ? (bytes[at + 5] as number) * SECOND_US : (be16(bytes, at + 4) & 0x0fff) * (SECOND_US / 100); // prettier-ignore
  const priority = bytes[at + 2] as number;
  return {
    protocol: 'vrrp',
    group: `${bytes[at + 1]}`,
    address: formatAddress(bytes, at + VRRP_HEADER_BYTES, width),
    priority,
    isClaim: priority > 0,
    isResignation: priority === 0,
    holdUs: bounded(3 * intervalUs + SECOND_US),
  };
}

function bounded(holdUs: number): number {
  return Math.min(HOLD_US_MAX, Math.max(HOLD_US_MIN, holdUs));
}
