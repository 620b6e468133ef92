/**
 * DNS (RFC 1035) over UDP 53, and mDNS (RFC 6762) over UDP 5353.
 *
 *   header    identifier · flags · counts of questions, answers, authorities, additionals (2 bytes each)
 *   question  name: labels with their lengths, a zero · type (2) · class (2)
 *   answer    name, or a pointer to one (c0 and an offset) · type · class · time to live (4) · length (2) · data
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { resolve } from './arp.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { sendUdp, sendUdp6 } from './ip-builder.ts';
import { MICROSECOND, MILLISECOND, SECOND, type Process } from './scheduler.ts';
import type { World } from './world.ts';

const DNS_PORT = 53;
const MDNS_PORT = 5353;
const TYPE_A = 1;
const TYPE_PTR = 12;
const CLASS_IN = 1;
const RECURSION_DESIRED = 0x0100;
/** Response, recursion desired and available. */
const ANSWERED = 0x8180;
const NAME_ERROR = 3;
const NAME_AT_12 = 0xc00c;

export const MDNS_GROUP = {
  mac: Uint8Array.of(0x01, 0, 0x5e, 0, 0, 0xfb),
  ipv4: Uint8Array.of(224, 0, 0, 251),
  ipv6: new Uint8Array(0),
};
const MDNS_GROUP_6 = {
  mac: Uint8Array.of(0x33, 0x33, 0, 0, 0, 0xfb),
  ipv4: new Uint8Array(0),
  ipv6: Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb),
};

/** One question and its answer; `address` null means that the name does not exist. */
export function* dnsLookup(
  world: World,
  lookup: { client: Host; server: Host; name: string; address: Uint8Array | null },
  random: Prng,
): Process {
  const { client, server, name, address } = lookup;
  yield* resolve(world, client, server);
  const wire = world.wire('dns');
  const port = client.takePort();
  const identifier = random.below(0x1_0000);
  const message = new ByteWriter();
  question(message.u16(identifier).u16(RECURSION_DESIRED).u16(1).u16(0).u16(0).u16(0), name, TYPE_A);
  sendUdp(wire, client, port, server, DNS_PORT, message.done());
  yield random.between(300 * MICROSECOND, 3000 * MICROSECOND);
  const flags = address === null ? ANSWERED | NAME_ERROR : ANSWERED;
  message
    .start()
    .u16(identifier)
    .u16(flags)
    .u16(1)
    .u16(address === null ? 0 : 1)
    .u16(0)
    .u16(0);
  question(message, name, TYPE_A);
  if (address !== null) message.u16(NAME_AT_12).u16(TYPE_A).u16(CLASS_IN).u32(3600).u16(4).raw(address);
  sendUdp(wire, server, DNS_PORT, client, port, message.done());
}

/** A workstation that looks for printers on its network, over IPv4 and IPv6, for ever. */
export function* mdnsQueries(world: World, host: Host, random: Prng): Process {
  const wire = world.wire('mdns');
  const message = new ByteWriter().zeros(4).u16(1).u16(0).u16(0).u16(0);
  question(message, '_ipp._tcp.local', TYPE_PTR);
  for (;;) {
    yield random.between(20 * SECOND, 120 * SECOND);
    sendUdp(wire, host, MDNS_PORT, MDNS_GROUP, MDNS_PORT, message.done(), 255);
    yield random.between(MILLISECOND, 8 * MILLISECOND);
    sendUdp6(wire, host, MDNS_PORT, MDNS_GROUP_6, MDNS_PORT, message.done());
  }
}

function question(message: ByteWriter, name: string, type: number): void {
  for (const label of name.split('.')) message.u8(label.length).ascii(label);
  message.u8(0).u16(type).u16(CLASS_IN);
}
