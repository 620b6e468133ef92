/**
 * Floods: more than a service can mean. SYN flood: connections that are opened and never finished. Connection flood: one client opens more than
 * it can use. UDP and ICMP flood: packets that nobody answers. Reflection: answers that nobody asked for.
 */
import type { Scope, Severity } from '../../alert/finding.ts';
import { isGroupAddress } from '../../asset/networks.ts';
import type { Flow } from '../../flow/flow.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP, TCP_ACK, TCP_SYN } from '../../packet/packet-view.ts';
import { protocolName, type Detector, type Report } from '../detector.ts';
import {
  addMember,
  type CountedWindow,
  forgetMember,
  KeyedWindows,
  memberCount,
  seconds,
} from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';

/** Services that answer a small question with much, to whoever the question says it is from. */
const AMPLIFIERS: ReadonlySet<number> = new Set([
  17, 19, 53, 69, 111, 123, 137, 161, 389, 427, 500, 520, 1434, 1604, 1900, 3283, 3478, 3702, 5060, 5093, 5351, 5353, 5683, 10001,
  11211, 27015, 32414, 33848, 37810,
]); // prettier-ignore
/** Share of connections that were never finished, above which it is no accident. */
const HALF_OPEN_SHARE = 0.75;
/** Type of an echo request (RFC 792). */
const ICMP_ECHO = 8;
const ICMP_UNREACHABLE = 3;
/** Unreachable answers something else, and many of them may; beyond so many times as many they are sent for their own sake. */
const ERROR_FACTOR = 10;
/** Ports that announce themselves to groups. */
const GROUP_PORTS: ReadonlySet<number> = new Set([69, 123, 137, 427, 520, 1900, 3702, 5353, 5683, 10001]);
const REFLECTORS_MIN = 4;
/** Below the rate of a flood, for a minute: a thing to know. */
const SLOW_US = 60_000_000;
const SLOW_FACTOR = 2;
/** One client alone may be a browser in front of a server that is gone: it tries again and again, though not as fast as this. */
const BURST_US = 3_000_000;
const ONE_CLIENT_FACTOR = 3;
/** A service that takes more than this share of a flood has it to itself: what is left is spread over many. */
const SPREAD_SHARE = 0.25;
/** One connection accepted out of sight for so many that look half open. */
const ASYMMETRIC_SHARE = 10;
/** The connection is one of those that are spread. */
const SPREAD = 'spread';
const SPRAY_SENDERS_MIN = 20;
const RULES = [
  'syn_flood',
  'spoofed_flood',
  'scan_distributed',
  'connection_flood',
  'udp_flood',
  'icmp_flood',
  'reflection',
] as const;
type FloodRule = (typeof RULES)[number];
const NAMES = Object.fromEntries(RULES.map((rule) => [rule, rule.replaceAll('_', '-')])) as Record<FloodRule, string>; // prettier-ignore
/** Share of packets that were answered, below which nobody wants them. */
const ANSWERED_SHARE = 0.1;

