/**
 * By what people look for packets: addresses, ports, protocols, VLANs. One reader is reused for all packets; the index is built
 * with it and a query is matched with it, so what one holds the other finds.
 *
 *   hosts      of IPv4 and IPv6 packets, whatever tags stand before them, and of ARP messages
 *   ports      of TCP, UDP and SCTP; fragments other than the first have none
 *   protocols  the EtherType (or LLC service access point) and the IP protocol, as one number each: PROTOCOL_ETHER | type …
 *   VLANs      the two outermost tags of an Ethernet frame
 */
import { FRAME_ARP, FRAME_IPV4, FRAME_IPV6, FrameCursor, locateFrame } from '../packet/frame-cursor.ts';
import { LINKTYPE_ETHERNET } from '../packet/link-type.ts';

/** Protocol keys: an IP protocol number as it is, an EtherType, or an LLC service access point. */
export const PROTOCOL_ETHER = 0x10000;
export const PROTOCOL_LLC = 0x20000;
export const ABSENT_KEY = -1;

const IP_TCP = 6;
const IP_UDP = 17;
const IP_SCTP = 132;
const ARP_BYTES = 28;
const ARP_SENDER = 14;
const ARP_TARGET = 24;
const TAG_TYPES = new Set([0x8100, 0x88a8, 0x9100, 0x9200, 0x9300]);

export class PacketKeys {
  /** 4, 16, or 0 without addresses. */
  addressBytes = 0;
  sourceOffset = -1;
  destinationOffset = -1;
  /** Ports, or ABSENT_KEY. */
  sourcePort = ABSENT_KEY;
  destinationPort = ABSENT_KEY;
  /** PROTOCOL_ETHER | type, or PROTOCOL_LLC | access point. */
  linkProtocol = ABSENT_KEY;
  ipProtocol = ABSENT_KEY;
  /** The outermost and the next tag. */
  vlan = ABSENT_KEY;
  innerVlan = ABSENT_KEY;
  /** Six bytes each, or -1. */
  sourceMacOffset = -1;
  destinationMacOffset = -1;
  readonly #cursor = new FrameCursor();

  /** Reads the frame `bytes[offset, offset + capturedBytes)`. Total: what a frame does not have stays absent. */
  read(linkType: number, bytes: Uint8Array, offset: number, capturedBytes: number): void {
    const cursor = this.#cursor;
    locateFrame(cursor, linkType, bytes, offset, capturedBytes);
    this.addressBytes = 0;
    this.sourcePort = ABSENT_KEY;
    this.destinationPort = ABSENT_KEY;
    this.ipProtocol = ABSENT_KEY;
    this.vlan = cursor.vlanId;
    this.innerVlan = ABSENT_KEY;
    this.sourceMacOffset = cursor.linkSourceOffset;
    this.destinationMacOffset = cursor.linkDestinationOffset;
    this.linkProtocol =
      cursor.etherType >= 0
        ? PROTOCOL_ETHER | cursor.etherType
        : cursor.sap >= 0
          ? PROTOCOL_LLC | cursor.sap
          : ABSENT_KEY;
    if (cursor.vlanCount > 1 && linkType === LINKTYPE_ETHERNET) this.innerVlan = innerTag(bytes, offset);
    const { kind } = cursor;
    if (kind === FRAME_IPV4 || kind === FRAME_IPV6) {
      this.addressBytes = cursor.addressBytes;
      this.sourceOffset = cursor.sourceOffset;
      this.destinationOffset = cursor.destinationOffset;
      this.ipProtocol = cursor.transportProtocol;
      this.#readPorts(bytes, offset + capturedBytes);
    } else if (kind === FRAME_ARP) this.#readArp(bytes, offset + capturedBytes);
  }

  #readPorts(bytes: Uint8Array, end: number): void {
    const { transportProtocol: protocol, transportOffset: at } = this.#cursor;
    if (protocol !== IP_TCP && protocol !== IP_UDP && protocol !== IP_SCTP) return;
    if (at < 0 || at + 4 > end) return;
    this.sourcePort = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    this.destinationPort = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
  }

  /** Of Ethernet and IPv4, the only one there is: who asks and who is asked for. */
  #readArp(bytes: Uint8Array, end: number): void {
    const at = this.#cursor.arpOffset;
    if (at < 0 || at + ARP_BYTES > end) return;
    if (bytes[at + 2] !== 0x08 || bytes[at + 3] !== 0 || bytes[at + 4] !== 6 || bytes[at + 5] !== 4) return;
    this.addressBytes = 4;
    this.sourceOffset = at + ARP_SENDER;
    this.destinationOffset = at + ARP_TARGET;
  }
}

/** The identifier of the second tag. The cursor saw two tags or more, so that these bytes are there. */
function innerTag(bytes: Uint8Array, offset: number): number {
  const type = ((bytes[offset + 16] as number) << 8) | (bytes[offset + 17] as number);
  if (!TAG_TYPES.has(type)) return ABSENT_KEY;
  return (((bytes[offset + 18] as number) & 0x0f) << 8) | (bytes[offset + 19] as number);
}
