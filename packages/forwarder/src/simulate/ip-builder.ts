/**
 * IP packets in the wire's frame: IPv4 (RFC 791), IPv6 (RFC 8200), and UDP (RFC 768), TCP (RFC 9293), ICMP (RFC 792) and
 * ICMPv6 (RFC 4443) in them, all with their checksums. Fields are big-endian; nothing is fragmented.
 */
import { checksumAdd, checksumFinish, internetChecksum } from '@tapline/shared/packet/checksum.ts';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '@tapline/shared/packet/ether-type.ts';
import type { Wire } from './ethernet-builder.ts';
import type { Host } from './host.ts';

const PROTOCOL_ICMP = 1;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const PROTOCOL_ICMPV6 = 58;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const FLAG_DF = 0x4000;

/** Who a packet goes to: a host, or a multicast group with its addresses. */
export interface Destination {
  readonly mac: Uint8Array;
  readonly ipv4: Uint8Array;
  readonly ipv6: Uint8Array;
}

export interface TcpHeader {
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  acknowledgment: number;
  flags: number;
  window: number;
  /** A multiple of four bytes. */
  options: Uint8Array;
}

/** Sends a TCP segment with `payload[offset, offset + byteLength)`. */
export function sendTcp(
  wire: Wire,
  from: Host,
  to: Destination,
  header: TcpHeader,
  payload: Uint8Array,
  offset: number,
  byteLength: number,
): void {
  const { options } = header;
  const headerBytes = TCP_BYTES + options.byteLength;
  const tcpBytes = headerBytes + byteLength;
  const at = beginIpv4(wire, from, to, PROTOCOL_TCP, tcpBytes, from.stack.ttl);
  const { frame } = wire;
  put16(frame, at, header.sourcePort);
  put16(frame, at + 2, header.destinationPort);
  put32(frame, at + 4, header.sequence);
  put32(frame, at + 8, header.acknowledgment);
  frame[at + 12] = (headerBytes / 4) << 4;
  frame[at + 13] = header.flags;
  put16(frame, at + 14, header.window);
  put32(frame, at + 16, 0); // checksum, filled in below; urgent pointer
  frame.set(options, at + TCP_BYTES);
  copy(payload, offset, frame, at + headerBytes, byteLength);
  put16(frame, at + 16, transportChecksum(frame, at, tcpBytes, PROTOCOL_TCP, from.ipv4, to.ipv4));
  wire.finish(at + tcpBytes);
}

/** Sends a UDP datagram over IPv4. `ttl` is the stack's, but for protocols that prescribe one. */
export function sendUdp(
  wire: Wire,
  from: Host,
  sourcePort: number,
  to: Destination,
  destinationPort: number,
  payload: Uint8Array,
  ttl = from.stack.ttl,
): void {
  const udpBytes = UDP_BYTES + payload.byteLength;
  const at = beginIpv4(wire, from, to, PROTOCOL_UDP, udpBytes, ttl);
  putUdp(wire.frame, at, sourcePort, destinationPort, payload, from.ipv4, to.ipv4);
  wire.finish(at + udpBytes);
}

/** Sends a UDP datagram over IPv6. */
export function sendUdp6(
  wire: Wire,
  from: Host,
  sourcePort: number,
  to: Destination,
  destinationPort: number,
  payload: Uint8Array,
  hopLimit = 255,
): void {
  const udpBytes = UDP_BYTES + payload.byteLength;
  const at = beginIpv6(wire, from.mac, from.ipv6, to, PROTOCOL_UDP, udpBytes, hopLimit);
  putUdp(wire.frame, at, sourcePort, destinationPort, payload, from.ipv6, to.ipv6);
  wire.finish(at + udpBytes);
}

/** Sends an ICMP message whose checksum field (bytes 2 and 3) is still zero. */
export function sendIcmp(wire: Wire, from: Host, to: Destination, message: Uint8Array): void {
  const at = beginIpv4(wire, from, to, PROTOCOL_ICMP, message.byteLength, from.stack.ttl);
  wire.frame.set(message, at);
  put16(wire.frame, at + 2, internetChecksum(wire.frame, at, message.byteLength));
  wire.finish(at + message.byteLength);
}

