/**
 * The packet as the stations behind the merge see it: one view, reused for all packets, filled by `locatePacket`. Tunnels are
 * peeled, so the addresses are those of the hosts that talk; what carried them stays in `tunnelDepth` and the outer VLAN.
 *
 * Lengths are those of the IP packet on the wire: the same for a sensor's Ethernet frames, with their padding, and for a
 * collector's raw IP, so that a flow has the same features wherever it is read.
 */
import {
  FRAME_ARP,
  FRAME_IPV4,
  FRAME_IPV6,
  FRAME_MALFORMED,
  FrameCursor,
  locateFrame,
} from '@tapline/shared/packet/frame-cursor.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '@tapline/shared/packet/link-type.ts';

export const PROTO_ICMP = 1;
export const PROTO_IPIP = 4;
export const PROTO_TCP = 6;
export const PROTO_UDP = 17;
export const PROTO_IPV6_IN_IP = 41;
export const PROTO_GRE = 47;
export const PROTO_ICMPV6 = 58;
export const PROTO_SCTP = 132;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
export const TCP_URG = 0x20;
export const TCP_ECE = 0x40;
export const TCP_CWR = 0x80;

/** A packet may be wrapped this often; what is wrapped deeper is taken as the outermost of what is left. */
const TUNNELS_MAX = 4;
const VXLAN_PORT = 4789;
const GENEVE_PORT = 6081;
const ETHERTYPE_TEB = 0x6558;
const ETHERTYPE_ERSPAN_2 = 0x88be;
const ETHERTYPE_ERSPAN_3 = 0x22eb;

/** Where a packet lies, for whoever wants to see it. */
export interface PacketOrigin {
  /** Index into the list of files of whoever reads. */
  file: number;
  /** 1 for the first packet of the file, as Wireshark numbers them. */
  number: number;
  /** Of its record in the plain file; -1 where the container has no fixed records (pcapng, a stream). */
  offset: number;
}

export class PacketView {
  bytes: Uint8Array = new Uint8Array(0);
  /** Microseconds since 1970, fractions included: a double holds quarters of a microsecond until 2255. */
  timeUs = 0;
  /** Length on the wire, link layer included. */
  wireBytes = 0;
  /** LINKTYPE_ of the frame, and where it begins. */
  linkType = -1;
  start = 0;
  /** End of the captured bytes. */
  end = 0;
  readonly origin: PacketOrigin = { file: 0, number: 0, offset: -1 };
  /** Of the outermost frame: MAC addresses, VLAN, ARP. */
  readonly frame = new FrameCursor();
  /** Of the innermost IP packet; the same as `frame` without a tunnel. */
  inner: FrameCursor = this.frame;
  tunnelDepth = 0;
  /** FRAME_ of the innermost packet. */
  kind = 0;
  isIp = false;
  /** IP protocol, -1 when it was not reached. */
  protocol = -1;
  /** -1 without ports (fragments other than the first until they are looked up, other protocols). ICMP: type and code. */
  sourcePort = -1;
  destinationPort = -1;
  tcpFlags = 0;
  tcpSequence = 0;
  tcpWindow = 0;
  /** Payload of the transport: `[payloadOffset, payloadEnd)` was captured, `payloadWireBytes` were on the wire. */
  payloadOffset = 0;
  payloadEnd = 0;
  payloadWireBytes = 0;
  /** IP packet on the wire, and its headers: IP and transport. */
  packetBytes = 0;
  headerBytes = 0;
  ttl = 0;
  readonly #tunnelCursors = Array.from({ length: TUNNELS_MAX }, () => new FrameCursor());

  /** The cursor for a packet inside `depth` others. */
  tunnelCursor(depth: number): FrameCursor {
    return this.#tunnelCursors[depth - 1] as FrameCursor;
  }
}

/** Fills the view for the frame `bytes[offset, offset + capturedBytes)`. Time, length and origin are the caller's. Total. */
export function locatePacket(
  view: PacketView,
  linkType: number,
  bytes: Uint8Array,
  offset: number,
  capturedBytes: number,
): void {
  view.bytes = bytes;
  view.linkType = linkType;
  view.start = offset;
  view.end = offset + capturedBytes;
  view.inner = view.frame;
  view.tunnelDepth = 0;
  locateFrame(view.frame, linkType, bytes, offset, capturedBytes);
  readNetwork(view);
  while (view.tunnelDepth < TUNNELS_MAX && view.isIp && view.inner.fragment === 0 && peel(view))
    readNetwork(view);
}

