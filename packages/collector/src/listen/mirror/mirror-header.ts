/**
 * What a switch or a cloud wraps around a mirrored frame, and how to get it off:
 *
 *   VXLAN    RFC 7348              flags · 3 reserved · VNI (24) · reserved                        then Ethernet
 *   Geneve   RFC 8926              version, option length · flags · type · VNI · reserved · options  then Ethernet or IP
 *   TZSP     MikroTik, UDP 37008   version 1 · type · protocol · tags until tag 1                 then Ethernet
 *   GRE      RFC 2784, 2890        flags · type · [checksum] · [key] · [sequence]                 then Ethernet or IP
 *   ERSPAN   draft-foschiano-erspan, GRE types 88be (I without a sequence, II) and 22eb (III)     then Ethernet
 *
 * All in network byte order. Decoding is total: any bytes give an answer, nothing is thrown, nothing is allocated; the result
 * stands in a cursor that is used again.
 */
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '@tapline/shared/packet/link-type.ts';

export type MirrorProtocol = 'vxlan' | 'geneve' | 'tzsp' | 'gre' | 'erspan';

export type MirrorFault =
  | 'too-short' // the datagram ends inside the wrapping
  | 'not-this-protocol' // version or flags of something else
  | 'unknown-payload' // neither Ethernet nor IP inside
  | 'no-frame'; // a keep-alive, or a wrapping around nothing

/** Where the frame in a datagram stands, and what its wrapping says. */
export class MirrorCursor {
  fault: MirrorFault | null = null;
  /** First byte of the frame; it ends with the datagram. */
  frameOffset = 0;
  linkType = LINKTYPE_ETHERNET;
  /** VNI, session or key: which of a source's mirrors. */
  id = 0;
  /** 802.1Q tag that the wrapping has taken off the frame (PCP and VLAN id); -1: none. */
  vlanTag = -1;
  /** Counts up by one per packet; -1: the wrapping does not count. */
  sequence = -1;
  /** The mirror cut the frame and does not say by how much. */
  isTruncated = false;
  /** Length of the frame before the mirror cut it; 0: not said. */
  originalBytes = 0;
}

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_TEB = 0x6558;
const ETHERTYPE_VLAN = 0x8100;
const ERSPAN_II = 0x88be;
const ERSPAN_III = 0x22eb;
const MAC_BYTES = 12;

/** Decodes what came for `protocol`: the payload of a UDP datagram, or of an IP packet of protocol 47. */
export function decodeMirror(cursor: MirrorCursor, protocol: MirrorProtocol, bytes: Uint8Array): void {
  cursor.fault = null;
  cursor.linkType = LINKTYPE_ETHERNET;
  cursor.id = 0;
  cursor.vlanTag = cursor.sequence = -1;
  cursor.isTruncated = false;
  cursor.originalBytes = 0;
  switch (protocol) {
    case 'vxlan':
      decodeVxlan(cursor, bytes);
      break;
    case 'geneve':
      decodeGeneve(cursor, bytes);
      break;
    case 'tzsp':
      decodeTzsp(cursor, bytes);
      break;
    case 'gre':
    case 'erspan':
      decodeGre(cursor, bytes, protocol);
  }
  if (cursor.fault === null && cursor.frameOffset >= bytes.byteLength) cursor.fault = 'no-frame';
}

function decodeVxlan(cursor: MirrorCursor, bytes: Uint8Array): void {
  if (bytes.byteLength < 8) return fail(cursor, 'too-short');
  // The I flag alone: others are those of later wrappings with another header behind this one.
  if (((bytes[0] as number) & 0x08) === 0 || ((bytes[0] as number) & 0x04) !== 0)
    return fail(cursor, 'not-this-protocol');
  cursor.id = u24(bytes, 4);
  cursor.frameOffset = 8;
}

function decodeGeneve(cursor: MirrorCursor, bytes: Uint8Array): void {
  if (bytes.byteLength < 8) return fail(cursor, 'too-short');
  const first = bytes[0] as number;
  if (first >>> 6 !== 0) return fail(cursor, 'not-this-protocol');
  cursor.id = u24(bytes, 4);
  cursor.frameOffset = 8 + (first & 0x3f) * 4;
  payload(cursor, u16(bytes, 2));
}