/** Sends an ICMPv6 message whose checksum field is still zero; `source` may be the unspecified address. */
export function sendIcmp6(
  wire: Wire,
  sourceMac: Uint8Array,
  source: Uint8Array,
  to: Destination,
  message: Uint8Array,
): void {
  const at = beginIpv6(wire, sourceMac, source, to, PROTOCOL_ICMPV6, message.byteLength, 255);
  wire.frame.set(message, at);
  const checksum = transportChecksum(wire.frame, at, message.byteLength, PROTOCOL_ICMPV6, source, to.ipv6);
  put16(wire.frame, at + 2, checksum);
  wire.finish(at + message.byteLength);
}

function beginIpv4(
  wire: Wire,
  from: Host,
  to: Destination,
  protocol: number,
  payloadBytes: number,
  ttl: number,
): number {
  const at = wire.header(from.mac, to.mac, ETHERTYPE_IPV4);
  const { frame } = wire;
  frame[at] = 0x45; // version 4, header of five 32-bit words
  frame[at + 1] = 0;
  put16(frame, at + 2, IPV4_BYTES + payloadBytes);
  put16(frame, at + 4, from.takeIpId());
  put16(frame, at + 6, from.stack.dontFragment ? FLAG_DF : 0);
  frame[at + 8] = ttl;
  frame[at + 9] = protocol;
  put16(frame, at + 10, 0);
  for (let i = 0; i < 4; i++) {
    frame[at + 12 + i] = from.ipv4[i] as number;
    frame[at + 16 + i] = to.ipv4[i] as number;
  }
  put16(frame, at + 10, internetChecksum(frame, at, IPV4_BYTES));
  return at + IPV4_BYTES;
}

function beginIpv6(
  wire: Wire,
  sourceMac: Uint8Array,
  source: Uint8Array,
  to: Destination,
  nextHeader: number,
  payloadBytes: number,
  hopLimit: number,
): number {
  const at = wire.header(sourceMac, to.mac, ETHERTYPE_IPV6);
  const { frame } = wire;
  put32(frame, at, 0x6000_0000); // version 6, no traffic class, no flow label
  put16(frame, at + 4, payloadBytes);
  frame[at + 6] = nextHeader;
  frame[at + 7] = hopLimit;
  frame.set(source, at + 8);
  frame.set(to.ipv6, at + 24);
  return at + IPV6_BYTES;
}

function putUdp(
  frame: Uint8Array,
  at: number,
  sourcePort: number,
  destinationPort: number,
  payload: Uint8Array,
  source: Uint8Array,
  destination: Uint8Array,
): void {
  const udpBytes = UDP_BYTES + payload.byteLength;
  put16(frame, at, sourcePort);
  put16(frame, at + 2, destinationPort);
  put16(frame, at + 4, udpBytes);
  put16(frame, at + 6, 0);
  copy(payload, 0, frame, at + UDP_BYTES, payload.byteLength);
  // RFC 768: a computed checksum of zero is sent as all ones, as zero means "none".
  const checksum = transportChecksum(frame, at, udpBytes, PROTOCOL_UDP, source, destination);
  put16(frame, at + 6, checksum === 0 ? 0xffff : checksum);
}

/** The checksum over the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1) and the segment. */
function transportChecksum(
  frame: Uint8Array,
  at: number,
  byteLength: number,
  protocol: number,
  source: Uint8Array,
  destination: Uint8Array,
): number {
  let sum = protocol + byteLength;
  sum = checksumAdd(sum, source, 0, source.byteLength);
  sum = checksumAdd(sum, destination, 0, destination.byteLength);
  return checksumFinish(checksumAdd(sum, frame, at, byteLength));
}

function copy(from: Uint8Array, offset: number, to: Uint8Array, at: number, byteLength: number): void {
  for (let i = 0; i < byteLength; i++) to[at + i] = from[offset + i] as number;
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value);
}
