/**
 * MAC addresses that are made up by the thousand until the switches' tables are full, and every frame is sent to every port. In a plant a new address is an
 * event; what is counted is how many come that were never heard, and how many different makers they would have.
 *
 * Looked at for every packet: six bytes, and one comparison with the addresses that spoke last (8 ns, with all that the control detector asks of a packet). Only what is not among those is looked for.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { PROTO_UDP, type PacketView } from '../../packet/packet-view.ts';
import { be24 } from '../../protocol/byte-reader.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import { NOBODY, type Tell } from '../tell.ts';

/** × (a number and its place in a map) = about 3 MiB. */
const KNOWN_MAX = 65_536;
const RECENT_SLOTS = 1024;
/** So many times as many addresses need not be of different makers. */
const ONE_MAKER_FACTOR = 4;
const DHCP_SERVER_PORT = 67;

export interface MacWatch {
  /** `at`: where the six bytes of the source are. */
  packet(view: PacketView, at: number): void;
  readonly state: Record<string, unknown>;
}

export function createMacWatch(rules: Rules, tell: Tell): MacWatch {
  const rule = rules.mac_flood;
  /** Addresses as numbers, and when they were heard first. */
  const known = new Map<number, number>();
  /** `count`: new addresses; members: their makers' prefixes. */
  const fresh = new KeyedWindows(rule.within * 1000, 1);
  /** No state: who is not in here is looked for in `known`. */
  const recent = new Float64Array(RECENT_SLOTS);

  return {
    state: { known, fresh },

    packet(view, at) {
      const { bytes } = view;
      const maker = be24(bytes, at);
      const device = be24(bytes, at + 3);
      const address = maker * 0x100_0000 + device;
      const slot = (maker ^ device) & (RECENT_SLOTS - 1);
      if (recent[slot] === address) return;
      recent[slot] = address;
      if (!known.has(address)) meet(address, maker, view);
    },
  };

  function meet(address: number, maker: number, view: PacketView): void {
    const { timeUs } = view;
    if (known.size >= KNOWN_MAX) dropOldest(known);
    known.set(address, timeUs);
    // Devices that ask for an address are counted by the rule about those.
    if (!rule.enabled || (view.protocol === PROTO_UDP && view.destinationPort === DHCP_SERVER_PORT)) return;
    const window = fresh.add('', timeUs, maker);
    const { count } = window;
    if (count % rule.addresses !== 0) return;
    const makers = memberCount(window);
    // Beyond the members that a window tells apart, count is what is left.
    if (makers < rule.addresses / 2 && count < ONE_MAKER_FACTOR * rule.addresses) return;
    tell(null, {
      rule: 'mac-flood',
      title: 'More MAC addresses than there can be',
      technique: 'T0842',
      protocol: 'ethernet',
      source: '',
      evidence: `${count} MAC addresses that were never heard, with ${makers} different prefixes, in ${seconds(window, timeUs)}; a switch whose table is full sends every frame to every port`,
      group: '',
      scope: NOBODY,
      fromUs: Math.min(window.startUs, timeUs),
      timeUs,
    });
  }
}