function decodeTzsp(cursor: MirrorCursor, bytes: Uint8Array): void {
  if (bytes.byteLength < 4) return fail(cursor, 'too-short');
  if (bytes[0] !== 1) return fail(cursor, 'not-this-protocol');
  // Types 0 and 1 carry a frame; 3 to 5 are greetings and keep-alives.
  if ((bytes[1] as number) > 1) return fail(cursor, 'no-frame');
  if (u16(bytes, 2) !== 1) return fail(cursor, 'unknown-payload');
  let at = 4;
  for (;;) {
    const tag = bytes[at];
    if (tag === undefined) return fail(cursor, 'too-short');
    at++;
    if (tag === 1) break;
    if (tag === 0) continue;
    const length = bytes[at];
    if (length === undefined || at + 1 + length > bytes.byteLength) return fail(cursor, 'too-short');
    if (tag === 40 && length === 4) cursor.sequence = u32(bytes, at + 1);
    if (tag === 41 && length === 2) cursor.originalBytes = u16(bytes, at + 1);
    at += 1 + length;
  }
  cursor.frameOffset = at;
}

function decodeGre(cursor: MirrorCursor, bytes: Uint8Array, protocol: 'gre' | 'erspan'): void {
  if (bytes.byteLength < 4) return fail(cursor, 'too-short');
  const flags = u16(bytes, 0);
  const type = u16(bytes, 2);
  // Version 0, and no source routing.
  if ((flags & 0x4007) !== 0) return fail(cursor, 'not-this-protocol');
  const isErspan = type === ERSPAN_II || type === ERSPAN_III;
  if (isErspan !== (protocol === 'erspan')) return fail(cursor, 'not-this-protocol');
  let at = 4;
  if ((flags & 0x8000) !== 0) at += 4;
  if ((flags & 0x2000) !== 0) {
    if (at + 4 > bytes.byteLength) return fail(cursor, 'too-short');
    cursor.id = u32(bytes, at);
    at += 4;
  }
  if ((flags & 0x1000) !== 0) {
    if (at + 4 > bytes.byteLength) return fail(cursor, 'too-short');
    cursor.sequence = u32(bytes, at);
    at += 4;
  }
  cursor.frameOffset = at;
  if (type === ERSPAN_II) {
    // Type I has neither a sequence nor a header of its own.
    if (cursor.sequence >= 0) decodeErspan2(cursor, bytes, at);
  } else if (type === ERSPAN_III) decodeErspan3(cursor, bytes, at);
  else payload(cursor, type);
}

/** version (4) VLAN (12) · COS (3) En (2) T (1) session (10) · reserved (12) index (20) */
function decodeErspan2(cursor: MirrorCursor, bytes: Uint8Array, at: number): void {
  if (at + 8 > bytes.byteLength) return fail(cursor, 'too-short');
  const head = u32(bytes, at);
  if (head >>> 28 !== 1) return fail(cursor, 'not-this-protocol');
  cursor.frameOffset = at + 8;
  cursor.id = head & 0x3ff;
  cursor.isTruncated = (head & 0x400) !== 0;
  // En 2: the frame had an 802.1Q tag, which was taken off. 3: it still has it. 0: it had none.
  if (((head >>> 11) & 3) === 2) cursor.vlanTag = (((head >>> 13) & 7) << 13) | ((head >>> 16) & 0xfff);
}

/** version (4) VLAN (12) · COS (3) BSO (2) T (1) session (10) · timestamp (32) · SGT (16) P FT HwID D Gra O (1) · [subheader (64)] */
function decodeErspan3(cursor: MirrorCursor, bytes: Uint8Array, at: number): void {
  if (at + 12 > bytes.byteLength) return fail(cursor, 'too-short');
  const head = u32(bytes, at);
  if (head >>> 28 !== 2) return fail(cursor, 'not-this-protocol');
  const frameOffset = at + 12 + (((bytes[at + 11] as number) & 1) !== 0 ? 8 : 0);
  cursor.frameOffset = frameOffset;
  cursor.id = head & 0x3ff;
  cursor.isTruncated = (head & 0x400) !== 0;
  // Nothing says whether the tag was taken off: it was when there is a VLAN and the frame shows none.
  const vlanId = (head >>> 16) & 0xfff;
  const typeAt = frameOffset + MAC_BYTES;
  const hasTag = typeAt + 2 <= bytes.byteLength && u16(bytes, typeAt) === ETHERTYPE_VLAN;
  if (vlanId !== 0 && !hasTag) cursor.vlanTag = (((head >>> 13) & 7) << 13) | vlanId;
}

function payload(cursor: MirrorCursor, type: number): void {
  if (type === ETHERTYPE_TEB) return;
  if (type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6) cursor.linkType = LINKTYPE_RAW;
  else fail(cursor, 'unknown-payload');
}

function fail(cursor: MirrorCursor, fault: MirrorFault): void {
  cursor.fault = fault;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function u24(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) << 8) | (bytes[at + 2] as number);
}

function u32(bytes: Uint8Array, at: number): number {
  return u16(bytes, at) * 0x1_0000 + u16(bytes, at + 2);
}
