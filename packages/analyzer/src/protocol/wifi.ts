/**
 * The frames that end a station's place in a wireless network (IEEE 802.11, 9.3.3): deauthentication and disassociation, behind what capturing adds in front. Nothing else of Wi-Fi is read.
 *
 *   0 frame control (2): version 2 bits, type 2, subtype 4, flags 8   2 duration (2)   4 receiver (6)   10 transmitter (6)   16 BSSID (6)   22 sequence (2)
 *   24 reason (2, little-endian); four bytes later with the order flag; encrypted with the protected flag
 *
 *   radiotap   0 version = 0   2 its length (2, little-endian)
 *   Prism      0 message code, in the order of the capturing host   4 its length (4); many write AVS instead
 *   AVS        0 0x8021100x   4 its length (4, big-endian)
 */
import {
  LINKTYPE_AVS,
  LINKTYPE_IEEE802_11,
  LINKTYPE_PRISM,
  LINKTYPE_RADIOTAP,
} from '@tapline/shared/packet/link-type.ts';
import { be32, le16, le32 } from './byte-reader.ts';

const DEAUTHENTICATION = 0xc0;
const DISASSOCIATION = 0xa0;
const RETRY = 0x08;
const PROTECTED = 0x40;
const ORDER = 0x80;
const HEADER_BYTES = 24;
const AVS_MAGIC = 0x802_1100;
/** What adds more has lost its length. */
const CAPTURE_HEADER_BYTES_MAX = 4096;

export interface Parting {
  readonly isDeauthentication: boolean;
  /** Where the addresses stand, six bytes each. */
  readonly receiverOffset: number;
  readonly transmitterOffset: number;
  readonly bssidOffset: number;
  /** -1 where it is encrypted or was not captured. */
  readonly reason: number;
}

/** Null for whatever else it is. A frame that is sent again is none: it was counted. Total. */
export function readParting(linkType: number, bytes: Uint8Array, start: number, end: number): Parting | null {
  const at = frameOffset(linkType, bytes, start, end);
  if (at === -1 || end - at < HEADER_BYTES) return null;
  const kind = bytes[at] as number;
  if (kind !== DEAUTHENTICATION && kind !== DISASSOCIATION) return null;
  const flags = bytes[at + 1] as number;
  if ((flags & RETRY) !== 0) return null;
  const reasonAt = at + HEADER_BYTES + ((flags & ORDER) === 0 ? 0 : 4);
  return {
    isDeauthentication: kind === DEAUTHENTICATION,
    receiverOffset: at + 4,
    transmitterOffset: at + 10,
    bssidOffset: at + 16,
    reason: (flags & PROTECTED) !== 0 || reasonAt + 2 > end ? -1 : le16(bytes, reasonAt),
  };
}

/** Where 802.11 begins; -1 for other link types and what is cut. */
function frameOffset(linkType: number, bytes: Uint8Array, start: number, end: number): number {
  if (linkType === LINKTYPE_IEEE802_11) return start;
  if (linkType !== LINKTYPE_RADIOTAP && linkType !== LINKTYPE_PRISM && linkType !== LINKTYPE_AVS) return -1;
  if (end - start < 8) return -1;
  const headerBytes = linkType === LINKTYPE_RADIOTAP ? radiotapBytes(bytes, start) : hostHeaderBytes(bytes, start); // prettier-ignore
  return headerBytes < 8 || headerBytes > CAPTURE_HEADER_BYTES_MAX ? -1 : start + headerBytes;
}

function radiotapBytes(bytes: Uint8Array, at: number): number {
  return bytes[at] === 0 ? le16(bytes, at + 2) : -1;
}

function hostHeaderBytes(bytes: Uint8Array, at: number): number {
  const isBigEndian = Math.floor(be32(bytes, at) / 16) === AVS_MAGIC || bytes[at] === 0;
  return isBigEndian ? be32(bytes, at + 4) : le32(bytes, at + 4);
}

const REASONS: Readonly<Record<number, string>> = {
  1: 'unspecified',
  2: 'authentication no longer valid',
  3: 'the sender leaves',
  4: 'inactivity',
  5: 'too many stations',
  6: 'frame of a station that is not authenticated',
  7: 'frame of a station that is not associated',
  8: 'the station leaves',
  9: 'association without authentication',
};

/** `7 (frame of a station that is not associated)`. */
export function reasonText(reason: number): string {
  if (reason === -1) return 'that cannot be read';
  const known = REASONS[reason];
  return known === undefined ? `${reason}` : `${reason} (${known})`;
}
