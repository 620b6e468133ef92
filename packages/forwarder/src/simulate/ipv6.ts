/**
 * What desktop systems say over IPv6 without being asked: duplicate address detection (RFC 4862, 5.4), router solicitations
 * and neighbour solicitations with their advertisements (RFC 4861).
 *
 *   ICMPv6 (RFC 4443)  type · code · checksum (2) · then: flags (4) · target address (16) · options: type, length in 8 bytes, data
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { sendIcmp6, type Destination } from './ip-builder.ts';
import { MICROSECOND, MILLISECOND, SECOND, type Process } from './scheduler.ts';
import type { World } from './world.ts';

const ROUTER_SOLICITATION = 133;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;
const OPTION_SOURCE = 1;
const OPTION_TARGET = 2;
/** Solicited, override. */
const ADVERTISED = 0x6000_0000;

const UNSPECIFIED = new Uint8Array(16);
const ALL_ROUTERS: Destination = {
  mac: Uint8Array.of(0x33, 0x33, 0, 0, 0, 2),
  ipv4: new Uint8Array(0),
  ipv6: Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2),
};

/** A host that comes up and then checks, now and then, that a neighbour is still reachable. */
export function* neighbourDiscovery(world: World, host: Host, peer: Host, random: Prng): Process {
  const wire = world.wire('icmpv6');
  sendIcmp6(wire, host.mac, UNSPECIFIED, solicitedNode(host), solicitation(host, false));
  yield SECOND;
  const routers = new ByteWriter().u8(ROUTER_SOLICITATION).u8(0).u16(0).u32(0);
  sendIcmp6(wire, host.mac, host.ipv6, ALL_ROUTERS, routers.u8(OPTION_SOURCE).u8(1).raw(host.mac).done());
  for (;;) {
    yield random.between(30 * SECOND, 90 * SECOND) + random.below(MILLISECOND);
    sendIcmp6(wire, host.mac, host.ipv6, solicitedNode(peer), solicitation(peer, true, host));
    yield random.between(150 * MICROSECOND, 500 * MICROSECOND);
    const answer = new ByteWriter().u8(NEIGHBOUR_ADVERTISEMENT).u8(0).u16(0).u32(ADVERTISED).raw(peer.ipv6);
    sendIcmp6(wire, peer.mac, peer.ipv6, host, answer.u8(OPTION_TARGET).u8(1).raw(peer.mac).done());
  }
}

function solicitation(target: Host, withSource: boolean, source: Host = target): Uint8Array {
  const message = new ByteWriter().u8(NEIGHBOUR_SOLICITATION).u8(0).u16(0).u32(0).raw(target.ipv6);
  // Duplicate address detection has no source yet (RFC 4861, 4.3).
  if (withSource) message.u8(OPTION_SOURCE).u8(1).raw(source.mac);
  return message.done();
}

/** ff02::1:ff00:0/104 and the last three bytes of the address (RFC 4291, 2.7.1). */
function solicitedNode(host: Host): Destination {
  const [a = 0, b = 0, c = 0] = host.ipv6.subarray(13);
  return {
    mac: Uint8Array.of(0x33, 0x33, 0xff, a, b, c),
    ipv4: new Uint8Array(0),
    ipv6: Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c),
  };
}
