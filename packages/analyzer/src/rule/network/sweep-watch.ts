/**
 * Neighbours that one host asks for one after the other: the ARP scan of IPv6 (RFC 4861). Whoever answers is taken back: a router asks for all its hosts,
 * and finds them. Asked at a host itself, a known neighbour is only confirmed; asked from `::`, an address is tried out (RFC 4862).
 */
import { formatAddress } from '@tapline/shared/packet/ip-address.ts';
import type { Flow } from '../../flow/flow.ts';
import { PROTO_ICMPV6, type PacketView } from '../../packet/packet-view.ts';
import { NEIGHBOUR_SOLICITATION, readNeighbour } from '../../protocol/neighbour-discovery.ts';
import { forgetMember, KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Scanners } from './scanners.ts';

const UNSPECIFIED = '::';
/** What was routed has less and is not believed. */
const HOP_LIMIT = 255;
const ANSWERS_WITHIN_US = 1_000_000;

export interface SweepWatch {
  /** A neighbour solicitation or advertisement. */
  packet(view: PacketView, flow: Flow | null): void;
  readonly state: Record<string, unknown>;
}

export function createSweepWatch(rules: Rules, scanners: Scanners): SweepWatch {
  const { arp_scan: rule } = rules;
  /** By who asks; members: the addresses that have not answered. */
  const sought = new KeyedWindows(rule.within * 1000);

  return {
    state: { sought },

    packet(view, flow) {
      const { bytes, inner, payloadEnd: end, timeUs } = view;
      const at = inner.transportOffset;
      if (at === -1 || at >= end || view.ttl !== HOP_LIMIT || inner.addressBytes !== 16) return;
      const isToGroup = bytes[inner.destinationOffset] === 0xff;
      const isQuestion = view.sourcePort === NEIGHBOUR_SOLICITATION;
      // A question to a group, or an answer to one host.
      if (isQuestion !== isToGroup) return;
      const message = readNeighbour(bytes, at, end);
      if (message === null) return;
      if (!isQuestion) {
        const asker = formatAddress(bytes, inner.destinationOffset, 16);
        forgetMember(sought.peek(asker, timeUs), message.target);
        return;
      }
      const sender = formatAddress(bytes, inner.sourceOffset, 16);
      if (sender === UNSPECIFIED || sender === message.target) return;
      const window = sought.add(sender, timeUs, message.target);
      // Who is there answers at once.
      if (memberCount(window) < rule.hosts || timeUs - window.startUs < ANSWERS_WITHIN_US) return;
      scanners.tell(flow, window, {
        rule: 'ndp-scan',
        title: 'Scan of IPv6 neighbours',
        source: sender,
        destination: '',
        port: -1,
        protocol: 'icmp6',
        evidence: `${sender} asked for ${memberCount(window)} neighbours in ${seconds(window, timeUs)} that did not answer`,
        scope: { client: sender, protocol: PROTO_ICMPV6, clientPort: NEIGHBOUR_SOLICITATION },
        timeUs,
      });
    },
  };
}
