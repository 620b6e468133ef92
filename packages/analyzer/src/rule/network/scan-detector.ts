/**
 * Scans: somebody tries many doors and goes through none. An attempt is a flow that was not answered with anything but a refusal; when the other side
 * takes part, the attempt is taken back. Vertical: ports of one host. Horizontal: hosts, one port (or echo requests). Slow: either, over an hour.
 * Protocol: IP protocols that hardly anybody speaks. ARP: addresses that are asked for.
 */
import type { Severity } from '../../alert/finding.ts';
import { isGroupAddress, type NetworkList } from '../../asset/networks.ts';
import { SENT_SYN, type Flow } from '../../flow/flow.ts';
import { FRAME_ARP } from '@tapline/shared/packet/frame-cursor.ts';
import { readArp } from '../../protocol/arp.ts';
import {
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_TCP,
  PROTO_UDP,
  TCP_ACK,
  TCP_FIN,
  TCP_PSH,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
  type PacketView,
} from '../../packet/packet-view.ts';
import { protocolName, type Detector, type Report } from '../detector.ts';
import {
  type CountedWindow,
  forgetMember,
  KeyedWindows,
  memberCount,
  membersOf,
  seconds,
} from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';

/** IP protocols that networks are made of. */
const COMMON_PROTOCOLS: ReadonlySet<number> = new Set([
  1, 2, 4, 6, 17, 41, 47, 50, 51, 58, 88, 89, 103, 112, 115, 132,
]);
const WIDE_SCAN_HOSTS = 64;
const AROUND_US = 5_000_000;
/** Where `traceroute` knocks, one port further each time. */
const TRACEROUTE_PORT = 33_434;
const TRACEROUTE_PORTS = 256;
/** A port that was agreed on over FTP is used soon. */
const AGREED_US = 60_000_000;
const WEB_PORTS: ReadonlySet<number> = new Set([80, 443]);
/** Who was seen scanning needs fewer hosts to be told again: his other ports belong to it. */
const KNOWN_SCANNER_US = 600_000_000;
const KNOWN_SCANNER_SHARE = 4;
/** `ping` sends 32 or 56 bytes along; scanners send none, and count hosts that answer as much as those that do not. */
const EMPTY_ECHO = 'emptyEcho';
/** How many packets an attempt has sent so far; 0 once it was taken back. */
const TRIED = 'tried';
/** Of UDP; scanners repeat a probe once or twice. */
const PROBES_MAX = 4;
/** What a DHCP server sends to a client that may have gone. */
const DHCP_CLIENT_PORT = 68;
/** ICMP time exceeded and unreachable are answers to others, never an attempt. */
const ECHO_REQUESTS: ReadonlySet<number> = new Set([8, 13, 15, 17, 128]);

