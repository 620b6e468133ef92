/**
 * Attacks on what holds a network together, beside ARP and DHCP: spanning tree, VLAN tags, switches' tables, gateways' shared addresses, routes, IPv6's
 * neighbours and routers, names that everybody may answer, and who is on a wireless network. One detector, so that a packet that is none of these costs one look at its protocol and one at
 * its MAC address; each watch is given what it is about and nothing else.
 *
 *   any frame ─▶ mac-watch   two tags ─▶ tag-watch
 *   LLC, LLDP ─▶ spanning-tree-watch, tag-watch (DTP), neighbour-flood-watch
 *   UDP ─▶ name-watch, gateway-watch (HSRP), routing-watch (RIP), lease-watch
 *   Wi-Fi ─▶ deauth-watch
 *   ICMPv6 ─▶ router-watch, ndp-watch      VRRP ─▶ gateway-watch      OSPF, EIGRP ─▶ routing-watch
 */
import { FRAME_OTHER, FRAME_UNKNOWN_LINK } from '@tapline/shared/packet/frame-cursor.ts';
import { formatAddress, formatMac } from '@tapline/shared/packet/ip-address.ts';
import type { Flow } from '../../flow/flow.ts';
import { PROTO_ICMPV6, PROTO_UDP, type PacketView } from '../../packet/packet-view.ts';
import { snapProtocol } from '../../protocol/bpdu.ts';
import { readLease, readLease6 } from '../../protocol/dhcp-lease.ts';
import { answeredHosts } from '../../protocol/dns.ts';
import { readHsrp, readVrrp, type FirstHop } from '../../protocol/first-hop.ts';
import { cdpDevice, lldpChassis } from '../../protocol/link-neighbour.ts';
import {
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_SOLICITATION,
  ROUTER_ADVERTISEMENT,
  readNeighbour,
  readRouterAdvertisement,
} from '../../protocol/neighbour-discovery.ts';
import type { Detector } from '../detector.ts';
import { createDeauthWatch } from './deauth-watch.ts';
import { createGatewayWatch } from './gateway-watch.ts';
import { createLeaseWatch } from './lease-watch.ts';
import { createMacWatch } from './mac-watch.ts';
import { createNameWatch, type NameProtocol } from './name-watch.ts';
import { createNdpWatch } from './ndp-watch.ts';
import { createNeighbourFloodWatch } from './neighbour-flood-watch.ts';
import { createRouterWatch } from './router-watch.ts';
import { createRoutingWatch } from './routing-watch.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';
import { createSpanningTreeWatch } from './spanning-tree-watch.ts';
import { createTagWatch } from './tag-watch.ts';

const PROTO_EIGRP = 88;
const PROTO_OSPF = 89;
const PROTO_VRRP = 112;
const ETHERTYPE_LLDP = 0x88cc;
const SAP_SPANNING_TREE = 0x42;
const SAP_SNAP = 0xaa;
const SNAP_BYTES = 8;
const SNAP_PVST = 0x0c_010b;
const SNAP_CDP = 0x0c_2000;
const SNAP_DTP = 0x0c_2004;
/** Of what neighbour discovery sends; what was routed has less and is not believed (RFC 4861). */
const HOP_LIMIT = 255;
const RIP_RESPONSE = 2;
const EIGRP_HELLO = 5;
const OSPF_HELLO = 1;

