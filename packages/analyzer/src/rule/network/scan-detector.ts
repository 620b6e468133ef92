/**
 * Scans: somebody tries many doors and goes through none. One detector, because who was seen scanning in one way is sooner seen in another.
 *
 *   flows of TCP, UDP and ICMP ─▶ attempt-watch   ports of one host (vertical), hosts (horizontal), either over an hour (slow)
 *   odd TCP flags, ended flows ─▶ fingerprint-watch
 *   IPv6's neighbours          ─▶ sweep-watch
 *   other IP protocols, ARP     here: protocols that hardly anybody speaks, or that are refused; addresses that are asked for
 */
import { FRAME_ARP } from '@tapline/shared/packet/frame-cursor.ts';
import { isGroupAddress, type NetworkList } from '../../asset/networks.ts';
import type { Flow } from '../../flow/flow.ts';
import { PROTO_ICMP, PROTO_ICMPV6, type PacketView } from '../../packet/packet-view.ts';
import { readArp } from '../../protocol/arp.ts';
import { NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION } from '../../protocol/neighbour-discovery.ts';
import type { Detector } from '../detector.ts';
import { type CountedWindow, KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';
import { createAttemptWatch } from './attempt-watch.ts';
import { createFingerprintWatch, hasOddFlags } from './fingerprint-watch.ts';
import { createScanners } from './scanners.ts';
import { createSweepWatch } from './sweep-watch.ts';

/** IP protocols that networks are made of. */
const COMMON_PROTOCOLS: ReadonlySet<number> = new Set([
  1, 2, 4, 6, 17, 41, 47, 50, 51, 58, 88, 89, 103, 112, 115, 132,
]);

/** Type and code of the answer to an IP protocol that a host does not speak. */
const UNREACHABLE = 3;
const NO_PROTOCOL = 2;
const IPV4_HEADER_BYTES = 20;

export function createScanDetector(rules: Rules, internal: NetworkList, tell: Tell): Detector {
  const { scan_protocol: protocolRule, arp_scan: arpRule } = rules;
  const protocols = new KeyedWindows(protocolRule.within * 1000);
  const arp = new KeyedWindows(arpRule.within * 1000);
  const scanners = createScanners(rules, internal, tell);
  const attempts = createAttemptWatch(rules, scanners);
  const fingerprints = createFingerprintWatch(rules, scanners);
  const sweeps = createSweepWatch(rules, scanners);

  return {
    state: {
      ...attempts.state,
      protocols,
      arp,
      ...fingerprints.state,
      ...sweeps.state,
      ...scanners.state,
    },

    flowStarted(flow, view) {
      if (flow.protocol === -1 || flow.wasReversed || isGroupAddress(flow.server)) return;
      if (COMMON_PROTOCOLS.has(flow.protocol)) attempts.started(flow, view);
      else onProtocol(flow, view.timeUs);
    },

    operation(flow, operation) {
      attempts.operation(flow, operation);
    },

    flowEnded(flow) {
      fingerprints.ended(flow);
    },

    flowAnswered(flow, nowUs) {
      attempts.answered(flow, nowUs);
    },

    packet(view, flow, isFromClient) {
      if (flow !== null) {
        attempts.packet(flow, view, isFromClient);
        if (rules.scan_flags.enabled && hasOddFlags(view)) {
          fingerprints.oddFlags(flow, view.tcpFlags, isFromClient, view.timeUs);
          return;
        }
        if (
          view.protocol === PROTO_ICMP &&
          view.sourcePort === UNREACHABLE &&
          view.destinationPort === NO_PROTOCOL
        )
          onRefusedProtocol(view, flow, isFromClient);
      }
      if (view.protocol === PROTO_ICMPV6 && arpRule.enabled && isOfNeighbours(view))
        sweeps.packet(view, flow);
      if (view.frame.kind === FRAME_ARP && arpRule.enabled) onArp(view);
    },
  };

  function onProtocol(flow: Flow, nowUs: number): void {
    const { client, server } = flow;
    const window = protocols.add(`${client} ${server}`, nowUs, flow.protocol);
    window.other++;
    tellProtocols(flow, window, client, server, nowUs);
  }

  /** A host says that it does not speak a protocol, and quotes the IP header of what it refuses (RFC 792). */
  function onRefusedProtocol(view: PacketView, flow: Flow, isFromClient: boolean): void {
    const quoted = view.inner.transportOffset + 8;
    if (view.inner.transportOffset === -1 || view.end - quoted < IPV4_HEADER_BYTES) return;
    if ((view.bytes[quoted] as number) >> 4 !== 4) return;
    // Who opens a flow of refusals refuses; the other may refuse as well.
    const [client, server] = isFromClient ? [flow.server, flow.client] : [flow.client, flow.server];
    const window = protocols.add(`${client} ${server}`, view.timeUs, view.bytes[quoted + 9]);
    tellProtocols(flow, window, client, server, view.timeUs);
  }

  /** Members of the window are protocols; `other` counts the flows in which they were seen, and not only refused. */
  function tellProtocols(
    flow: Flow,
    window: CountedWindow,
    client: string,
    server: string,
    nowUs: number,
  ): void {
    const count = memberCount(window);
    if (!protocolRule.enabled || count < protocolRule.protocols) return;
    const isSeen = window.other > 0;
    const within = seconds(window, nowUs);
    scanners.tell(flow, window, {
      rule: 'scan-protocol',
      title: 'Scan of IP protocols',
      source: client,
      destination: server,
      port: -1,
      protocol: 'ip',
      evidence: isSeen
        ? `${client} tried ${count} unusual IP protocols of ${server} in ${within}`
        : `${server} refused ${client} ${count} IP protocols in ${within}; what was sent was not seen`,
      scope: isSeen
        ? { client, server }
        : { pair: [client, server], protocol: PROTO_ICMP, clientPort: UNREACHABLE },
      timeUs: nowUs,
    });
  }

  function onArp(view: PacketView): void {
    const request = readArp(view);
    if (request === null || request.operation !== 1 || request.sender === request.target) return;
    const { timeUs } = view;
    const { sender, senderMac } = request;
    const window = arp.add(senderMac, timeUs, request.target);
    if (memberCount(window) < arpRule.hosts) return;
    scanners.tell(null, window, {
      rule: 'arp-scan',
      title: 'ARP scan',
      source: senderMac,
      destination: '',
      port: -1,
      protocol: 'arp',
      evidence: `${sender} (${senderMac}) asked for ${memberCount(window)} addresses in ${seconds(window, timeUs)}`,
      scope: { client: senderMac },
      timeUs,
    });
  }
}

function isOfNeighbours({ sourcePort: type }: PacketView): boolean {
  return type === NEIGHBOUR_SOLICITATION || type === NEIGHBOUR_ADVERTISEMENT;
}
