/**
 * Tools that find out what a system or a service is: a port that is spoken to in one protocol after the other (version), and packets with TCP flags that no
 * system sends (flags), to which each kind of system answers in its own way.
 */
import type { Flow } from '../../flow/flow.ts';
import {
  PROTO_TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_PSH,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
  type PacketView,
} from '../../packet/packet-view.ts';
import { KeyedWindows, memberCount, membersOf, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Scanners } from './scanners.ts';

/** Ordinary packets go before and behind the odd ones: answers to both are compared. */
const AROUND_US = 5_000_000;
const PROTOCOLS_SHOWN = 8;

export interface FingerprintWatch {
  /** A packet with TCP flags that no system sends. */
  oddFlags(flow: Flow, flags: number, isFromClient: boolean, nowUs: number): void;
  ended(flow: Flow): void;
  readonly state: Record<string, unknown>;
}

export function createFingerprintWatch(rules: Rules, scanners: Scanners): FingerprintWatch {
  const { scan_version: versionRule, scan_flags: flagsRule } = rules;
  /** By client, server and port; members: protocols. */
  const spoken = new KeyedWindows(versionRule.within * 1000);
  const flags = new KeyedWindows(flagsRule.within * 1000);

  return {
    state: { spoken, flags },

    oddFlags(flow, odd, isFromClient, nowUs) {
      const [source, destination] = isFromClient ? [flow.client, flow.server] : [flow.server, flow.client];
      const window = flags.add(`${source} ${destination}`, nowUs, odd);
      if (window.count < flagsRule.packets) return;
      scanners.tell(flow, window, {
        rule: 'scan-flags',
        title: 'TCP flags that no system sends',
        source,
        destination,
        port: -1,
        protocol: 'tcp',
        evidence: `${source} sent ${destination} ${window.count} packets with ${flagWords(odd)} and the like in ${seconds(window, nowUs)}, as tools do that find out a system's kind or slip through filters`,
        scope: { client: source, server: destination },
        aroundUs: AROUND_US,
        timeUs: nowUs,
      });
    },

    ended(flow) {
      if (!versionRule.enabled || flow.protocol !== PROTO_TCP || flow.service === '') return;
      const { client, server, serverPort, lastUs } = flow;
      const window = spoken.add(flow.line, flow.startUs, flow.service);
      // Flows end in another order than they begin.
      window.startUs = Math.min(window.startUs, flow.startUs);
      const count = memberCount(window);
      if (count < versionRule.protocols) return;
      const protocols = membersOf(window).slice(0, PROTOCOLS_SHOWN).join(', ');
      scanners.tell(flow, window, {
        rule: 'scan-version',
        title: 'A service is spoken to in one protocol after the other',
        source: client,
        destination: server,
        port: serverPort,
        protocol: 'tcp',
        evidence: `${client} tried ${count} protocols (${protocols}) on ${server} port ${serverPort} in ${seconds(window, lastUs)}, as tools do that find out what a port is for`,
        scope: { client, server, serverPort },
        timeUs: lastUs,
      });
    },
  };
}

/** Whether the packet has TCP flags of which RFC 9293 knows no state that sends them. A later fragment, and a header that the capture cut, have none to be read. */
export function hasOddFlags(view: PacketView): boolean {
  const at = view.inner.transportOffset;
  if (view.protocol !== PROTO_TCP || at === -1 || view.end - at < 20) return false;
  // A tool that has nothing to say about flags brings no data with them; who does, wrote a capture by hand.
  return areImpossible(view.tcpFlags) && !(view.tcpFlags === 0 && view.payloadWireBytes > 0);
}

/** No flag at all; SYN with FIN or RST; FIN and URG without ACK. */
function areImpossible(flags: number): boolean {
  const low = flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK | TCP_URG);
  if (low === 0) return true;
  if ((low & TCP_SYN) !== 0 && (low & (TCP_FIN | TCP_RST)) !== 0) return true;
  return (low & TCP_ACK) === 0 && (low & TCP_FIN) !== 0 && (low & TCP_URG) !== 0;
}

function flagWords(flags: number): string {
  const set = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'].filter((_, bit) => (flags & (1 << bit)) !== 0);
  return set.length === 0 ? 'no flag' : set.join(' ');
}
