/**
 * Ways from one VLAN into another: two tags, of which the first switch takes the outer away and the next believes the inner; and a host that talks a trunk
 * into being (DTP), on which it then hears all VLANs. Providers put two tags on everything; so two tags are told only where one side speaks alone.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { formatMac } from '@tapline/shared/packet/ip-address.ts';
import { vendorOf } from '../../asset/vendor.ts';
import type { Flow } from '../../flow/flow.ts';
import type { PacketView } from '../../packet/packet-view.ts';
import { be16 } from '../../protocol/byte-reader.ts';
import { dtpStatus } from '../../protocol/link-neighbour.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

const ETHERTYPE_VLAN = 0x8100;
/** An answer, and a provider's other end, come sooner. */
const ALONE_US = 1_000_000;
/** Who makes switches that speak DTP. */
const SWITCH_MAKERS = /cisco|rockwell|allen-bradley|linksys|meraki/i;
const WANTS_TRUNK: ReadonlySet<number> = new Set([1, 3]);
const SNAP_BYTES = 8;
const PORTS_MAX = 8192;

export interface TagWatch {
  /** A frame with two tags or more. */
  packet(view: PacketView, flow: Flow | null): void;
  /** That MAC address has spoken as a switch does: spanning tree or CDP. */
  isSwitch(mac: string): void;
  /** `at`: where the LLC header of a DTP message is. */
  negotiation(view: PacketView, at: number, mac: string): void;
  readonly state: Record<string, unknown>;
}

export function createTagWatch(rules: Rules, tell: Tell): TagWatch {
  const rule = rules.vlan_hopping;
  /** By outer VLAN; members: who sends. */
  const doubled = new KeyedWindows(rule.within * 1000, 4096);

  /** Ports of switches, by what else they say: virtual ones have addresses of nobody. */
  const ports = new Map<string, true>();

  return {
    state: { doubled, ports },

    isSwitch(mac) {
      if (ports.has(mac)) return;
      if (ports.size >= PORTS_MAX) dropOldest(ports);
      ports.set(mac, true);
    },

    packet(view, flow) {
      const { bytes, timeUs } = view;
      const source = view.frame.linkSourceOffset;
      const tags = source + 6;
      // Both of 802.1Q: a provider's own tag is 0x88A8. In front of what is tunnelled no switch looks.
      if (!rule.enabled || source === -1 || view.tunnelDepth > 0 || view.end - tags < 8) return;
      if (be16(bytes, tags) !== ETHERTYPE_VLAN || be16(bytes, tags + 4) !== ETHERTYPE_VLAN) return;
      const outer = be16(bytes, tags + 2) & 0xfff;
      const inner = be16(bytes, tags + 6) & 0xfff;
      // VLAN 0 is a priority and no VLAN; what is sent to a group is not answered.
      if (outer === 0 || inner === 0 || isGroup(bytes, source - 6)) return;
      const key = String(outer);
      // Where two do so it is how this network is.
      if (memberCount(doubled.at(key, timeUs)) > 1) return;
      const mac = formatMac(bytes, source);
      const window = doubled.add(key, timeUs, mac);
      if (memberCount(window) > 1 || window.count < rule.frames || timeUs - window.startUs < ALONE_US) return;
      tell(flow, {
        rule: 'vlan-hopping',
        title: 'Frames with two VLAN tags, and nobody answers',
        technique: 'T0866',
        protocol: 'ethernet',
        source: mac,
        port: -1,
        evidence: `${mac} sent ${window.count} frames in VLAN ${outer} with a second tag for VLAN ${inner} in ${seconds(window, timeUs)}, and nobody else did`,
        group: `${mac} ${outer}`,
        scope: { host: mac },
        fromUs: Math.min(window.startUs, timeUs),
        timeUs,
      });
    },

    negotiation(view, at, mac) {
      if (!rule.enabled || ports.has(mac)) return;
      const maker = vendorOf(mac);
      if (SWITCH_MAKERS.test(maker)) return;
      if (!WANTS_TRUNK.has(dtpStatus(view.bytes, at + SNAP_BYTES, view.end))) return;
      tell(null, {
        rule: 'vlan-hopping',
        title: 'A host wants a trunk',
        // An address of nobody's may be a virtual switch's.
        severity: maker === '' || maker === '(local)' ? rule.severity : rule.negotiation_severity,
        technique: 'T0842',
        protocol: 'dtp',
        source: mac,
        evidence: `${mac}${maker === '' || maker === '(local)' ? '' : ` (${maker})`}, which is no switch by its address and by what else it says, asks its switch for a trunk, on which all VLANs are heard`,
        group: `${mac} dtp`,
        scope: { host: mac },
        timeUs: view.timeUs,
      });
    },
  };
}

function isGroup(bytes: Uint8Array, at: number): boolean {
  return ((bytes[at] as number) & 1) !== 0 && bytes[at] !== 0xff;
}