export function createFloodDetector(rules: Rules, report: Report): Detector {
  const opened = new KeyedWindows(rules.syn_flood.within * 1000);
  const openedHost = new KeyedWindows(rules.syn_flood.within * 1000);
  const everywhere = new KeyedWindows(rules.spoofed_flood.within * 1000);
  const spread = new KeyedWindows(rules.spoofed_flood.within * 1000);
  const knocks = new KeyedWindows(rules.scan_distributed.within * 1000);
  const connections = new KeyedWindows(rules.connection_flood.within * 1000);
  const udp = new KeyedWindows(rules.udp_flood.within * 1000);
  const icmp = new KeyedWindows(rules.icmp_flood.within * 1000);
  const reflected = new KeyedWindows(rules.reflection.within * 1000);
  const slowConnections = new KeyedWindows(SLOW_US);
  const elsewhere = new KeyedWindows(rules.syn_flood.within * 1000);

  function found(
    rule: FloodRule,
    window: CountedWindow,
    flow: Flow,
    about: { source: string; destination: string; port: number },
    title: string,
    evidence: string,
    nowUs: number,
    isVictimServer = rule !== 'reflection',
    severity: Severity = rules[rule].severity,
  ): void {
    const { source, destination, port } = about;
    // Of a reflection the victim is the client: it never asked, but the answers go to it.
    const isReflection = !isVictimServer;
    const scope: { -readonly [K in keyof Scope]: Scope[K] } = {
      protocol: flow.protocol,
      fromUs: window.startUs,
      toUs: nowUs,
    };
    if (destination !== '') scope[isReflection ? 'client' : 'server'] = destination;
    if (source !== '') scope[isReflection ? 'server' : 'client'] = source;
    if (port !== -1) scope.serverPort = port;
    if (rule === 'syn_flood' || rule === 'spoofed_flood' || rule === 'scan_distributed')
      scope.isUnanswered = true;
    report(
      {
        rule: NAMES[rule],
        title,
        severity,
        score: 0.95,
        technique: rule === 'scan_distributed' ? 'T0846' : 'T0814',
        timeUs: nowUs,
        source,
        destination,
        port,
        protocol: protocolName(flow.protocol),
        evidence,
        group: `${source} ${destination} ${port} ${flow.protocol} ${severity === 'low' ? 'slow' : ''}`,
        scope,
      },
      flow,
    );
  }

  /**
   * Whether the server, or servers at large, are seen to accept connections whose opening was not seen: the two directions come by different ways, only
   * one of which is mirrored. What looks half open then is the mirror's half.
   */
  function isAsymmetric(server: string, opened: number, nowUs: number): boolean {
    const all = everywhere.peek('', nowUs);
    const isAllOver =
      all !== undefined && acceptedElsewhere('', nowUs) * ASYMMETRIC_SHARE >= all.count - all.other;
    return isAllOver || acceptedElsewhere(server, nowUs) * ASYMMETRIC_SHARE >= opened;
  }

  function acceptedElsewhere(server: string, nowUs: number): number {
    return elsewhere.peek(server, nowUs)?.count ?? 0;
  }

  function onSyn(flow: Flow, nowUs: number): void {
    const { server, serverPort: port } = flow;
    const service = opened.add(flow.doorway, nowUs, flow.client);
    const { half_open: limit } = rules.syn_flood;
    const halfOpen = service.count - service.other;
    const isSlow = nowUs - service.startUs > BURST_US;
    const needed = memberCount(service) === 1 && isSlow ? ONE_CLIENT_FACTOR * limit : limit;
    const isFlood = halfOpen >= needed && halfOpen >= HALF_OPEN_SHARE * service.count;
    if (rules.syn_flood.enabled && isFlood && !isAsymmetric(server, halfOpen, nowUs)) {
      const source = memberCount(service) === 1 ? flow.client : '';
      found('syn_flood', service, flow, { source, destination: server, port }, 'SYN flood', `${halfOpen} of ${service.count} connections to ${server} port ${port} in ${seconds(service, nowUs)}, from ${memberCount(service)} addresses, were opened and not finished`, nowUs); // prettier-ignore
    }
    everywhere.add('', nowUs);
    if (service.count <= SPREAD_SHARE * limit) onSpread(flow, nowUs);
    // What is flooded is not knocked at besides.
    if (isFlood) knocks.windows.delete(server);
    else if (halfOpen < limit / 2) knock(flow, nowUs);
  }

  /** To services that are not flooded, each by itself: all of a host's together, or those of all hosts. */
  function onSpread(flow: Flow, nowUs: number): void {
    const { server } = flow;
    const { half_open: limit } = rules.syn_flood;
    flow.memory[SPREAD] = true;
    const host = openedHost.add(server, nowUs, flow.client);
    const hostHalfOpen = host.count - host.other;
    if (rules.syn_flood.enabled && hostHalfOpen >= limit && memberCount(host) >= limit / 2 && hostHalfOpen >= HALF_OPEN_SHARE * host.count && !isAsymmetric(server, hostHalfOpen, nowUs))
      found('syn_flood', host, flow, { source: '', destination: server, port: -1 }, 'SYN flood', `${hostHalfOpen} of ${host.count} connections to ${server} in ${seconds(host, nowUs)}, from ${memberCount(host)} addresses, were opened and not finished`, nowUs); // prettier-ignore
    // From everywhere to everywhere: addresses that are made up.
    const all = spread.add('', nowUs, flow.client);
    const spoofed = all.count - all.other;
    if (rules.spoofed_flood.enabled && spoofed >= rules.spoofed_flood.half_open && memberCount(all) >= spoofed / 2 && spoofed >= 0.9 * all.count && !isAsymmetric('', spoofed, nowUs))
      found('spoofed_flood', all, flow, { source: '', destination: '', port: -1 }, 'Flood with made-up addresses', `${spoofed} of ${all.count} connections in ${seconds(all, nowUs)}, from ${memberCount(all)} addresses, were never answered`, nowUs); // prettier-ignore
  }

  function onConnection(flow: Flow, nowUs: number): void {
    const { server, serverPort: port } = flow;
    const client = connections.add(flow.line, nowUs);
    const slow = slowConnections.add(flow.line, nowUs);
    const isMuch = client.count < rules.connection_flood.connections && slow.count >= SLOW_FACTOR * rules.connection_flood.connections; // prettier-ignore
    if (rules.connection_flood.enabled && isMuch)
      found('connection_flood', slow, flow, { source: flow.client, destination: server, port }, 'Many connections of one client', `${flow.client} opened ${slow.count} connections to ${server} port ${port} in ${seconds(slow, nowUs)}`, nowUs, true, 'low'); // prettier-ignore
    if (rules.connection_flood.enabled && client.count >= rules.connection_flood.connections)
      found('connection_flood', client, flow, { source: flow.client, destination: server, port }, 'Connection flood', `${flow.client} opened ${client.count} connections to ${server} port ${port} in ${seconds(client, nowUs)}`, nowUs); // prettier-ignore
  }

  /** Many different strangers at one host that answers none of them: too slow for a flood, too many for a mistake. */
  function knock(flow: Flow, nowUs: number): void {
    const victim = flow.wasReversed ? flow.client : flow.server;
    const window = knocks.add(victim, nowUs, flow.wasReversed ? flow.server : flow.client);
    const { enabled, sources } = rules.scan_distributed;
    if (enabled && memberCount(window) >= sources && !isAsymmetric(victim, window.count, nowUs))
      found('scan_distributed', window, flow, { source: '', destination: victim, port: -1 }, 'Many strangers knock at one host', `${memberCount(window)} addresses tried ${victim} in ${seconds(window, nowUs)} and came to nothing`, nowUs, !flow.wasReversed); // prettier-ignore
  }

  return {
    state: {
      opened,
      openedHost,
      everywhere,
      spread,
      knocks,
      connections,
      udp,
      icmp,
      reflected,
      elsewhere,
      slowConnections,
    },

    flowAnswered(flow, nowUs) {
      if (flow.protocol !== PROTO_TCP) return;
      const knocked = knocks.peek(flow.server, nowUs);
      // Who is answered is no stranger.
      if (knocked !== undefined) forgetMember(knocked, flow.client);
      countAnswered(everywhere.peek('', nowUs), flow);
      countAnswered(opened.peek(flow.doorway, nowUs), flow);
      if (flow.memory[SPREAD] !== true) return;
      countAnswered(spread.peek('', nowUs), flow);
      countAnswered(openedHost.peek(flow.server, nowUs), flow);
    },

    packet(view, flow, isFromClient) {
      if (flow === null || flow.protocol === -1) return;
      const nowUs = view.timeUs;
      const { client, server } = flow;
      if (flow.protocol === PROTO_TCP) {
        const isHandshake = (view.tcpFlags & TCP_SYN) !== 0;
        if (!isHandshake) return;
        if ((view.tcpFlags & TCP_ACK) === 0) {
          // A repeated SYN is the same connection.
          if (isFromClient && flow.startUs === nowUs && !isGroupAddress(server)) onSyn(flow, nowUs);
        } else if (!flow.wasReversed && !isFromClient) {
          if ((flow.memory['accepted'] ??= nowUs) === nowUs && !isGroupAddress(server)) onConnection(flow, nowUs); // prettier-ignore
        } else if (flow.wasReversed && !isFromClient) {
          if (flow.startUs === nowUs) {
            knock(flow, nowUs);
            for (const key of ['', server]) elsewhere.add(key, nowUs);
          }
          onReflection(flow, nowUs);
        }
        return;
      }
      if (flow.protocol === PROTO_UDP) {
        if (isGroupAddress(server)) {
          // Announcements go to groups; answers of name servers and the like do not, unless a victim's address was written so.
          if (AMPLIFIERS.has(flow.clientPort) && !GROUP_PORTS.has(flow.clientPort)) onSpray(flow, nowUs);
          return;
        }
        // An outstation reports of its own accord: those are answers that nobody asks for.
        if (flow.wasReversed && !isFromClient && flow.memory['asked'] !== true && flow.service !== 'dnp3')
          onReflection(flow, nowUs);
        else if (flow.wasReversed && isFromClient) flow.memory['asked'] = true;
        // From the amplifier's port to one that looks like a service too: the same, only that the flow is told the other way round.
        else if (isFromClient && flow.memory['answered'] !== true) onSpray(flow, nowUs);
        const window = udp.at(server, nowUs);
        if (isFromClient) window.count++;
        else window.other++;
        if (memberCount(window) < 64) addMember(window, client);
        if (
          rules.udp_flood.enabled &&
          isFromClient &&
          window.count >= rules.udp_flood.packets &&
          window.other < ANSWERED_SHARE * window.count
        ) {
          const source = memberCount(window) === 1 ? client : '';
          found('udp_flood', window, flow, { source, destination: server, port: -1 }, 'UDP flood', `${window.count} UDP packets to ${server} in ${seconds(window, nowUs)}, ${window.other} answered`, nowUs); // prettier-ignore
        }
        return;
      }
      if (flow.protocol !== PROTO_ICMP || !isFromClient) return;
      const isError = view.sourcePort === ICMP_UNREACHABLE;
      if (view.sourcePort !== ICMP_ECHO && !isError) return;
      const window = icmp.add(isError ? `${server} unreachable` : server, nowUs, client);
      if (
        rules.icmp_flood.enabled &&
        window.count >= rules.icmp_flood.packets * (isError ? ERROR_FACTOR : 1)
      ) {
        const source = memberCount(window) === 1 ? client : '';
        found('icmp_flood', window, flow, { source, destination: server, port: -1 }, 'ICMP flood', `${window.count} ICMP packets to ${server} in ${seconds(window, nowUs)}, from ${memberCount(window)} addresses`, nowUs); // prettier-ignore
      }
    },
  };

  /** Packets from one port of many senders that nobody answers: whatever service that is, it was made to answer for somebody else. */
  function onSpray(flow: Flow, nowUs: number): void {
    const window = reflected.add(`${flow.server} from ${flow.clientPort}`, nowUs, flow.client);
    if (
      !rules.reflection.enabled ||
      window.count < rules.reflection.packets ||
      memberCount(window) < SPRAY_SENDERS_MIN
    )
      return;
    found('reflection', window, flow, { source: '', destination: flow.server, port: -1 }, 'Reflected flood', `${window.count} packets from port ${flow.clientPort} of ${memberCount(window)} servers to ${flow.server}, which never answered, in ${seconds(window, nowUs)}`, nowUs, true); // prettier-ignore
  }

  /** An answer to a question that nobody was seen to ask. */
  function onReflection(flow: Flow, nowUs: number): void {
    const { client: victim, server, serverPort: port } = flow;
    const window = reflected.add(`${victim} ${flow.protocol === PROTO_TCP ? 'tcp' : port}`, nowUs, server);
    if (
      !rules.reflection.enabled ||
      window.count < rules.reflection.packets ||
      memberCount(window) < (AMPLIFIERS.has(port) ? REFLECTORS_MIN : SPRAY_SENDERS_MIN)
    )
      return;
    found('reflection', window, flow, { source: '', destination: victim, port: flow.protocol === PROTO_TCP ? -1 : port }, 'Reflected flood', `${window.count} answers that ${victim} never asked for, from ${memberCount(window)} servers, in ${seconds(window, nowUs)}`, nowUs); // prettier-ignore
  }
}

function countAnswered(window: CountedWindow | undefined, flow: Flow): void {
  if (window !== undefined && flow.startUs >= window.startUs) window.other++;
}
