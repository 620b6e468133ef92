/**
 * The frame cursor: where in a frame the network layer begins, who sent it to whom, and what the frame is when it is
 * not IP. One cursor is reused for all packets; `locateFrame` fills its number fields and allocates nothing.
 *
 *   locateFrame ─▶ ethernet.ts (Ethernet II, 802.3/LLC/SNAP, 802.1Q, QinQ, HSR, MPLS, PPPoE)  ─▶ ip-header.ts
 *              └─▶ link-layers.ts (SLL, SLL2, NULL/LOOP, PPP, C-HDLC)                          ─▶
 *              └─▶ RAW, IPV4, IPV6                                                             ─▶
 *
 * Total on any bytes: nothing throws, and no offset ever lies outside [offset, offset + capturedBytes).
 */
import { locateEthernet } from './ethernet.ts';
import { FRAME_MALFORMED, FRAME_UNKNOWN_LINK, REASON_LINK_CUT, REASON_NONE } from './frame-kind.ts';
import { locateIp, locateIpv4, locateIpv6 } from './ip-header.ts';
import { locateChdlc, locateNull, locatePpp, locateSll, locateSll2 } from './link-layers.ts';
import {
  LINKTYPE_C_HDLC,
  LINKTYPE_ETHERNET,
  LINKTYPE_IPV4,
  LINKTYPE_IPV6,
  LINKTYPE_LINUX_SLL,
  LINKTYPE_LINUX_SLL2,
  LINKTYPE_LOOP,
  LINKTYPE_NULL,
  LINKTYPE_PPP,
  LINKTYPE_RAW,
} from './link-type.ts';

export {
  FRAME_ARP,
  FRAME_IPV4,
  FRAME_IPV6,
  FRAME_MALFORMED,
  FRAME_OTHER,
  FRAME_UNKNOWN_LINK,
} from './frame-kind.ts';

/** All offsets are absolute indices into the bytes that were handed in; -1 means "there is none". */
export class FrameCursor {
  /** One of FRAME_. */
  kind = FRAME_UNKNOWN_LINK;
  /** One of REASON_, when `kind` is FRAME_MALFORMED. */
  reason = REASON_NONE;
  /** Innermost EtherType, -1 where none was found (802.3 with LLC, unknown link). For raw IP the EtherType it would have. */
  etherType = -1;
  /** Destination service access point of an 802.3 frame with LLC, else -1. */
  sap = -1;
  /** 802.1Q, 802.1ad and HSR tags in front of the network layer. */
  vlanCount = 0;
  /** Outermost VLAN identifier, -1 without a tag. */
  vlanId = -1;
  /** Six bytes each. */
  linkSourceOffset = -1;
  linkDestinationOffset = -1;
  /**
   * Where the message starts that `etherType` announces, of FRAME_OTHER with an EtherType; it may be empty. With a `sap`: where the LLC header
   * starts, of which three bytes at least were captured.
   */
  payloadOffset = -1;
  /** Where the ARP message starts. */
  arpOffset = -1;
  /** Where the IP header starts. */
  networkOffset = -1;
  /** Captured bytes of the IP packet: padding behind it is not counted, as far as its total length can be believed. */
  networkBytes = 0;
  /** Length of the IP packet on the wire, from its header; `networkBytes` where the header does not say (TSO, jumbogram). */
  networkOriginalBytes = 0;
  /** IP addresses: four or sixteen bytes each. */
  sourceOffset = -1;
  destinationOffset = -1;
  addressBytes = 0;
  /** IP protocol number behind the last extension header, -1 when not reached. */
  transportProtocol = -1;
  /** Where the transport header starts; -1 in fragments other than the first and where it was not captured. */
  transportOffset = -1;
  /** 1 in fragments, the first one included. */
  fragment = 0;
}

/** Fills `cursor` for one frame: `bytes[offset, offset + capturedBytes)`, starting with the header of `linkType`. */
export function locateFrame(
  cursor: FrameCursor,
  linkType: number,
  bytes: Uint8Array,
  offset: number,
  capturedBytes: number,
): void {
  cursor.kind = FRAME_UNKNOWN_LINK;
  cursor.reason = REASON_NONE;
  cursor.etherType = -1;
  cursor.sap = -1;
  cursor.vlanCount = 0;
  cursor.vlanId = -1;
  cursor.linkSourceOffset = -1;
  cursor.linkDestinationOffset = -1;
  cursor.payloadOffset = -1;
  cursor.arpOffset = -1;
  cursor.networkOffset = -1;
  cursor.networkBytes = 0;
  cursor.networkOriginalBytes = 0;
  cursor.sourceOffset = -1;
  cursor.destinationOffset = -1;
  cursor.addressBytes = 0;
  cursor.transportProtocol = -1;
  cursor.transportOffset = -1;
  cursor.fragment = 0;
  const end = offset + capturedBytes;
  switch (linkType) {
    case LINKTYPE_ETHERNET:
      locateEthernet(cursor, bytes, offset, end);
      break;
    case LINKTYPE_RAW:
      locateIp(cursor, bytes, offset, end);
      break;
    case LINKTYPE_IPV4:
      locateIpv4(cursor, bytes, offset, end);
      break;
    case LINKTYPE_IPV6:
      locateIpv6(cursor, bytes, offset, end);
      break;
    case LINKTYPE_LINUX_SLL:
      locateSll(cursor, bytes, offset, end);
      break;
    case LINKTYPE_LINUX_SLL2:
      locateSll2(cursor, bytes, offset, end);
      break;
    case LINKTYPE_NULL:
    case LINKTYPE_LOOP:
      locateNull(cursor, bytes, offset, end);
      break;
    case LINKTYPE_PPP:
      locatePpp(cursor, bytes, offset, end);
      break;
    case LINKTYPE_C_HDLC:
      locateChdlc(cursor, bytes, offset, end);
      break;
    default:
      if (capturedBytes === 0) markMalformed(cursor);
  }
}

function markMalformed(cursor: FrameCursor): void {
  cursor.kind = FRAME_MALFORMED;
  cursor.reason = REASON_LINK_CUT;
}
