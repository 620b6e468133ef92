/**
 * Ethernet and what may stand between it and IP.
 *
 *   Ethernet II   destination 6 | source 6 | EtherType 2
 *   802.1Q, QinQ  tag control 2 (priority 3, DEI 1, VLAN 12) | EtherType 2            (repeated)
 *   HSR           path, size 2 | sequence 2 | EtherType 2                             (IEC 62439-3)
 *   802.3         length 2 (< 0x600) | LLC: DSAP 1, SSAP 1, control 1 or 2            (SNAP: AA AA 03, OUI 3, EtherType 2)
 *   MPLS          label stack entries of 4, the last with bit 0x100 set; then an IP version nibble, or a pseudo-wire
 *   PPPoE         version/type 1 | code 1 | session 2 | length 2 | PPP protocol 2     (RFC 2516)
 *
 * What follows an EtherType is found by `locateEtherType`, which the other link layers use too.
 */
import {
  ETHERTYPE_ARP,
  ETHERTYPE_FIRST,
  ETHERTYPE_HSR,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_MPLS,
  ETHERTYPE_MPLS_MULTICAST,
  ETHERTYPE_PPPOE_SESSION,
  ETHERTYPE_QINQ,
  ETHERTYPE_QINQ_9100,
  ETHERTYPE_QINQ_9200,
  ETHERTYPE_QINQ_9300,
  ETHERTYPE_VLAN,
} from './ether-type.ts';
import type { FrameCursor } from './frame-cursor.ts';
import {
  FRAME_ARP,
  FRAME_MALFORMED,
  FRAME_OTHER,
  FRAME_TAGS_MAX,
  REASON_LINK_CUT,
  REASON_TOO_DEEP,
} from './frame-kind.ts';
import { locateIp, locateIpv4, locateIpv6 } from './ip-header.ts';

const MAC_BYTES = 6;
const HEADER_BYTES = 14;
const LLC_SNAP = 0xaa;
/** SAP 0x06 is the Internet Protocol of RFC 1042's first days; some gear still sends it. */
const LLC_IP = 0x06;
const PPP_IPV4 = 0x0021;
const PPP_IPV6 = 0x0057;

/** An Ethernet frame: MAC addresses, then whatever its type says. */
export function locateEthernet(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  if (end - offset >= MAC_BYTES) cursor.linkDestinationOffset = offset;
  if (end - offset >= 2 * MAC_BYTES) cursor.linkSourceOffset = offset + MAC_BYTES;
  if (end - offset < HEADER_BYTES) {
    malformed(cursor, REASON_LINK_CUT);
    return;
  }
  const type = ((bytes[offset + 12] as number) << 8) | (bytes[offset + 13] as number);
  locateEtherType(cursor, type, bytes, offset + HEADER_BYTES, end);
}

/** What an EtherType (or an 802.3 length) announces, tags peeled. `at` is the first byte behind the field. */
export function locateEtherType(
  cursor: FrameCursor,
  type: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): void {
  let etherType = type;
  let offset = at;
  while (isTag(etherType)) {
    const tagBytes = etherType === ETHERTYPE_HSR ? 6 : 4;
    if (end - offset < tagBytes) {
      cursor.etherType = etherType;
      malformed(cursor, REASON_LINK_CUT);
      return;
    }
    if (cursor.vlanCount === FRAME_TAGS_MAX) {
      malformed(cursor, REASON_TOO_DEEP);
      return;
    }
    if (etherType !== ETHERTYPE_HSR && cursor.vlanId === -1)
      cursor.vlanId = (((bytes[offset] as number) & 0x0f) << 8) | (bytes[offset + 1] as number);
    cursor.vlanCount++;
    offset += tagBytes;
    etherType = ((bytes[offset - 2] as number) << 8) | (bytes[offset - 1] as number);
  }
  cursor.etherType = etherType;
  switch (etherType) {
    case ETHERTYPE_IPV4:
      locateIpv4(cursor, bytes, offset, end);
      return;
    case ETHERTYPE_IPV6:
      locateIpv6(cursor, bytes, offset, end);
      return;
    case ETHERTYPE_ARP:
      cursor.kind = FRAME_ARP;
      cursor.arpOffset = offset;
      return;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_MULTICAST:
      locateMpls(cursor, bytes, offset, end);
      return;
    case ETHERTYPE_PPPOE_SESSION:
      locatePppoe(cursor, bytes, offset, end);
      return;
    default:
      if (etherType < ETHERTYPE_FIRST) {
        locateLlc(cursor, bytes, offset, end);
        return;
      }
      cursor.kind = FRAME_OTHER;
      cursor.payloadOffset = offset;
  }
}

