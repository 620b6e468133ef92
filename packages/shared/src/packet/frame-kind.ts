/**
 * What a frame turned out to be, and why not, as small integers: the hot path compares numbers, nothing else.
 */

/** Not looked at yet, or an unknown link type: nothing is known about the bytes. */
export const FRAME_UNKNOWN_LINK = 0;
export const FRAME_IPV4 = 1;
export const FRAME_IPV6 = 2;
export const FRAME_ARP = 3;
/** Not IP: `etherType` says what, or `sap` for an 802.3 frame with LLC. */
export const FRAME_OTHER = 4;
/** Cut short, or it contradicts itself: `reason` says where. MAC addresses are still given when they were captured. */
export const FRAME_MALFORMED = 5;

export const REASON_NONE = 0;
/** The link-layer header is cut. */
export const REASON_LINK_CUT = 1;
/** More tags, labels or extension headers than FRAME_TAGS_MAX. */
export const REASON_TOO_DEEP = 2;
/** The IP header is cut, or its length field is below the minimum. */
export const REASON_IP_CUT = 3;
/** The version nibble contradicts the layer below. */
export const REASON_IP_VERSION = 4;

const REASONS = [
  '',
  'link-layer header cut',
  'too many tags',
  'IP header cut',
  'IP version contradicts',
] as const;

/** A sentence for a `reason` code. */
export function reasonText(reason: number): string {
  return REASONS[reason] ?? '';
}

/** Tags, labels and extension headers followed in one frame. Real stacks have four; a hostile frame has none to spare. */
export const FRAME_TAGS_MAX = 16;