/** Fills what follows from `view.inner`. */
function readNetwork(view: PacketView): void {
  const { inner, bytes } = view;
  view.kind = inner.kind;
  view.isIp = inner.kind === FRAME_IPV4 || inner.kind === FRAME_IPV6;
  view.protocol = view.isIp ? inner.transportProtocol : -1;
  view.sourcePort = -1;
  view.destinationPort = -1;
  view.tcpFlags = 0;
  view.tcpSequence = 0;
  view.tcpWindow = 0;
  view.payloadOffset = view.end;
  view.payloadEnd = view.end;
  view.payloadWireBytes = 0;
  view.packetBytes = view.isIp ? inner.networkOriginalBytes : view.wireBytes;
  view.headerBytes = 0;
  view.ttl = 0;
  if (!view.isIp) return;
  const network = inner.networkOffset;
  view.ttl = bytes[network + (inner.kind === FRAME_IPV4 ? 8 : 7)] as number;
  const end = Math.min(view.end, network + inner.networkBytes);
  const at = inner.transportOffset;
  if (at === -1) {
    // A later fragment: everything behind the IP header is payload of somebody's transport.
    const headerBytes = inner.kind === FRAME_IPV4 ? ((bytes[network] as number) & 0x0f) << 2 : 40;
    view.headerBytes = Math.min(headerBytes, view.packetBytes);
    view.payloadOffset = Math.min(end, network + headerBytes);
    view.payloadEnd = end;
    view.payloadWireBytes = view.packetBytes - view.headerBytes;
    return;
  }
  const transportBytes = readTransport(view, at, end);
  view.headerBytes = Math.min(at - network + transportBytes, view.packetBytes);
  view.payloadOffset = Math.min(end, at + transportBytes);
  view.payloadEnd = end;
  view.payloadWireBytes = view.packetBytes - view.headerBytes;
}

/** Reads ports and flags; the length of the transport header. */
function readTransport(view: PacketView, at: number, end: number): number {
  const { bytes } = view;
  switch (view.protocol) {
    case PROTO_TCP: {
      if (end - at < 14) return end - at;
      view.sourcePort = be16(bytes, at);
      view.destinationPort = be16(bytes, at + 2);
      view.tcpSequence = be16(bytes, at + 4) * 0x1_0000 + be16(bytes, at + 6);
      view.tcpFlags = bytes[at + 13] as number;
      view.tcpWindow = end - at >= 16 ? be16(bytes, at + 14) : 0;
      return Math.max(20, ((bytes[at + 12] as number) >> 4) << 2);
    }
    case PROTO_UDP:
    case PROTO_SCTP:
      if (end - at < 4) return end - at;
      view.sourcePort = be16(bytes, at);
      view.destinationPort = be16(bytes, at + 2);
      return view.protocol === PROTO_UDP ? 8 : 12;
    case PROTO_ICMP:
    case PROTO_ICMPV6:
      if (end - at < 2) return end - at;
      view.sourcePort = bytes[at] as number;
      view.destinationPort = bytes[at + 1] as number;
      return 8;
    default:
      return 0;
  }
}

/** Steps into the tunnel that the packet is, if it is one: GRE, ERSPAN, IP in IP, VXLAN, Geneve. */
function peel(view: PacketView): boolean {
  const { bytes, payloadEnd: end } = view;
  const at = view.inner.transportOffset;
  if (at === -1) return false;
  let inside = -1;
  let linkType = LINKTYPE_RAW;
  if (view.protocol === PROTO_IPIP || view.protocol === PROTO_IPV6_IN_IP) inside = at;
  else if (view.protocol === PROTO_GRE && end - at >= 4) {
    const flags = be16(bytes, at);
    const type = be16(bytes, at + 2);
    // RFC 2784 and 2890: checksum, key and sequence number are four bytes each, where their flags are set. Version 1 is PPTP's.
    if ((flags & 0x0007) !== 0) return false;
    const hasSequence = (flags & 0x1000) !== 0;
    inside = at + 4 + (flags & 0x8000 ? 4 : 0) + (flags & 0x2000 ? 4 : 0) + (hasSequence ? 4 : 0);
    if (type === ETHERTYPE_ERSPAN_2 || type === ETHERTYPE_ERSPAN_3) {
      // Type I has no header of its own and no sequence number.
      if (type === ETHERTYPE_ERSPAN_2) inside += hasSequence ? 8 : 0;
      else inside += 12 + (inside + 12 <= end && ((bytes[inside + 11] as number) & 1) !== 0 ? 8 : 0);
      linkType = LINKTYPE_ETHERNET;
    } else if (type === ETHERTYPE_TEB) linkType = LINKTYPE_ETHERNET;
    else if (type !== 0x0800 && type !== 0x86dd) return false;
  } else if (view.protocol === PROTO_UDP && view.destinationPort === VXLAN_PORT) {
    // RFC 7348: flags with the I bit, 24 bits of network identifier.
    if (end - at < 16 || ((bytes[at + 8] as number) & 0x08) === 0) return false;
    inside = at + 16;
    linkType = LINKTYPE_ETHERNET;
  } else if (view.protocol === PROTO_UDP && view.destinationPort === GENEVE_PORT) {
    // RFC 8926: version 0, length of options in fours.
    if (end - at < 16 || (bytes[at + 8] as number) >> 6 !== 0) return false;
    const type = be16(bytes, at + 10);
    inside = at + 16 + ((bytes[at + 8] as number) & 0x3f) * 4;
    if (type === ETHERTYPE_TEB) linkType = LINKTYPE_ETHERNET;
    else if (type !== 0x0800 && type !== 0x86dd) return false;
  }
  if (inside === -1 || inside >= end) return false;
  const cursor = view.tunnelCursor(view.tunnelDepth + 1);
  locateFrame(cursor, linkType, bytes, inside, end - inside);
  // What is in there is not what was announced: the tunnel itself is then what is talked about.
  if (cursor.kind === FRAME_MALFORMED || cursor.kind === FRAME_ARP) return false;
  if (cursor.kind !== FRAME_IPV4 && cursor.kind !== FRAME_IPV6) return false;
  view.inner = cursor;
  view.tunnelDepth++;
  return true;
}

function be16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}
