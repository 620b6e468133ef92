/**
 * What a frame is, in a word, for tables and logs: above all what it is when it is not IP, which in OT networks is
 * where the real-time protocols live.
 */
import type { FrameCursor } from './frame-cursor.ts';
import { FRAME_ARP, FRAME_IPV4, FRAME_IPV6, FRAME_MALFORMED, FRAME_OTHER } from './frame-kind.ts';

const ETHERTYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [0x0806, 'arp'],
  [0x0842, 'wake-on-lan'],
  [0x2000, 'cdp'],
  [0x8035, 'rarp'],
  [0x8137, 'ipx'],
  [0x8809, 'lacp'],
  [0x8847, 'mpls'],
  [0x8848, 'mpls'],
  [0x8863, 'pppoe-discovery'],
  [0x8864, 'ppp'],
  [0x887b, 'homeplug'],
  [0x888e, 'eapol'],
  [0x8892, 'profinet'],
  [0x88a4, 'ethercat'],
  [0x88ab, 'powerlink'],
  [0x88b8, 'goose'],
  [0x88b9, 'gse'],
  [0x88ba, 'sv'],
  [0x88cc, 'lldp'],
  [0x88cd, 'sercos'],
  [0x88e1, 'homeplug-av'],
  [0x88e3, 'mrp'],
  [0x88e5, 'macsec'],
  [0x88f5, 'mvrp'],
  [0x88f7, 'ptp'],
  [0x88fb, 'prp'],
  [0x8902, 'cfm'],
  [0x890d, '802.11-action'],
  [0x890f, 'cc-link-ie'],
  [0x892f, 'hsr'],
  [0x9000, 'loopback'],
]);

const SAP_NAMES: ReadonlyMap<number, string> = new Map([
  [0x00, 'llc-null'],
  [0x42, 'stp'],
  [0xaa, 'snap'],
  [0xe0, 'ipx'],
  [0xf0, 'netbios'],
  [0xfe, 'iso'],
  [0xff, 'ipx'],
]);

/** `ipv4`, `arp`, `goose`, `stp`, `ethertype-0x88b5`, `llc-0x98`, `malformed`, `unknown-link`. */
export function describeFrame(cursor: FrameCursor): string {
  switch (cursor.kind) {
    case FRAME_IPV4:
      return 'ipv4';
    case FRAME_IPV6:
      return 'ipv6';
    case FRAME_ARP:
      return 'arp';
    case FRAME_OTHER:
      if (cursor.etherType !== -1)
        return ETHERTYPE_NAMES.get(cursor.etherType) ?? `ethertype-0x${hex(cursor.etherType, 4)}`;
      return cursor.sap === -1 ? 'other' : (SAP_NAMES.get(cursor.sap) ?? `llc-0x${hex(cursor.sap, 2)}`);
    case FRAME_MALFORMED:
      return 'malformed';
    default:
      return 'unknown-link';
  }
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
