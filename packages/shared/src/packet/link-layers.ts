/**
 * Link layers other than Ethernet.
 *
 *   SLL    packet type 2 | ARPHRD 2 | address length 2 | address 8 | protocol 2                          (all big-endian)
 *   SLL2   protocol 2 | reserved 2 | interface 4 | ARPHRD 2 | packet type 1 | address length 1 | address 8
 *   NULL   address family 4, in the byte order of the machine that captured; LOOP the same in network order
 *   PPP    [address FF, control 03] | protocol 2          (RFC 1661, 1662)
 *   C-HDLC address 1 | control 1 | EtherType 2
 */
import { ETHERTYPE_FIRST } from './ether-type.ts';
import { locateEtherType, locateLlc, locatePppProtocol } from './ethernet.ts';
import type { FrameCursor } from './frame-cursor.ts';
import { FRAME_MALFORMED, FRAME_OTHER, REASON_LINK_CUT } from './frame-kind.ts';
import { locateIpv4, locateIpv6 } from './ip-header.ts';

const SLL_BYTES = 16;
const SLL2_BYTES = 20;
const MAC_BYTES = 6;
/** In SLL's protocol field: "raw 802.3" and "802.2 LLC" (linux/if_ether.h ETH_P_802_3, ETH_P_802_2). */
const SLL_802_3 = 0x0001;
const SLL_802_2 = 0x0004;

const AF_INET = 2;
/** AF_INET6 of Linux, NetBSD/OpenBSD, FreeBSD and macOS. */
const AF_INET6 = [10, 24, 28, 30] as const;

export function locateSll(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  if (end - offset < SLL_BYTES) {
    cut(cursor);
    return;
  }
  if (readU16(bytes, offset + 4) === MAC_BYTES) cursor.linkSourceOffset = offset + 6;
  locateSllProtocol(cursor, readU16(bytes, offset + 14), bytes, offset + SLL_BYTES, end);
}

export function locateSll2(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  if (end - offset < SLL2_BYTES) {
    cut(cursor);
    return;
  }
  if (bytes[offset + 11] === MAC_BYTES) cursor.linkSourceOffset = offset + 12;
  locateSllProtocol(cursor, readU16(bytes, offset), bytes, offset + SLL2_BYTES, end);
}

/** NULL and LOOP: the family is a small number, so its byte order shows itself. */
export function locateNull(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  if (end - offset < 4) {
    cut(cursor);
    return;
  }
  const little =
    readU16(bytes, offset + 2) === 0 ? ((bytes[offset + 1] as number) << 8) | (bytes[offset] as number) : -1;
  const big = readU16(bytes, offset) === 0 ? readU16(bytes, offset + 2) : -1;
  const family = little > 0 ? little : big;
  if (family === AF_INET) locateIpv4(cursor, bytes, offset + 4, end);
  else if (AF_INET6.includes(family as (typeof AF_INET6)[number])) locateIpv6(cursor, bytes, offset + 4, end);
  else if (family >= ETHERTYPE_FIRST) locateEtherType(cursor, family, bytes, offset + 4, end);
  else cursor.kind = FRAME_OTHER;
}

export function locatePpp(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  let at = offset;
  if (end - at >= 2 && bytes[at] === 0xff && bytes[at + 1] === 0x03) at += 2;
  if (end - at < 2) {
    cut(cursor);
    return;
  }
  locatePppProtocol(cursor, readU16(bytes, at), bytes, at + 2, end);
}

export function locateChdlc(cursor: FrameCursor, bytes: Uint8Array, offset: number, end: number): void {
  if (end - offset < 4) {
    cut(cursor);
    return;
  }
  locateEtherType(cursor, readU16(bytes, offset + 2), bytes, offset + 4, end);
}

function locateSllProtocol(
  cursor: FrameCursor,
  protocol: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): void {
  if (protocol >= ETHERTYPE_FIRST) locateEtherType(cursor, protocol, bytes, at, end);
  else if (protocol === SLL_802_2) locateLlc(cursor, bytes, at, end);
  else {
    // 802.3 without LLC (Novell), CAN and the like: not IP.
    cursor.kind = FRAME_OTHER;
    cursor.etherType = protocol === SLL_802_3 ? -1 : protocol;
  }
}

function readU16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
}

function cut(cursor: FrameCursor): void {
  cursor.kind = FRAME_MALFORMED;
  cursor.reason = REASON_LINK_CUT;
}
