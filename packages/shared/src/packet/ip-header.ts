/**
 * IPv4 (RFC 791) and IPv6 (RFC 8200) headers: addresses, length, fragment state, and where the transport starts.
 *
 *   IPv4   0 version 4, header words 4 | 2 total length | 6 flags 3, fragment offset 13 | 9 protocol | 12 source | 16 destination
 *   IPv6   0 version 4 | 4 payload length | 6 next header | 8 source 16 | 24 destination 16 | 40 extension headers …
 *
 * All big-endian. A total length of 0 (segmentation offload on the capturing machine, or a jumbogram) or one below the
 * header's own is not believed: then everything captured counts as the packet.
 */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ether-type.ts';
import type { FrameCursor } from './frame-cursor.ts';
import {
  FRAME_IPV4,
  FRAME_IPV6,
  FRAME_MALFORMED,
  FRAME_TAGS_MAX,
  REASON_IP_CUT,
  REASON_IP_VERSION,
} from './frame-kind.ts';

const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;

const NEXT_HOP_BY_HOP = 0;
const NEXT_ROUTING = 43;
const NEXT_FRAGMENT = 44;
const NEXT_AUTHENTICATION = 51;
const NEXT_NONE = 59;
const NEXT_DESTINATION = 60;
const NEXT_MOBILITY = 135;
const NEXT_HIP = 139;
const NEXT_SHIM6 = 140;

/** IPv4 or IPv6, by the version nibble. */
export function locateIp(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  const version = offset < end ? (bytes[offset] as number) >> 4 : -1;
  if (version === 4) locateIpv4(cursor, bytes, offset, end);
  else if (version === 6) locateIpv6(cursor, bytes, offset, end);
  else malformed(cursor, version === -1 ? REASON_IP_CUT : REASON_IP_VERSION);
}

export function locateIpv4(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  cursor.etherType = ETHERTYPE_IPV4;
  const available = end - offset;
  if (available < IPV4_HEADER_BYTES) {
    malformed(cursor, REASON_IP_CUT);
    return;
  }
  const first = bytes[offset] as number;
  if (first >> 4 !== 4) {
    malformed(cursor, REASON_IP_VERSION);
    return;
  }
  const headerBytes = (first & 0x0f) << 2;
  if (headerBytes < IPV4_HEADER_BYTES) {
    malformed(cursor, REASON_IP_CUT);
    return;
  }
  cursor.kind = FRAME_IPV4;
  cursor.networkOffset = offset;
  cursor.sourceOffset = offset + 12;
  cursor.destinationOffset = offset + 16;
  cursor.addressBytes = 4;
  const totalBytes = ((bytes[offset + 2] as number) << 8) | (bytes[offset + 3] as number);
  setLength(cursor, totalBytes, headerBytes, available);
  cursor.transportProtocol = bytes[offset + 9] as number;
  const fragmentBits = ((bytes[offset + 6] as number) << 8) | (bytes[offset + 7] as number);
  cursor.fragment = (fragmentBits & 0x3fff) === 0 ? 0 : 1;
  if ((fragmentBits & 0x1fff) === 0 && headerBytes < cursor.networkBytes)
    cursor.transportOffset = offset + headerBytes;
}

export function locateIpv6(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  cursor.etherType = ETHERTYPE_IPV6;
  const available = end - offset;
  if (available < IPV6_HEADER_BYTES) {
    malformed(cursor, REASON_IP_CUT);
    return;
  }
  if ((bytes[offset] as number) >> 4 !== 6) {
    malformed(cursor, REASON_IP_VERSION);
    return;
  }
  cursor.kind = FRAME_IPV6;
  cursor.networkOffset = offset;
  cursor.sourceOffset = offset + 8;
  cursor.destinationOffset = offset + 24;
  cursor.addressBytes = 16;
  const payloadBytes = ((bytes[offset + 4] as number) << 8) | (bytes[offset + 5] as number);
  setLength(cursor, payloadBytes === 0 ? 0 : IPV6_HEADER_BYTES + payloadBytes, IPV6_HEADER_BYTES, available);
  // No payload at all is legal when nothing follows: then padding must not be taken for it.
  if (payloadBytes === 0 && bytes[offset + 6] === NEXT_NONE) {
    cursor.networkBytes = IPV6_HEADER_BYTES;
    cursor.networkOriginalBytes = IPV6_HEADER_BYTES;
  }
  followExtensionHeaders(cursor, bytes, offset);
}

/** Walks to the transport header: at most FRAME_TAGS_MAX extension headers, never beyond the packet. */
function followExtensionHeaders(cursor: FrameCursor, bytes: Uint8Array, offset: number): void {
  const end = offset + cursor.networkBytes;
  let next = bytes[offset + 6] as number;
  let at = offset + IPV6_HEADER_BYTES;
  let isFirst = true;
  for (let headers = 0; headers < FRAME_TAGS_MAX && isExtension(next); headers++) {
    if (end - at < 8) return;
    const following = bytes[at] as number;
    const lengthField = bytes[at + 1] as number;
    if (next === NEXT_FRAGMENT) {
      const bits = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
      // An "atomic" fragment (offset 0, no more to come; RFC 6946) is whole.
      if ((bits & 0xfff9) !== 0) cursor.fragment = 1;
      if (bits >> 3 !== 0) isFirst = false;
      at += 8;
    } else if (next === NEXT_AUTHENTICATION) at += (lengthField + 2) << 2;
    else at += (lengthField + 1) << 3;
    next = following;
    // What follows in a later fragment is the middle of something.
    if (!isFirst) break;
  }
  if (isFirst && isExtension(next)) return;
  cursor.transportProtocol = next;
  if (isFirst && at < end) cursor.transportOffset = at;
}

function isExtension(next: number): boolean {
  return (
    next === NEXT_HOP_BY_HOP ||
    next === NEXT_ROUTING ||
    next === NEXT_FRAGMENT ||
    next === NEXT_AUTHENTICATION ||
    next === NEXT_DESTINATION ||
    next === NEXT_MOBILITY ||
    next === NEXT_HIP ||
    next === NEXT_SHIM6
  );
}

function setLength(
  cursor: FrameCursor,
  declaredBytes: number,
  headerBytes: number,
  availableBytes: number,
): void {
  const isBelievable = declaredBytes >= headerBytes;
  cursor.networkBytes = isBelievable && declaredBytes < availableBytes ? declaredBytes : availableBytes;
  cursor.networkOriginalBytes = isBelievable ? declaredBytes : availableBytes;
}

function malformed(cursor: FrameCursor, reason: number): void {
  cursor.kind = FRAME_MALFORMED;
  cursor.reason = reason;
}
