/**
 * Community ID version 1: a name for a flow that Zeek, Suricata, Arkime and Tapline agree on.
 *
 *   "1:" base64( SHA-1( seed (2) | smaller address | larger address | protocol (1) | 0 (1) | its port (2) | other port (2) ) )
 *
 * All big-endian; "smaller" compares address, then port. ICMP has type and its counterpart (echo and reply …) for ports; a type without
 * a counterpart makes the flow one-way, and nothing is swapped.
 */
import { createHash } from 'node:crypto';
import { parseAddress } from '@tapline/shared/packet/ip-address.ts';

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;

/** Type → the type that answers it. */
const ICMP_PAIRS: ReadonlyMap<number, number> = new Map([
  [0, 8],
  [8, 0],
  [9, 10],
  [10, 9],
  [13, 14],
  [14, 13],
  [15, 16],
  [16, 15],
  [17, 18],
  [18, 17],
]);
const ICMPV6_PAIRS: ReadonlyMap<number, number> = new Map([
  [128, 129],
  [129, 128],
  [130, 131],
  [131, 130],
  [133, 134],
  [134, 133],
  [135, 136],
  [136, 135],
  [139, 140],
  [140, 139],
  [144, 145],
  [145, 144],
]);

/**
 * `1:…` of a flow between two IP addresses, '' for anything else. Ports are ignored for protocols without; for ICMP the client's
 * "port" is the type and the server's the code of its first packet.
 */
export function communityId(
  protocol: number,
  client: string,
  clientPort: number,
  server: string,
  serverPort: number,
  seed = 0,
): string {
  const source = parseAddress(client);
  const destination = parseAddress(server);
  if (source === null || destination === null || source.byteLength !== destination.byteLength) return '';
  const sourcePort = clientPort;
  let destinationPort = serverPort;
  let isOneWay = false;
  if (protocol === ICMP || protocol === ICMPV6) {
    const pair = (protocol === ICMP ? ICMP_PAIRS : ICMPV6_PAIRS).get(clientPort);
    isOneWay = pair === undefined;
    if (pair !== undefined) destinationPort = pair;
  }
  const order = Buffer.compare(source, destination);
  if (!isOneWay && (order > 0 || (order === 0 && sourcePort > destinationPort)))
    return digest(seed, protocol, destination, destinationPort, source, sourcePort);
  return digest(seed, protocol, source, sourcePort, destination, destinationPort);

  function digest(
    seed: number,
    protocol: number,
    a: Uint8Array,
    aPort: number,
    b: Uint8Array,
    bPort: number,
  ): string {
    const hasPorts =
      protocol === TCP || protocol === UDP || protocol === SCTP || protocol === ICMP || protocol === ICMPV6;
    const head = Buffer.alloc(2);
    head.writeUInt16BE(seed);
    const tail = Buffer.alloc(hasPorts ? 6 : 2);
    tail[0] = protocol;
    if (hasPorts) {
      tail.writeUInt16BE(aPort & 0xffff, 2);
      tail.writeUInt16BE(bPort & 0xffff, 4);
    }
    return `1:${createHash('sha1').update(head).update(a).update(b).update(tail).digest('base64')}`;
  }
}
