/**
 * IP and MAC addresses as text: parsing, and the one canonical form everything prints (RFC 5952 for IPv6, so that a
 * source has one name). File-name forms carry no colon, which half the world's file systems refuse.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** Four or sixteen bytes in network order, or null for anything else, zones (`fe80::1%eth0`) included. */
export function parseAddress(text: string): Uint8Array | null {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text) || text.includes('%')) return null;
  return parseIpv6(text);
}

/** Canonical text of the address at `offset`: dotted IPv4, or IPv6 as in RFC 5952. */
export function formatAddress(bytes: Uint8Array, offset: number, byteLength: 4 | 16): string {
  if (byteLength === 4) return formatIpv4(bytes, offset);
  const groups = Array.from({ length: 8 }, (_, index) => readGroup(bytes, offset + 2 * index));
  // RFC 5952, section 5: addresses that embed IPv4 by a known prefix end in its dotted form.
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return `::ffff:${formatIpv4(bytes, offset + 12)}`;
  const run = longestZeroRun(groups);
  const text = groups.map((group) => group.toString(16));
  if (run.length < 2) return text.join(':');
  return `${text.slice(0, run.start).join(':')}::${text.slice(run.start + run.length).join(':')}`;
}

/** `00:11:22:33:44:55`. */
export function formatMac(bytes: Uint8Array, offset: number): string {
  return Array.from({ length: 6 }, (_, index) =>
    (bytes[offset + index] as number).toString(16).padStart(2, '0'),
  ).join(':');
}

function formatIpv4(bytes: Uint8Array, offset: number): string {
  return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
}

/** `isIPv6` said yes: at most one `::`, groups in range, a dotted tail well-formed. */
function parseIpv6(text: string): Uint8Array {
  const [head = '', tail] = text.split('::');
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  const bytes = new Uint8Array(16);
  before.forEach((group, index) => {
    writeGroup(bytes, 2 * index, group);
  });
  after.forEach((group, index) => {
    writeGroup(bytes, 16 - 2 * (after.length - index), group);
  });
  return bytes;
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [parseInt(part, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

/** The first of the longest runs of zero groups (RFC 5952, section 4.2.3). */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  groups.forEach((group, index) => {
    if (group !== 0) start = index + 1;
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start };
  });
  return best;
}

function readGroup(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
}

function writeGroup(bytes: Uint8Array, offset: number, group: number): void {
  bytes[offset] = group >> 8;
  bytes[offset + 1] = group;
}
