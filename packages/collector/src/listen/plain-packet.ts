/**
 * What a plain sender's bytes are: an Ethernet frame or an IP packet. Nothing on the wire says it, so it is told from
 * the first bytes, or by config where a site knows better.
 *
 *   IP        the version nibble is 4 or 6 and the header's own lengths fit what came, exactly or with less than a
 *             short frame of padding behind it
 *   Ethernet  everything else
 *
 * A frame whose destination MAC begins with 0x4n or 0x6n passes for IP only when its next bytes happen to spell the
 * right length too: 1 in some thousands for that vendor's addresses. Who has such a plant sets `ethernet`.
 */
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '@tapline/shared/packet/link-type.ts';

export type PlainPayload = 'auto' | 'ethernet' | 'ip';

/** Shorter is neither: an Ethernet header has 14 bytes. */
export const PLAIN_BYTES_MIN = 14;
/** A 60-byte minimal frame without its header: what an IP packet of 20 bytes may carry as padding. */
const PADDING_BYTES_MAX = 26;

/** LINKTYPE_ETHERNET or LINKTYPE_RAW. `bytes` has at least PLAIN_BYTES_MIN of them. */
export function plainLinkType(bytes: Uint8Array, payload: PlainPayload): number {
  if (payload === 'ethernet') return LINKTYPE_ETHERNET;
  if (payload === 'ip') return LINKTYPE_RAW;
  return looksLikeIp(bytes) ? LINKTYPE_RAW : LINKTYPE_ETHERNET;
}

function looksLikeIp(bytes: Uint8Array): boolean {
  const first = bytes[0] as number;
  const version = first >>> 4;
  if (version === 4 && bytes.byteLength >= 20) {
    const headerBytes = (first & 15) * 4;
    const totalBytes = readU16Be(bytes, 2);
    return headerBytes >= 20 && totalBytes >= headerBytes && fits(totalBytes, bytes.byteLength);
  }
  if (version === 6 && bytes.byteLength >= 40) return fits(40 + readU16Be(bytes, 4), bytes.byteLength);
  return false;
}

function fits(declaredBytes: number, foundBytes: number): boolean {
  return declaredBytes <= foundBytes && foundBytes - declaredBytes <= PADDING_BYTES_MAX;
}

/** Network byte order. */
function readU16Be(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
}