export function createControlDetector(rules: Rules, tell: Tell): Detector {
  const macs = createMacWatch(rules, tell);
  const tags = createTagWatch(rules, tell);
  const tree = createSpanningTreeWatch(rules, tell);
  const neighbours = createNeighbourFloodWatch(rules, tell);
  const gateways = createGatewayWatch(rules, tell);
  const routing = createRoutingWatch(rules, tell);
  const routers = createRouterWatch(rules, tell);
  const ndp = createNdpWatch(rules, tell);
  const leases = createLeaseWatch(rules, tell);
  const names = createNameWatch(rules, tell);
  const deauths = createDeauthWatch(rules, tell);

  return {
    state: joined({ macs, tags, tree, neighbours, gateways, routing, routers, ndp, leases, names, deauths }),

    packet(view, flow) {
      const { inner } = view;
      if (inner.linkSourceOffset !== -1) macs.packet(view, inner.linkSourceOffset);
      if (view.frame.vlanCount > 1) tags.packet(view, flow);
      switch (view.protocol) {
        case -1:
          if (view.kind === FRAME_OTHER && inner.linkSourceOffset !== -1) onLink(view);
          else if (view.kind === FRAME_UNKNOWN_LINK) deauths.packet(view);
          return;
        case PROTO_UDP:
          onUdp(view, flow);
          return;
        case PROTO_ICMPV6:
          if (view.sourcePort >= ROUTER_ADVERTISEMENT && view.sourcePort <= NEIGHBOUR_ADVERTISEMENT)
            onIcmp6(view, flow);
          return;
        case PROTO_VRRP:
        case PROTO_OSPF:
        case PROTO_EIGRP:
          onRouting(view, flow);
      }
    },
  };

  function onLink(view: PacketView): void {
    const { bytes, end, frame, timeUs } = view;
    const at = frame.payloadOffset;
    if (at === -1) return;
    if (frame.etherType === ETHERTYPE_LLDP) {
      neighbours.message('lldp', lldpChassis(bytes, at, end), timeUs);
      return;
    }
    if (frame.sap !== SAP_SPANNING_TREE && frame.sap !== SAP_SNAP) return;
    const protocol = frame.sap === SAP_SNAP ? snapProtocol(bytes, at, end) : SNAP_PVST;
    if (protocol !== SNAP_PVST && protocol !== SNAP_CDP && protocol !== SNAP_DTP) return;
    const mac = formatMac(bytes, frame.linkSourceOffset);
    if (protocol === SNAP_DTP) tags.negotiation(view, at, mac);
    else {
      tags.isSwitch(mac);
      if (protocol === SNAP_CDP) neighbours.message('cdp', cdpDevice(bytes, at + SNAP_BYTES, end), timeUs);
      else tree.packet(view, at, mac);
    }
  }

  /** By the port that it came from: answers and announcements come from the service's own. */
  function onUdp(view: PacketView, flow: Flow | null): void {
    const { bytes, payloadOffset: at, payloadEnd: end, timeUs } = view;
    switch (view.sourcePort) {
      case 67:
        if (view.destinationPort === 68) onLease(view, flow);
        return;
      case 137:
        onNames(view, flow, 'netbios-ns');
        return;
      case 5353:
        onNames(view, flow, 'mdns');
        return;
      case 5355:
        onNames(view, flow, 'llmnr');
        return;
      case 520:
        if (view.destinationPort === 520 && end > at && bytes[at] === RIP_RESPONSE)
          routing.speaks('rip', sourceOf(view), flow, timeUs);
        return;
      case 521:
        if (view.destinationPort === 521 && end > at && bytes[at] === RIP_RESPONSE)
          routing.speaks('ripng', sourceOf(view), flow, timeUs);
        return;
      case 547:
        if (view.destinationPort === 546) onLease6(view, flow);
        return;
      case 1985:
      case 2029:
        if (view.destinationPort === view.sourcePort) onFirstHop(view, flow, readHsrp(bytes, at, end));
    }
  }

  function onNames(view: PacketView, flow: Flow | null, protocol: NameProtocol): void {
    const answers = answeredHosts(view.bytes, view.payloadOffset, view.payloadEnd, protocol === 'netbios-ns');
    if (answers.length === 0) return;
    const sender = sourceOf(view);
    const receiver = destinationOf(view);
    for (const answer of answers) names.answered(protocol, answer, sender, receiver, flow, view.timeUs);
  }

  function onLease(view: PacketView, flow: Flow | null): void {
    const lease = readLease(view.bytes, view.payloadOffset, view.payloadEnd);
    if (lease !== null) leases.lease(lease, sourceOf(view), flow, view.timeUs);
  }

  function onLease6(view: PacketView, flow: Flow | null): void {
    const lease = readLease6(view.bytes, view.payloadOffset, view.payloadEnd);
    if (lease === null) return;
    const sender = sourceOf(view);
    const vlan = view.inner.vlanId;
    leases.lease6(lease, sender, vlan, routers.standing(sender, vlan), flow, view.timeUs);
  }

  function onIcmp6(view: PacketView, flow: Flow | null): void {
    const { bytes, inner, payloadEnd: end, timeUs } = view;
    const at = inner.transportOffset;
    if (at === -1 || at >= end || view.ttl !== HOP_LIMIT || inner.addressBytes !== 16) return;
    const mac = inner.linkSourceOffset === -1 ? '' : formatMac(bytes, inner.linkSourceOffset);
    const sender = sourceOf(view);
    if (view.sourcePort === ROUTER_ADVERTISEMENT) {
      const message = readRouterAdvertisement(bytes, at, end);
      if (message !== null) routers.advertised(message, sender, mac, inner.vlanId, flow, timeUs);
    } else if (view.sourcePort === NEIGHBOUR_SOLICITATION || view.sourcePort === NEIGHBOUR_ADVERTISEMENT) {
      const message = readNeighbour(bytes, at, end);
      if (message !== null)
        ndp.message(message, sender, destinationOf(view), mac, inner.vlanId, flow, timeUs);
    }
  }

  function onRouting(view: PacketView, flow: Flow | null): void {
    const { bytes, inner, payloadEnd: end, timeUs } = view;
    const at = inner.transportOffset;
    if (at === -1 || end - at < 2) return;
    if (view.protocol === PROTO_VRRP) onFirstHop(view, flow, readVrrp(bytes, at, end, inner.addressBytes));
    else if (view.protocol === PROTO_OSPF) {
      if (bytes[at + 1] === OSPF_HELLO) routing.speaks('ospf', sourceOf(view), flow, timeUs);
    } else if (bytes[at + 1] === EIGRP_HELLO) routing.speaks('eigrp', sourceOf(view), flow, timeUs);
  }

  function onFirstHop(view: PacketView, flow: Flow | null, message: FirstHop | null): void {
    if (message !== null) gateways.message(message, sourceOf(view), view.inner.vlanId, flow, view.timeUs);
  }
}

/** What the watches keep, each under its own name: two may call theirs the same. */
function joined(
  watches: Readonly<Record<string, { readonly state: Record<string, unknown> }>>,
): Record<string, unknown> {
  const state: Record<string, unknown> = {};
  for (const [watch, { state: own }] of Object.entries(watches))
    for (const [name, value] of Object.entries(own)) state[`${watch}.${name}`] = value;
  return state;
}

function sourceOf({ bytes, inner }: PacketView): string {
  return formatAddress(bytes, inner.sourceOffset, inner.addressBytes === 16 ? 16 : 4);
}

function destinationOf({ bytes, inner }: PacketView): string {
  return formatAddress(bytes, inner.destinationOffset, inner.addressBytes === 16 ? 16 : 4);
}