/** An LLC header (IEEE 802.2), SNAP-encapsulated EtherTypes included. */
export function locateLlc(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  cursor.etherType = -1;
  cursor.kind = FRAME_OTHER;
  if (end - offset < 3) {
    malformed(cursor, REASON_LINK_CUT);
    return;
  }
  cursor.sap = bytes[offset] as number;
  if (cursor.sap === LLC_IP && bytes[offset + 1] === LLC_IP) {
    locateIpv4(cursor, bytes, offset + 3, end);
    return;
  }
  cursor.payloadOffset = offset;
  const isSnap = cursor.sap === LLC_SNAP && bytes[offset + 1] === LLC_SNAP && bytes[offset + 2] === 0x03;
  if (!isSnap || end - offset < 8) return;
  const oui =
    ((bytes[offset + 3] as number) << 16) |
    ((bytes[offset + 4] as number) << 8) |
    (bytes[offset + 5] as number);
  // OUI 0 and 0000F8 carry EtherTypes (RFC 1042, IEEE 802.1H); any other's numbers are its owner's.
  if (oui !== 0 && oui !== 0x0000f8) return;
  const etherType = ((bytes[offset + 6] as number) << 8) | (bytes[offset + 7] as number);
  // A length here would lead to LLC again, and so on for ever.
  if (etherType >= ETHERTYPE_FIRST) {
    cursor.sap = -1;
    cursor.payloadOffset = -1;
    locateEtherType(cursor, etherType, bytes, offset + 8, end);
  }
}

/** The type behind a PPP protocol field. */
export function locatePppProtocol(
  cursor: FrameCursor,
  protocol: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): void {
  if (protocol === PPP_IPV4) locateIpv4(cursor, bytes, at, end);
  else if (protocol === PPP_IPV6) locateIpv6(cursor, bytes, at, end);
  else cursor.kind = FRAME_OTHER;
}

function isTag(etherType: number): boolean {
  return (
    etherType === ETHERTYPE_VLAN ||
    etherType === ETHERTYPE_QINQ ||
    etherType === ETHERTYPE_QINQ_9100 ||
    etherType === ETHERTYPE_QINQ_9200 ||
    etherType === ETHERTYPE_QINQ_9300 ||
    etherType === ETHERTYPE_HSR
  );
}

function locateMpls(cursor: FrameCursor, bytes: Uint8Array, at: number, end: number): void {
  let offset = at;
  for (let labels = 0; ; labels++) {
    if (end - offset < 4) {
      malformed(cursor, REASON_LINK_CUT);
      return;
    }
    if (labels === FRAME_TAGS_MAX) {
      malformed(cursor, REASON_TOO_DEEP);
      return;
    }
    offset += 4;
    if (((bytes[offset - 2] as number) & 0x01) === 1) break;
  }
  // MPLS does not say what it carries. A version nibble of 4 or 6 means IP: a pseudo-wire that could be mistaken for it
  // must start with a control word, whose first nibble is 0 or 1 (RFC 4385).
  const nibble = offset < end ? (bytes[offset] as number) >> 4 : 0;
  if (nibble === 4 || nibble === 6) locateIp(cursor, bytes, offset, end);
  else locatePseudoWire(cursor, bytes, offset, end);
}

/**
 * Ethernet over MPLS (RFC 4448) with a zero control word: the inner frame's network layer, if its type is IP or a tag.
 * The outer MAC addresses stay: they name the port the frame was seen on.
 */
function locatePseudoWire(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  cursor.kind = FRAME_OTHER;
  const inner = offset + 4;
  if (end - inner < HEADER_BYTES) return;
  if (((bytes[offset] as number) | (bytes[offset + 1] as number)) !== 0) return;
  const type = ((bytes[inner + 12] as number) << 8) | (bytes[inner + 13] as number);
  if (type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6 || type === ETHERTYPE_VLAN)
    locateEtherType(cursor, type, bytes, inner + HEADER_BYTES, end);
}

function locatePppoe(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  if (end - offset < 8) {
    malformed(cursor, REASON_LINK_CUT);
    return;
  }
  const protocol = ((bytes[offset + 6] as number) << 8) | (bytes[offset + 7] as number);
  locatePppProtocol(cursor, protocol, bytes, offset + 8, end);
}

function malformed(cursor: FrameCursor, reason: number): void {
  cursor.kind = FRAME_MALFORMED;
  cursor.reason = reason;
}
