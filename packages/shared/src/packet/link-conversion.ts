/**
 * One frame of any link type as one of another: a PCAP stream has one link type, an archive may have several.
 *
 *   to RAW       the IP packet, without link header and padding; what has none does not fit
 *   to ETHERNET  frames as they are; an IP packet of any other link type gets a header with no addresses (all zeros) and its
 *                EtherType, so that tools take it; anything else does not fit
 *   to itself    as it is
 */
import { FRAME_IPV4, FRAME_IPV6, FrameCursor, locateFrame } from './frame-cursor.ts';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ether-type.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from './link-type.ts';

export const ETHERNET_HEADER_BYTES = 14;

export class LinkConversion {
  /** Bytes to put before the captured ones: an Ethernet header, or none. */
  headerBytes = 0;
  etherType = 0;
  /** What of the frame is kept. */
  offset = 0;
  capturedBytes = 0;
  /** Length on the wire, the made-up header included. */
  originalBytes = 0;
  readonly #target: number;
  readonly #cursor = new FrameCursor();

  /** `target`: LINKTYPE_ value. */
  constructor(target: number) {
    this.#target = target;
  }

  /** Whether the frame `bytes[offset, offset + capturedBytes)` fits; if so, the fields say how. */
  fit(
    linkType: number,
    bytes: Uint8Array,
    offset: number,
    capturedBytes: number,
    originalBytes: number,
  ): boolean {
    this.headerBytes = 0;
    this.offset = offset;
    this.capturedBytes = capturedBytes;
    this.originalBytes = originalBytes;
    const target = this.#target;
    if (linkType === target) return true;
    if (target !== LINKTYPE_RAW && target !== LINKTYPE_ETHERNET) return false;
    const cursor = this.#cursor;
    locateFrame(cursor, linkType, bytes, offset, capturedBytes);
    if (cursor.kind !== FRAME_IPV4 && cursor.kind !== FRAME_IPV6) return false;
    this.offset = cursor.networkOffset;
    this.capturedBytes = cursor.networkBytes;
    this.originalBytes = Math.max(cursor.networkOriginalBytes, cursor.networkBytes);
    if (target === LINKTYPE_ETHERNET) {
      this.headerBytes = ETHERNET_HEADER_BYTES;
      this.etherType = cursor.kind === FRAME_IPV4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
      this.originalBytes += ETHERNET_HEADER_BYTES;
    }
    return true;
  }

  /** Writes the frame that `fit` accepted to `target[at …)`, which has room for it. Returns its captured bytes. */
  write(bytes: Uint8Array, target: Uint8Array, at: number): number {
    const { headerBytes, offset, capturedBytes } = this;
    if (headerBytes > 0) {
      target.fill(0, at, at + 12);
      target[at + 12] = this.etherType >> 8;
      target[at + 13] = this.etherType & 0xff;
    }
    target.set(bytes.subarray(offset, offset + capturedBytes), at + headerBytes);
    return headerBytes + capturedBytes;
  }
}