export function createScanDetector(rules: Rules, internal: NetworkList, report: Report): Detector {
  const vertical = new KeyedWindows(rules.scan_vertical.within * 1000);
  const horizontal = new KeyedWindows(rules.scan_horizontal.within * 1000);
  const slowPorts = new KeyedWindows(rules.scan_slow.within * 1000);
  const slowHosts = new KeyedWindows(rules.scan_slow.within * 1000);
  const protocols = new KeyedWindows(rules.scan_protocol.within * 1000);
  const arp = new KeyedWindows(rules.arp_scan.within * 1000);
  const spoken = new KeyedWindows(rules.scan_version.within * 1000);
  const flags = new KeyedWindows(rules.scan_flags.within * 1000);
  const scanners = new KeyedWindows(KNOWN_SCANNER_US);
  const agreed = new KeyedWindows(AGREED_US);

  function found(
    rule: 'scan_vertical' | 'scan_horizontal' | 'scan_slow' | 'scan_protocol' | 'scan_version' | 'scan_flags' | 'arp_scan', // prettier-ignore
    window: CountedWindow,
    about: {
      source: string;
      destination: string;
      port: number;
      protocol: string;
      nowUs: number;
      protocolNumber?: number;
    },
    title: string,
    evidence: string,
    flow: Flow | null,
  ): void {
    const severity = severityOf(rule, memberCount(window), flow);
    const { source, destination, port, protocol, nowUs } = about;
    if (severity !== 'low') scanners.at(source, nowUs);
    // Ordinary packets go before and behind the odd ones: answers to both are compared.
    const around = rule === 'scan_flags' ? AROUND_US : 0;
    report(
      {
        rule: rule.replaceAll('_', '-'),
        title,
        severity,
        score: 0.95,
        technique: 'T0846',
        timeUs: nowUs,
        source,
        destination,
        port,
        protocol,
        evidence,
        group: `${source} ${destination} ${rule === 'scan_slow' || rule === 'scan_horizontal' ? protocol : ''} ${destination === '' || rule === 'scan_version' ? port : ''}`,
        scope: {
          client: source,
          ...(destination === '' ? {} : { server: destination }),
          ...(port !== -1 && (destination === '' || rule === 'scan_version') ? { serverPort: port } : {}),
          ...(about.protocolNumber === undefined ? {} : { protocol: about.protocolNumber }),
          fromUs: window.startUs - around,
          toUs: nowUs + around,
        },
      },
      flow,
    );
  }

  function severityOf(rule: Parameters<typeof found>[0], targets: number, flow: Flow | null): Severity {
    const wanted = rules[rule].severity;
    if (flow === null || rule === 'scan_vertical') return wanted;
    // File sharing calls strangers and is answered by few: to be known, but nobody is attacked.
    const isPeerToPeer =
      isFileSharing(flow.serverPort) && !internal.has(flow.server) && rule !== 'scan_protocol';
    if (isPeerToPeer && internal.has(flow.client)) return 'low';
    // Who has lost the way to the Internet calls a dozen of its web servers in vain.
    const isOffline = (rule === 'scan_horizontal' || rule === 'scan_slow') && WEB_PORTS.has(flow.serverPort) && internal.has(flow.client) && !internal.has(flow.server); // prettier-ignore
    if (isOffline && targets < WIDE_SCAN_HOSTS) return 'low';
    // A dozen hosts may be a tool that looks for its devices; five dozen are not.
    return rule === 'scan_horizontal' && targets < WIDE_SCAN_HOSTS ? 'medium' : wanted;
  }

  /** So many targets make a scan by this source. */
  function needed(source: string, targets: number, nowUs: number): number {
    return scanners.peek(source, nowUs) === undefined ? targets : Math.ceil(targets / KNOWN_SCANNER_SHARE);
  }

  function isAgreed({ client, server, serverPort }: Flow, nowUs: number): boolean {
    return agreed.peek(`${client} ${server} ${serverPort}`, nowUs) !== undefined;
  }

  /** Takes the attempt back: it was none. */
  function forget(flow: Flow, nowUs: number): void {
    const { client, server, serverPort: port, protocol } = flow;
    flow.memory[TRIED] = 0;
    for (const windows of [vertical, slowPorts])
      forgetMember(windows.peek(`${client} ${server} ${protocol}`, nowUs), port);
    for (const windows of [horizontal, slowHosts])
      forgetMember(windows.peek(`${client} ${protocol} ${port}`, nowUs), server);
  }

  /** Whoever goes on has somebody who listens, though the mirror may show one of the two only: media streams, half a connection. */
  function goesOn(flow: Flow, view: PacketView): boolean {
    if (view.protocol === PROTO_TCP) return view.payloadWireBytes > 0 && (view.tcpFlags & (TCP_ACK | TCP_SYN)) === TCP_ACK && (flow.clientState & SENT_SYN) !== 0; // prettier-ignore
    const sent = flow.memory[TRIED] as number;
    flow.memory[TRIED] = sent + 1;
    return sent >= PROBES_MAX;
  }

  function attempt(flow: Flow, nowUs: number, isClosing: boolean): void {
    const { client, server, serverPort: port, protocol } = flow;
    const name = protocolName(protocol);
    const about = { source: client, port, protocol: name, nowUs, protocolNumber: protocol };
    if (protocol !== PROTO_ICMP && protocol !== PROTO_ICMPV6) flow.memory[TRIED] = 1;
    if (protocol !== PROTO_ICMP && protocol !== PROTO_ICMPV6) {
      const ports = vertical.add(`${client} ${server} ${protocol}`, nowUs, port);
      if (rules.scan_vertical.enabled && memberCount(ports) >= rules.scan_vertical.ports)
        found('scan_vertical', ports, { ...about, destination: server, port: -1 }, 'Port scan of one host', `${client} tried ${memberCount(ports)} ${name} ports of ${server} in ${seconds(ports, nowUs)} and used none of them`, flow); // prettier-ignore
      const slow = slowPorts.add(`${client} ${server} ${protocol}`, nowUs, port);
      if (rules.scan_slow.enabled && memberCount(slow) >= rules.scan_slow.targets && memberCount(ports) < rules.scan_vertical.ports)
        found('scan_slow', slow, { ...about, destination: server, port: -1 }, 'Slow port scan of one host', `${client} tried ${memberCount(slow)} ${name} ports of ${server} in ${seconds(slow, nowUs)} and used none of them`, flow); // prettier-ignore
    }
    // Who closes connections that began before the capture tries no doors; at one host it is a scan of its own kind (Maimon).
    if (isClosing) return;
    const hosts = horizontal.add(`${client} ${protocol} ${port}`, nowUs, server);
    if (rules.scan_horizontal.enabled && memberCount(hosts) >= needed(client, rules.scan_horizontal.hosts, nowUs))
      found('scan_horizontal', hosts, { ...about, destination: '' }, 'Scan of many hosts', `${client} tried ${memberCount(hosts)} hosts on ${name}${portText(protocol, port)} in ${seconds(hosts, nowUs)} and was answered by none of them`, flow); // prettier-ignore
    const slow = slowHosts.add(`${client} ${protocol} ${port}`, nowUs, server);
    if (rules.scan_slow.enabled && memberCount(slow) >= rules.scan_slow.targets && memberCount(hosts) < rules.scan_horizontal.hosts)
      found('scan_slow', slow, { ...about, destination: '' }, 'Slow scan of many hosts', `${client} tried ${memberCount(slow)} hosts on ${name}${portText(protocol, port)} in ${seconds(slow, nowUs)} and was answered by none of them`, flow); // prettier-ignore
  }

  return {
    state: { vertical, horizontal, slowPorts, slowHosts, protocols, spoken, arp, flags, scanners, agreed },

    flowStarted(flow, view) {
      if (flow.protocol === -1 || flow.wasReversed || isGroupAddress(flow.server)) return;
      const nowUs = view.timeUs;
      if (!COMMON_PROTOCOLS.has(flow.protocol)) {
        const window = protocols.add(`${flow.client} ${flow.server}`, nowUs, flow.protocol);
        if (rules.scan_protocol.enabled && memberCount(window) >= rules.scan_protocol.protocols)
          found('scan_protocol', window, { source: flow.client, destination: flow.server, port: -1, protocol: 'ip', nowUs }, 'Scan of IP protocols', `${flow.client} sent ${memberCount(window)} unusual IP protocols to ${flow.server} in ${seconds(window, nowUs)}`, flow); // prettier-ignore
        return;
      }
      if (flow.serverPort === -1) return;
      // In the middle of a connection that began before the capture: nobody tries a door that he is already through.
      if (flow.protocol === PROTO_TCP && (view.tcpFlags & TCP_SYN) === 0 && view.payloadWireBytes > 0) return;
      const isIcmp = flow.protocol === PROTO_ICMP || flow.protocol === PROTO_ICMPV6;
      if (isIcmp && !ECHO_REQUESTS.has(flow.clientPort)) return;
      if (isIcmp && view.payloadWireBytes === 0) flow.memory[EMPTY_ECHO] = true;
      if (isTraceroute(flow) || isOffer(flow) || isAgreed(flow, nowUs)) return;
      if (isIcmp || flow.protocol === PROTO_TCP || flow.protocol === PROTO_UDP) attempt(flow, nowUs, flow.protocol === PROTO_TCP && (view.tcpFlags & (TCP_SYN | TCP_FIN | TCP_ACK)) === (TCP_FIN | TCP_ACK)); // prettier-ignore
    },

    operation(flow, operation) {
      // The data connection of FTP goes to a port that was told just before, and is empty when the directory is.
      if (operation.protocol !== 'ftp' || Number.isNaN(operation.value)) return;
      const [from, to] = operation.isResponse ? [flow.client, flow.server] : [flow.server, flow.client];
      agreed.at(`${from} ${to} ${operation.value}`, flow.lastUs);
    },

    flowEnded(flow) {
      if (!rules.scan_version.enabled || flow.protocol !== PROTO_TCP || flow.service === '') return;
      const window = spoken.add(flow.line, flow.startUs, flow.service);
      // Flows end in another order than they begin.
      window.startUs = Math.min(window.startUs, flow.startUs);
      if (memberCount(window) >= rules.scan_version.protocols)
        found('scan_version', window, { source: flow.client, destination: flow.server, port: flow.serverPort, protocol: 'tcp', nowUs: flow.lastUs }, 'A service is spoken to in one protocol after the other', `${flow.client} tried ${memberCount(window)} protocols (${membersOf(window).slice(0, 8).join(', ')}) on ${flow.server} port ${flow.serverPort} in ${seconds(window, flow.lastUs)}, as tools do that find out what a port is for`, flow); // prettier-ignore
    },

    flowAnswered(flow, nowUs) {
      if (flow.memory[EMPTY_ECHO] !== true) forget(flow, nowUs);
    },

    packet(view, flow, isFromClient) {
      if (flow !== null && isTrying(flow) && (isFromClient ? goesOn(flow, view) : isKeptAlive(flow, view))) forget(flow, view.timeUs); // prettier-ignore
      if (flow !== null && rules.scan_flags.enabled && hasTcpFlags(view) && areImpossible(view.tcpFlags)) {
        const nowUs = view.timeUs;
        const [source, destination] = isFromClient ? [flow.client, flow.server] : [flow.server, flow.client];
        const window = flags.add(`${source} ${destination}`, nowUs, view.tcpFlags);
        if (window.count >= rules.scan_flags.packets)
          found('scan_flags', window, { source, destination, port: -1, protocol: 'tcp', nowUs }, 'TCP flags that no system sends', `${source} sent ${destination} ${window.count} packets with ${flagWords(view.tcpFlags)} and the like in ${seconds(window, nowUs)}, as tools do that find out a system's kind or slip through filters`, flow); // prettier-ignore
        return;
      }
      if (view.frame.kind !== FRAME_ARP || !rules.arp_scan.enabled) return;
      const request = readArp(view);
      if (request === null || request.operation !== 1 || request.sender === request.target) return;
      const key = request.senderMac;
      const window = arp.add(key, view.timeUs, request.target);
      if (memberCount(window) >= rules.arp_scan.hosts)
        found('arp_scan', window, { source: key, destination: '', port: -1, protocol: 'arp', nowUs: view.timeUs }, 'ARP scan', `${request.sender} (${key}) asked for ${memberCount(window)} addresses in ${seconds(window, view.timeUs)}`, null); // prettier-ignore
    },
  };
}

