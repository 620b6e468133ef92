/**
 * Cuts a TCP stream of back-to-back IP packets by their own length fields, and finds the next packet again after garbage.
 *
 *   IPv4   version 4, header length ≥ 20, total length ≥ header length, header checksum right   (RFC 791)
 *   IPv6   version 6, payload length > 0, a known next header, a hop limit, no multicast source  (RFC 8200)
 *
 * In step, a header that is right is believed; one whose checksum is wrong (a capture on a host that leaves it to its card) only
 * when another header follows where it says. Out of step, every byte is tried, and a header is believed when the next one
 * follows, or when the stream ends with it. Memory: the largest packet, and a chunk.
 */
import { internetChecksum } from '@tapline/shared/packet/checksum.ts';

const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
/** Hop-by-hop, ICMP, IGMP, TCP, UDP, routing, fragment, GRE, ESP, AH, ICMPv6, none, destination, OSPF, PIM, VRRP, SCTP. */
const NEXT_HEADERS = new Set([0, 1, 2, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 89, 103, 112, 132]);

/** First byte of an IPv6 multicast address. */
const MULTICAST = 0xff;

/** 0: no header stands there; 1: a header may, when the next one fits; 2: a header stands there. */
type Belief = 0 | 1 | 2;

export class IpStreamCutter {
  /** Bytes that belonged to no packet, and how often they were met. */
  garbageBytes = 0;
  garbageRuns = 0;
  readonly #emit: (bytes: Uint8Array) => void;
  #held: Uint8Array = new Uint8Array(0);
  #isInStep = true;

  /** `emit` is lent each packet for the time of the call. */
  constructor(emit: (bytes: Uint8Array) => void) {
    this.#emit = emit;
  }

  /** Takes the next bytes, however they were cut. */
  push(chunk: Uint8Array): void {
    const bytes = this.#held.byteLength === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const rest = this.#cut(bytes, false);
    // Not a view: the chunk is the socket's.
    this.#held = new Uint8Array(bytes.subarray(rest));
  }

  /** The stream is over; true when it ended between two packets. */
  end(): boolean {
    const rest = this.#cut(this.#held, true);
    const left = this.#held.byteLength - rest;
    this.#held = new Uint8Array(0);
    return left === 0;
  }

  /** Returns where what must wait for more bytes begins. */
  #cut(bytes: Uint8Array, isEnd: boolean): number {
    let at = 0;
    while (at < bytes.byteLength) {
      const headerBytes = (bytes[at] as number) >>> 4 === 6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;
      if (!isEnd && bytes.byteLength - at < headerBytes) break;
      const length = packetBytes(bytes, at);
      const belief = length === 0 ? 0 : beliefIn(bytes, at);
      const isNeeded = belief === 1 || (belief === 2 && !this.#isInStep);
      if (belief === 0 || (isNeeded && !this.#isFollowed(bytes, at + length, isEnd))) {
        if (isNeeded && !isEnd && at + length + IPV6_HEADER_BYTES > bytes.byteLength) break;
        if (this.#isInStep) this.garbageRuns++;
        this.#isInStep = false;
        this.garbageBytes++;
        at++;
        continue;
      }
      if (at + length > bytes.byteLength) break;
      this.#isInStep = true;
      this.#emit(bytes.subarray(at, at + length));
      at += length;
    }
    return at;
  }

  /** Whether another header, or the end of the stream, stands at `at`. */
  #isFollowed(bytes: Uint8Array, at: number, isEnd: boolean): boolean {
    if (at >= bytes.byteLength) return isEnd && at === bytes.byteLength;
    return (
      at + IPV4_HEADER_BYTES <= bytes.byteLength && packetBytes(bytes, at) > 0 && beliefIn(bytes, at) > 0
    );
  }
}

/** Whether the first bytes of a connection are those of an IP packet whose header proves itself. */
export function beginsWithIp(bytes: Uint8Array): boolean {
  return packetBytes(bytes, 0) > 0 && beliefIn(bytes, 0) === 2;
}

/** The length a header at `at` declares; 0 when none can stand there. */
function packetBytes(bytes: Uint8Array, at: number): number {
  const left = bytes.byteLength - at;
  const version = (bytes[at] as number) >>> 4;
  if (version === 4 && left >= IPV4_HEADER_BYTES) {
    const headerBytes = ((bytes[at] as number) & 15) * 4;
    const totalBytes = u16(bytes, at + 2);
    return headerBytes >= IPV4_HEADER_BYTES && totalBytes >= headerBytes ? totalBytes : 0;
  }
  if (version === 6 && left >= IPV6_HEADER_BYTES) {
    const payloadBytes = u16(bytes, at + 4);
    const isSound =
      payloadBytes > 0 &&
      NEXT_HEADERS.has(bytes[at + 6] as number) &&
      bytes[at + 7] !== 0 &&
      bytes[at + 8] !== MULTICAST;
    return isSound ? IPV6_HEADER_BYTES + payloadBytes : 0;
  }
  return 0;
}

/** `packetBytes` found a length there. */
function beliefIn(bytes: Uint8Array, at: number): Belief {
  // There is no checksum in it; `packetBytes` has looked at all that can be wrong.
  if ((bytes[at] as number) >>> 4 === 6) return 2;
  const headerBytes = ((bytes[at] as number) & 15) * 4;
  if (at + headerBytes > bytes.byteLength) return 1;
  return internetChecksum(bytes, at, headerBytes) === 0 ? 2 : 1;
}

/** Network byte order. */
function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}
