/**
 * LLDP (IEEE 802.1AB), EtherType 0x88cc: a station names itself to its neighbour. A row of TLVs: type (7 bits) and length
 * (9 bits) in two bytes, then the value.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MILLISECOND, SECOND, type Process } from './scheduler.ts';
import type { World } from './world.ts';

const ETHERTYPE_LLDP = 0x88cc;
/** Nearest bridge. */
const LLDP_GROUP = Uint8Array.of(0x01, 0x80, 0xc2, 0, 0, 0x0e);

const END = 0;
const CHASSIS_ID = 1;
const PORT_ID = 2;
const TIME_TO_LIVE = 3;
const PORT_DESCRIPTION = 4;
const SYSTEM_NAME = 5;
const SYSTEM_DESCRIPTION = 6;
const SYSTEM_CAPABILITIES = 7;
const MANAGEMENT_ADDRESS = 8;

const SUBTYPE_MAC = 4;
const SUBTYPE_LOCAL = 7;
const CAPABILITY_BRIDGE = 0x0004;
const CAPABILITY_STATION = 0x0080;

export interface LldpStation {
  readonly host: Host;
  readonly description: string;
  readonly port: string;
  readonly isBridge: boolean;
  readonly periodNs: number;
}

/** Announces a station for ever. */
export function* lldpAnnouncements(world: World, station: LldpStation, random: Prng): Process {
  const wire = world.wire('lldp');
  const frame = lldpdu(station);
  for (;;) {
    wire.send(station.host.mac, LLDP_GROUP, ETHERTYPE_LLDP, frame);
    yield station.periodNs + random.below(20 * MILLISECOND);
  }
}

function lldpdu({ host, description, port, isBridge, periodNs }: LldpStation): Uint8Array {
  const message = new ByteWriter();
  const capability = isBridge ? CAPABILITY_BRIDGE : CAPABILITY_STATION;
  tlv(message, CHASSIS_ID, (value) => value.u8(SUBTYPE_MAC).raw(host.mac));
  tlv(message, PORT_ID, (value) => value.u8(SUBTYPE_LOCAL).ascii(port));
  tlv(message, TIME_TO_LIVE, (value) => value.u16((4 * periodNs) / SECOND));
  tlv(message, PORT_DESCRIPTION, (value) => value.ascii(`Port ${port}`));
  tlv(message, SYSTEM_NAME, (value) => value.ascii(host.name));
  tlv(message, SYSTEM_DESCRIPTION, (value) => value.ascii(description));
  tlv(message, SYSTEM_CAPABILITIES, (value) => value.u16(capability).u16(capability));
  // Length and family of the address (1 = IPv4), the address, interface 1 by ifIndex, no object identifier.
  tlv(message, MANAGEMENT_ADDRESS, (value) => value.u8(5).u8(1).raw(host.ipv4).u8(2).u32(1).u8(0));
  tlv(message, END, () => undefined);
  return message.copy();
}

function tlv(message: ByteWriter, type: number, write: (value: ByteWriter) => unknown): void {
  const at = message.length;
  write(message.u16(0));
  message.patchU16(at, (type << 9) | (message.length - at - 2));
}
