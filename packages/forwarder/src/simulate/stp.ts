/**
 * Rapid Spanning Tree (IEEE 802.1D-2004, clause 9.3.3): the root bridge of a cell says every two seconds that it is the
 * root. An 802.3 frame; LLC 42 42 03 in front of the BPDU.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MILLISECOND, SECOND, type Process } from './scheduler.ts';
import type { World } from './world.ts';

const BRIDGE_GROUP = Uint8Array.of(0x01, 0x80, 0xc2, 0, 0, 0);
const HELLO_NS = 2 * SECOND;
const PRIORITY = 0x8000;
/** Designated port, learning and forwarding, agreement. */
const FLAGS = 0x7c;

export function* spanningTree(world: World, bridge: Host, random: Prng): Process {
  const wire = world.wire('stp');
  const bpdu = new ByteWriter().u8(0x42).u8(0x42).u8(0x03);
  bpdu.u16(0).u8(2).u8(2).u8(FLAGS); // protocol 0, version 2, type RST
  bpdu.u16(PRIORITY).raw(bridge.mac).u32(0); // root, at no cost
  bpdu.u16(PRIORITY).raw(bridge.mac).u16(0x8001); // this bridge, its port
  // Message age, maximum age, hello time, forward delay in 1/256 s; version 1 length.
  bpdu
    .u16(0)
    .u16(20 << 8)
    .u16(2 << 8)
    .u16(15 << 8)
    .u8(0);
  for (;;) {
    wire.sendLlc(bridge.mac, BRIDGE_GROUP, bpdu.done());
    yield HELLO_NS + random.below(3 * MILLISECOND);
  }
}
