/**
 * The key of a packet's flow: what both directions of one conversation have in common and no other has. Its ends stand in the order of their bytes,
 * so that a packet and its answer have the same key; who of the two is the client is another question (`flow-opening.ts`).
 *
 *   0 IP protocol, 255 for Ethernet (1)   1 bytes of an address (1)   2 VLAN + 1 (2)   4 EtherType, 0 for IP (2)   6 smaller address, larger address
 *   (4, 6 or 16 each)   port of the smaller, port of the larger (2 each)
 *
 * All integers are little-endian. For ICMP both ports are the type that the conversation was asked with.
 */
import { PROTO_ICMP, PROTO_ICMPV6, type PacketView } from '../packet/packet-view.ts';

const ENDS_OFFSET = 6;
const PORTS_BYTES = 4;
/** Of two IPv6 addresses. */
export const KEY_BYTES_MAX = ENDS_OFFSET + 2 * 16 + PORTS_BYTES;

/** How long the key of the packet's flow is. */
export function keyBytes(view: PacketView): number {
  return ENDS_OFFSET + 2 * addressBytes(view) + PORTS_BYTES;
}

/** Writes the key of the packet's flow into `key`, which has room for KEY_BYTES_MAX; whether the source is the smaller end. */
export function writeKey(key: Buffer, view: PacketView): boolean {
  const { bytes, frame, inner } = view;
  const length = addressBytes(view);
  const source = view.isIp ? inner.sourceOffset : frame.linkSourceOffset;
  const destination = view.isIp ? inner.destinationOffset : frame.linkDestinationOffset;
  let sourcePort = view.sourcePort;
  let destinationPort = view.destinationPort;
  if (isIcmp(view)) {
    // A reply belongs to its request; the code is of no end.
    sourcePort = requestType(view);
    destinationPort = sourcePort;
  }
  let order = destination === -1 ? 1 : 0;
  for (let i = 0; i < length && order === 0; i++)
    order = (bytes[source + i] as number) - (bytes[destination + i] as number);
  if (order === 0) order = sourcePort - destinationPort;
  const isSourceFirst = order <= 0;
  key[0] = view.isIp ? view.protocol & 0xff : 0xff;
  key[1] = length;
  key.writeUInt16LE((frame.vlanId + 1) & 0xffff, 2);
  key.writeUInt16LE(view.isIp ? 0 : frame.etherType & 0xffff, 4);
  copy(key, ENDS_OFFSET, bytes, isSourceFirst ? source : destination, length);
  copy(key, ENDS_OFFSET + length, bytes, isSourceFirst ? destination : source, length);
  const at = ENDS_OFFSET + 2 * length;
  key.writeUInt16LE((isSourceFirst ? sourcePort : destinationPort) & 0xffff, at);
  key.writeUInt16LE((isSourceFirst ? destinationPort : sourcePort) & 0xffff, at + 2);
  return isSourceFirst;
}

export function isIcmp(view: PacketView): boolean {
  return view.protocol === PROTO_ICMP || view.protocol === PROTO_ICMPV6;
}

/** For an ICMP reply the type of its request; any other packet's source port as it is. */
export function requestType(view: PacketView): number {
  const { protocol, sourcePort: type } = view;
  if (protocol === PROTO_ICMP)
    return type === 0 ? 8 : type === 14 ? 13 : type === 16 ? 15 : type === 18 ? 17 : type;
  if (protocol === PROTO_ICMPV6) return type === 129 ? 128 : type === 136 ? 135 : type === 134 ? 133 : type;
  return type;
}

function addressBytes({ isIp, inner }: PacketView): number {
  return isIp ? inner.addressBytes : 6;
}

/** `offset` -1: an address that is not in the frame is all zeros. */
function copy(to: Uint8Array, at: number, from: Uint8Array, offset: number, count: number): void {
  for (let i = 0; i < count; i++) to[at + i] = offset === -1 ? 0 : (from[offset + i] as number);
}
