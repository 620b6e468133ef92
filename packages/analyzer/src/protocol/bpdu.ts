/**
 * Spanning tree's messages (IEEE 802.1D, 802.1w, 802.1Q), big-endian, behind an LLC header 42 42 03, or behind SNAP AA AA 03 00 00 0C 01 0B where Cisco
 * runs a tree for each VLAN:
 *
 *   0 protocol (2) = 0   2 version   3 type: 0x00 configuration, 0x02 rapid, 0x80 topology change
 *   4 flags   5 root: priority (2), MAC (6)   13 cost (4)   17 bridge: priority (2), MAC (6)   25 port (2)   27 times (8)
 *
 * A lower identifier is a better bridge: priority first, then MAC. Read whole or not at all; what is behind it is not looked at.
 */
import { be16 } from './byte-reader.ts';

const LLC_BYTES = 3;
const SNAP_BYTES = 8;
const SAP_SPANNING_TREE = 0x42;
const SAP_SNAP = 0xaa;
const OUI_CISCO = 0x00000c;
const PID_PVST = 0x010b;
const TYPE_TOPOLOGY_CHANGE = 0x80;
const CONFIGURATION_BYTES = 25;

export interface Bpdu {
  readonly kind: 'configuration' | 'topology-change';
  /** Cisco's, a tree for each VLAN. */
  readonly isPerVlan: boolean;
  /** 16 hexadecimal digits, priority and MAC; '' in a topology change. Text that is smaller is a better bridge. */
  readonly root: string;
  readonly bridge: string;
}

/** The number of an owner's SNAP protocol at the LLC header `at`, as OUI × 65,536 + protocol; -1 for what is no SNAP. */
export function snapProtocol(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < SNAP_BYTES || bytes[at] !== SAP_SNAP || bytes[at + 1] !== SAP_SNAP || bytes[at + 2] !== 3) return -1; // prettier-ignore
  return ((bytes[at + 3] as number) * 0x1_0000 + be16(bytes, at + 4)) * 0x1_0000 + be16(bytes, at + 6);
}

/** The message behind the LLC header at `at`; null for any other, or one that is cut. */
export function readBpdu(bytes: Uint8Array, at: number, end: number): Bpdu | null {
  const isPerVlan = snapProtocol(bytes, at, end) === OUI_CISCO * 0x1_0000 + PID_PVST;
  if (!isPerVlan && (end - at < LLC_BYTES || bytes[at] !== SAP_SPANNING_TREE || bytes[at + 1] !== SAP_SPANNING_TREE)) return null; // prettier-ignore
  const start = at + (isPerVlan ? SNAP_BYTES : LLC_BYTES);
  if (end - start < 4 || be16(bytes, start) !== 0) return null;
  if (bytes[start + 3] === TYPE_TOPOLOGY_CHANGE)
    return { kind: 'topology-change', isPerVlan, root: '', bridge: '' };
  if ((bytes[start + 3] !== 0 && bytes[start + 3] !== 2) || end - start < CONFIGURATION_BYTES) return null;
  const identifier = (from: number): string => Buffer.from(bytes.subarray(from, from + 8)).toString('hex');
  return { kind: 'configuration', isPerVlan, root: identifier(start + 5), bridge: identifier(start + 17) };
}

/** `priority 32768, 02:00:00:00:00:01`. */
export function bridgeText(identifier: string): string {
  return `${bridgeMac(identifier)} with priority ${Number.parseInt(identifier.slice(0, 4), 16)}`;
}

export function bridgeMac(identifier: string): string {
  return (identifier.slice(4).match(/../g) ?? []).join(':');
}
