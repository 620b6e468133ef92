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

/** A list of networks that addresses are looked up in; what was looked up is remembered. */
export class NetworkList {
  readonly #list = new BlockList();
  readonly #known = new Map<string, boolean>();

  /** `networks`: addresses, or networks with their prefix length. */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', prefix] = network.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      this.#list.addSubnet(
        address,
        prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix),
        family,
      );
    }
  }

  has(address: string): boolean {
    const known = this.#known.get(address);
    if (known !== undefined) return known;
    const family = isIP(address);
    // A MAC address is on this wire, and so one of ours.
    const isMember = family === 0 ? true : this.#list.check(address, family === 6 ? 'ipv6' : 'ipv4');
    if (this.#known.size >= MEMBERS_MAX) this.#known.clear();
    this.#known.set(address, isMember);
    return isMember;
  }
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
