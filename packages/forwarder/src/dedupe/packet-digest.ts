/**
 * A fingerprint of 64 bits of what makes two frames copies of one packet. Left out: padding behind an IP packet, and what the
 * operator says that copies may differ in.
 *
 *   ttl       a copy beyond a router: TTL or hop limit, the IPv4 header's checksum, and the MAC addresses, which it rewrites
 *   checksum  offloading: the checksums of IPv4, TCP, UDP and ICMP
 *   vlan      one copy with a tag, the other without
 *
 * A packet that is taken for another's copy is lost, so the fingerprint covers every other byte; its seeds are drawn at the
 * start, so that nobody can make packets collide. Two different packets of one window do by chance with 2⁻⁶⁴ × the
 * packets in the window: at 100,000 packets/s and 50 ms, once in a hundred million years.
 */
import { randomInt } from 'node:crypto';
import { FRAME_IPV4, FRAME_IPV6, FrameCursor, locateFrame } from '@tapline/shared/packet/frame-cursor.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { readU32 } from '@tapline/shared/packet/record.ts';

export const IGNORABLE = ['ttl', 'checksum', 'vlan'] as const;
export type Ignorable = (typeof IGNORABLE)[number];

const MAC_BYTES = 12;
/** MACs, the largest IPv4 header and a transport header's checksum: what may have to be changed before it is hashed. */
const HEAD_BYTES_MAX = MAC_BYTES + 60 + 20;
const TRANSPORT_HEAD_BYTES = 20;
const IPV4_ID = 4;
const IPV4_TTL = 8;
const IPV4_CHECKSUM = 10;
const IPV6_HOP_LIMIT = 7;
/** Where the checksum stands in its header, by IP protocol. */
const CHECKSUM_AT: ReadonlyMap<number, number> = new Map([[1, 2], [6, 16], [17, 6], [58, 2]]); // prettier-ignore
const SEED_END = 2 ** 32;

export class PacketDigest {
  low = 0;
  high = 0;
  /** An IPv4 packet with an identification: its sender gives another to whatever it sends again. */
  isIdentified = false;
  readonly #seeds = [randomInt(SEED_END), randomInt(SEED_END)] as const;
  readonly #cursor = new FrameCursor();
  readonly #head = new Uint8Array(HEAD_BYTES_MAX);
  readonly #ignoresTtl: boolean;
  readonly #ignoresChecksum: boolean;
  readonly #ignoresVlan: boolean;

  constructor(ignore: readonly Ignorable[]) {
    this.#ignoresTtl = ignore.includes('ttl');
    this.#ignoresChecksum = ignore.includes('checksum');
    this.#ignoresVlan = ignore.includes('vlan');
  }

  /** Digests the frame `bytes[offset, offset + capturedBytes)` into `low` and `high`. */
  read(
    linkType: number,
    bytes: Uint8Array,
    offset: number,
    capturedBytes: number,
    originalBytes: number,
  ): void {
    const cursor = this.#cursor;
    locateFrame(cursor, linkType, bytes, offset, capturedBytes);
    this.low = this.#seeds[0] ^ linkType;
    this.high = this.#seeds[1] ^ linkType;
    const isIp = cursor.kind === FRAME_IPV4 || cursor.kind === FRAME_IPV6;
    this.isIdentified =
      cursor.kind === FRAME_IPV4 &&
      ((bytes[cursor.networkOffset + IPV4_ID] as number) |
        (bytes[cursor.networkOffset + IPV4_ID + 1] as number)) !==
        0;
    if (isIp) this.#readIp(bytes, offset, capturedBytes);
    else this.#readFrame(linkType, bytes, offset, capturedBytes, originalBytes);
    this.low = finished(this.low);
    this.high = finished(this.high);
  }