/** In the middle of a connection, and not refused: one that began before the capture, and is idle or ends. */
function isKeptAlive(flow: Flow, view: PacketView): boolean {
  return view.protocol === PROTO_TCP && (flow.clientState & SENT_SYN) === 0 && (view.tcpFlags & (TCP_RST | TCP_SYN | TCP_ACK)) === TCP_ACK; // prettier-ignore
}

/** An attempt that was not taken back. */
function isTrying({ memory }: Flow): boolean {
  const sent = memory[TRIED];
  return sent !== undefined && sent !== 0;
}

function isOffer({ protocol, serverPort }: Flow): boolean {
  return protocol === PROTO_UDP && serverPort === DHCP_CLIENT_PORT;
}

function isTraceroute({ protocol, serverPort }: Flow): boolean {
  return (
    protocol === PROTO_UDP && serverPort >= TRACEROUTE_PORT && serverPort < TRACEROUTE_PORT + TRACEROUTE_PORTS
  );
}

/** A later fragment, and a header that the capture cut, have none to be read. */
function hasTcpFlags(view: PacketView): boolean {
  const at = view.inner.transportOffset;
  return view.protocol === PROTO_TCP && at !== -1 && view.end - at >= 20;
}

/** No flag at all; SYN with FIN or RST; FIN, PSH and URG without ACK. RFC 9293 knows no state that sends one of these. */
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

/** Gnutella, BitTorrent, eDonkey, Direct Connect, Soulseek. */
function isFileSharing(port: number): boolean {
  return (port >= 6346 && port <= 6348) || (port >= 6881 && port <= 6999) || port === 51_413 || (port >= 4661 && port <= 4672) || port === 411 || port === 412 || port === 2234; // prettier-ignore
}

function portText(protocol: number, port: number): string {
  return protocol === PROTO_TCP || protocol === PROTO_UDP ? ` port ${port}` : '';
}
