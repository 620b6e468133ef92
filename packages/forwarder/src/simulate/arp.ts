/**
 * ARP (RFC 826): who has this address? Asked before the first packet to a neighbour, and again from time to time.
 *
 *   offset  size  field
 *        0     2  hardware type, 1 = Ethernet
 *        2     2  protocol type, 0x0800
 *        4     1  hardware address length, 6
 *        5     1  protocol address length, 4
 *        6     2  operation: 1 request, 2 reply
 *        8     6  sender MAC
 *       14     4  sender IP
 *       18     6  target MAC, zero in a request
 *       24     4  target IP
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ETHERTYPE_ARP } from '@tapline/shared/packet/ether-type.ts';
import { ByteWriter } from './byte-writer.ts';
import { BROADCAST, type Wire } from './ethernet-builder.ts';
import type { Host } from './host.ts';
import { MICROSECOND, MILLISECOND, SECOND, type Process } from './scheduler.ts';
import type { World } from './world.ts';

const REQUEST = 1;
const REPLY = 2;
const UNKNOWN_MAC = new Uint8Array(6);
/** How long an answer takes in a switched network. */
const ANSWER_NS = 180 * MICROSECOND;

/** Makes `from` know the MAC of `to`: at once when it does, with a request and a reply when not. */
export function* resolve(world: World, from: Host, to: Host): Process {
  if (from.knows(to)) return;
  const wire = world.wire('arp');
  // An attacker is not verified later: those frames would still be its attack, but nobody's to label.
  from.learn(to, !world.isAttack);
  to.learn(from, !world.isAttack);
  sendArp(wire, REQUEST, from, UNKNOWN_MAC, to.ipv4, BROADCAST);
  yield ANSWER_NS;
  sendArp(wire, REPLY, to, from.mac, from.ipv4, from.mac);
  yield 40 * MICROSECOND;
}

/** A request that nobody answers, repeated like stacks do, one second apart. */
export function* resolveNobody(world: World, from: Host, target: Uint8Array, requests: number): Process {
  for (let i = 0; i < requests; i++) {
    if (i > 0) yield SECOND;
    sendArp(world.wire('arp'), REQUEST, from, UNKNOWN_MAC, target, BROADCAST);
  }
}

/**
 * A host's own ARP traffic: announces itself once (RFC 5227, section 2.3), then verifies one neighbour at a time with a
 * unicast request, as stacks do before a cache entry expires.
 */
export function* arpHousekeeping(world: World, host: Host, random: Prng): Process {
  const wire = world.wire('arp');
  sendArp(wire, REQUEST, host, UNKNOWN_MAC, host.ipv4, BROADCAST);
  for (;;) {
    yield random.between(25 * SECOND, 60 * SECOND) + random.below(MILLISECOND);
    if (host.neighbours.length === 0) continue;
    const neighbour = random.pick(host.neighbours);
    sendArp(wire, REQUEST, host, UNKNOWN_MAC, neighbour.ipv4, neighbour.mac);
    yield random.jitter(ANSWER_NS, 0.4);
    sendArp(wire, REPLY, neighbour, host.mac, host.ipv4, host.mac);
  }
}

function sendArp(
  wire: Wire,
  operation: number,
  from: Host,
  targetMac: Uint8Array,
  targetIp: Uint8Array,
  destination: Uint8Array,
): void {
  // ARP messages are rare and 28 bytes: a writer for each is cheaper than sharing one.
  const message = new ByteWriter().u16(1).u16(0x0800).u8(6).u8(4).u16(operation);
  message.raw(from.mac).raw(from.ipv4).raw(targetMac).raw(targetIp);
  wire.send(from.mac, destination, ETHERTYPE_ARP, message.done());
}
