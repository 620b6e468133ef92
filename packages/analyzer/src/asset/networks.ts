/** Which addresses are the plant's own: by default those that are never routed on the Internet. */
import { BlockList, isIP } from 'node:net';

/** RFC 1918, loopback, link-local, carrier-grade NAT, unique local IPv6. */
export const INTERNAL_NETWORKS_DEFAULT = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '100.64.0.0/10',
  'fc00::/7',
  'fe80::/10',
  '::1/128',
];

/** An address, or one with a prefix length that it can have. */
export function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  if (bits === -1 || rest.length > 0 || address.includes('%')) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
}

const MEMBERS_MAX = 65_536;

/** A list of networks that addresses are looked up in. IPv4 is compared as numbers; of the rest, what was looked up is remembered. */
export class NetworkList {
  readonly #v4: { readonly base: number; readonly mask: number }[] = [];
  readonly #list = new BlockList();
  readonly #known = new Map<string, boolean>();

  /** `networks`: addresses, or networks with their prefix length. */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', prefix] = network.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      const bits = Number(prefix ?? (family === 'ipv6' ? 128 : 32));
      // IPv4 too: an address may be written as one of IPv6 (::ffff:10.0.0.1).
      this.#list.addSubnet(address, bits, family);
      if (family === 'ipv6') continue;
      const mask = bits === 0 ? 0 : -1 << (32 - bits);
      this.#v4.push({ base: addressNumber(address) & mask, mask });
    }
  }

  has(address: string): boolean {
    const number = addressNumber(address);
    if (number !== -1) {
      for (const { base, mask } of this.#v4) if ((number & mask) === base) return true;
      return false;
    }
    const known = this.#known.get(address);
    if (known !== undefined) return known;
    const family = isIP(address);
    // A MAC address is on this wire, and so one of ours.
    const isMember = family === 0 || this.#list.check(address, 'ipv6');
    if (this.#known.size >= MEMBERS_MAX) this.#known.clear();
    this.#known.set(address, isMember);
    return isMember;
  }
}

/** An IPv4 address as a number from 0 to 2³² − 1; -1 for any other text. */
function addressNumber(text: string): number {
  let number = 0;
  let part = -1;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit >= 0 && digit <= 9) {
      part = part === -1 ? digit : part * 10 + digit;
      if (part > 255) return -1;
    } else if (digit === -2 && part !== -1) {
      number = number * 256 + part;
      part = -1;
      dots++;
    } else return -1;
  }
  return dots === 3 && part !== -1 ? number * 256 + part : -1;
}

/** Multicast and broadcast: nobody in particular. */
export function isGroupAddress(address: string): boolean {
  if (address.includes(':')) {
    if (address.startsWith('ff') && isIP(address) === 6) return true;
    return (
      address.length === 17 && (Number.parseInt(address.slice(0, 2), 16) & 1) === 1 && isIP(address) === 0
    );
  }
  const first = Number.parseInt(address, 10);
  return (first >= 224 && first <= 239) || address.endsWith('.255') || address === '255.255.255.255';
}