  #readIp(bytes: Uint8Array, offset: number, capturedBytes: number): void {
    const cursor = this.#cursor;
    const { networkOffset, networkBytes, networkOriginalBytes } = cursor;
    const head = this.#head;
    let end = 0;
    // Without an Ethernet header there is nothing a router rewrites, and no tag.
    if (!this.#ignoresTtl) {
      const linkBytes =
        this.#ignoresVlan && cursor.linkSourceOffset >= 0 ? MAC_BYTES : networkOffset - offset;
      this.#mix(bytes, offset, offset + Math.min(linkBytes, capturedBytes));
    } else if (!this.#ignoresVlan && cursor.vlanCount > 0)
      this.#mix(bytes, offset + MAC_BYTES, networkOffset);
    this.#mixNumber(networkOriginalBytes);
    const transport = cursor.transportOffset >= 0 ? cursor.transportOffset - networkOffset : 0;
    end = Math.min(networkBytes, head.byteLength, transport + TRANSPORT_HEAD_BYTES);
    head.set(bytes.subarray(networkOffset, networkOffset + end));
    this.#clear(head, end, transport);
    this.#mix(head, 0, end);
    this.#mix(bytes, networkOffset + end, networkOffset + networkBytes);
  }

  /** Sets to zero in the copy of the headers what copies may differ in. */
  #clear(head: Uint8Array, end: number, transport: number): void {
    const cursor = this.#cursor;
    const isIpv4 = cursor.kind === FRAME_IPV4;
    if (this.#ignoresTtl) head[isIpv4 ? IPV4_TTL : IPV6_HOP_LIMIT] = 0;
    if (isIpv4 && (this.#ignoresTtl || this.#ignoresChecksum)) head.fill(0, IPV4_CHECKSUM, IPV4_CHECKSUM + 2);
    const at = CHECKSUM_AT.get(cursor.transportProtocol);
    if (!this.#ignoresChecksum || at === undefined || transport === 0) return;
    if (transport + at + 2 <= end) head.fill(0, transport + at, transport + at + 2);
  }

  #readFrame(
    linkType: number,
    bytes: Uint8Array,
    offset: number,
    capturedBytes: number,
    originalBytes: number,
  ): void {
    const end = offset + capturedBytes;
    if (!this.#ignoresVlan || linkType !== LINKTYPE_ETHERNET || capturedBytes < MAC_BYTES) {
      this.#mixNumber(originalBytes);
      this.#mix(bytes, offset, end);
      return;
    }
    const tagsEnd = behindTags(bytes, offset + MAC_BYTES, end);
    this.#mixNumber(originalBytes - (tagsEnd - offset - MAC_BYTES));
    this.#mix(bytes, offset, offset + MAC_BYTES);
    this.#mix(bytes, tagsEnd, end);
  }

  #mixNumber(value: number): void {
    this.low = mixed(this.low, value, 0xcc9e2d51);
    this.high = mixed(this.high, value, 0x85ebca6b);
  }

  /** Takes `bytes[from, to)` in, four at a time, and how many they were. */
  #mix(bytes: Uint8Array, from: number, to: number): void {
    let low = this.low;
    let high = this.high;
    const wordsEnd = from + ((to - from) & ~3);
    let at = from;
    for (; at < wordsEnd; at += 4) {
      const word = readU32(bytes, at);
      low = Math.imul(low ^ Math.imul(word, 0xcc9e2d51), 0x1b873593);
      low ^= low >>> 15;
      high = Math.imul((high << 13) | (high >>> 19), 5) + Math.imul(word ^ (word >>> 16), 0x85ebca6b);
    }
    let rest = to - from;
    for (; at < to; at++) rest = (rest << 8) ^ (bytes[at] as number);
    this.low = mixed(low, rest, 0xcc9e2d51);
    this.high = mixed(high, rest, 0x85ebca6b);
  }
}

function mixed(hash: number, value: number, factor: number): number {
  const next = Math.imul(hash ^ Math.imul(value, factor), 0x9e3779b1);
  return next ^ (next >>> 16);
}

/** Every bit of the hash reaches every other (the end of MurmurHash3). */
function finished(hash: number): number {
  let value = hash;
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** Where the type behind the 802.1Q and 802.1ad tags stands, the first of which would stand at `offset`. */
function behindTags(bytes: Uint8Array, offset: number, end: number): number {
  let at = offset;
  while (at + 4 <= end) {
    const type = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    if (type !== 0x8100 && type !== 0x88a8 && type !== 0x9100) break;
    at += 4;
  }
  return at;
}
