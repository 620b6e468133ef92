/**
 * Doors that are tried and not gone through. An attempt is a flow that was not answered with anything but a refusal; when the other side takes part, or the
 * client goes on as somebody does who is heard, the attempt is taken back. Counted by the ports of one host (vertical), by the hosts of one port or of echo
 * requests (horizontal), and both over an hour (slow).
 */
import type { Severity } from '../../alert/finding.ts';
import { SENT_SYN, SENT_SYN_ACK, type Flow } from '../../flow/flow.ts';
import {
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_TCP,
  PROTO_UDP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  type PacketView,
} from '../../packet/packet-view.ts';
import type { Operation } from '../../protocol/dissector.ts';
import { protocolName } from '../detector.ts';
import { type CountedWindow, forgetMember, KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Scan, Scanners } from './scanners.ts';

/** Where `traceroute` knocks, one port further each time. */
const TRACEROUTE_PORT = 33_434;
const TRACEROUTE_PORTS = 256;
/** A port that was agreed on over FTP is used soon. */
const AGREED_US = 60_000_000;
/** The client told the server to connect to the port of a service, where no file ever goes: an attempt like others when it is refused (RFC 2577, section 3). */
const ORDERED = 'ordered';
const SERVICE_PORTS_MAX = 1024;
/** Too few for a scan, but a thing to know. */
const FEW_PORTS_MIN = 6;
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

export interface AttemptWatch {
  /** A flow of a protocol that is common, from `view` on. */
  started(flow: Flow, view: PacketView): void;
  packet(flow: Flow, view: PacketView, isFromClient: boolean): void;
  /** The server takes part. */
  answered(flow: Flow, nowUs: number): void;
  operation(flow: Flow, operation: Operation): void;
  readonly state: Record<string, unknown>;
}

export function createAttemptWatch(rules: Rules, scanners: Scanners): AttemptWatch {
  const { scan_vertical: verticalRule, scan_horizontal: horizontalRule, scan_slow: slowRule } = rules;
  /** By client, server and protocol; members: ports. */
  const vertical = new KeyedWindows(verticalRule.within * 1000);
  const slowPorts = new KeyedWindows(slowRule.within * 1000);
  /** By client, protocol and port; members: servers. */
  const horizontal = new KeyedWindows(horizontalRule.within * 1000);
  const slowHosts = new KeyedWindows(slowRule.within * 1000);
  /** By who connects to whom and where; counted when the server was told to connect to a service. */
  const agreed = new KeyedWindows(AGREED_US);

  return {
    state: { vertical, horizontal, slowPorts, slowHosts, agreed },

    started(flow, view) {
      if (flow.serverPort === -1) return;
      const { protocol } = flow;
      const nowUs = view.timeUs;
      const isTcp = protocol === PROTO_TCP;
      // In the middle of a connection that began before the capture: nobody tries a door that he is already through.
      if (isTcp && (view.tcpFlags & TCP_SYN) === 0 && view.payloadWireBytes > 0) return;
      const isPing = isIcmp(flow);
      if (isPing && !ECHO_REQUESTS.has(flow.clientPort)) return;
      if (isPing && view.payloadWireBytes === 0) flow.memory[EMPTY_ECHO] = true;
      if (isTraceroute(flow) || isOffer(flow)) return;
      const agreement = agreed.peek(`${flow.client} ${flow.server} ${flow.serverPort}`, nowUs);
      if (agreement !== undefined) {
        if (agreement.count > 0) flow.memory[ORDERED] = true;
        return;
      }
      if (!isPing && !isTcp && protocol !== PROTO_UDP) return;
      if (!isPing) tryPort(flow, nowUs);
      // Who closes connections that began before the capture tries no doors; at one host it is a scan of its own kind (Maimon).
      const isClosing = isTcp && (view.tcpFlags & (TCP_SYN | TCP_FIN | TCP_ACK)) === (TCP_FIN | TCP_ACK);
      if (!isClosing) tryHost(flow, nowUs);
    },

    packet(flow, view, isFromClient) {
      if (!isFromClient && (view.tcpFlags & TCP_RST) !== 0 && isRefusedOrder(flow)) {
        flow.memory[ORDERED] = false;
        const key = `${flow.client} ${flow.server} ${flow.protocol}`;
        if (verticalRule.enabled)
          tellPorts(flow, vertical.add(key, view.timeUs, flow.serverPort), view.timeUs);
      }
      if (!isTrying(flow)) return;
      if (isFromClient ? goesOn(flow, view) : isKeptAlive(flow, view)) forget(flow, view.timeUs);
    },

    answered(flow, nowUs) {
      if (flow.memory[EMPTY_ECHO] !== true) forget(flow, nowUs);
    },

    operation(flow, operation) {
      // The data connection of FTP goes to a port that was told just before, and is empty when the directory is.
      if (operation.protocol !== 'ftp' || Number.isNaN(operation.value)) return;
      const [from, to] = operation.isResponse ? [flow.client, flow.server] : [flow.server, flow.client];
      const agreement = agreed.at(`${from} ${to} ${operation.value}`, flow.lastUs);
      if (!operation.isResponse && operation.value < SERVICE_PORTS_MAX) agreement.count++;
    },
  };

  function tryPort(flow: Flow, nowUs: number): void {
    flow.memory[TRIED] = 1;
    const key = `${flow.client} ${flow.server} ${flow.protocol}`;
    const ports = vertical.add(key, nowUs, flow.serverPort);
    const slow = slowPorts.add(key, nowUs, flow.serverPort);
    if (verticalRule.enabled) tellPorts(flow, ports, nowUs);
    const isQuick = memberCount(ports) >= verticalRule.ports;
    if (slowRule.enabled && !isQuick && memberCount(slow) >= slowRule.targets)
      tellTried(flow, slow, 'scan-slow', 'Slow port scan of one host', nowUs);
  }

  function tellPorts(flow: Flow, ports: CountedWindow, nowUs: number): void {
    if (memberCount(ports) >= verticalRule.ports)
      tellTried(flow, ports, 'scan-vertical', 'Port scan of one host', nowUs);
    else if (memberCount(ports) >= FEW_PORTS_MIN)
      tellTried(flow, ports, 'scan-vertical', 'Some ports of one host are tried', nowUs, 'low');
  }

  /** Ports of the flow's server. */
  function tellTried(
    flow: Flow,
    ports: CountedWindow,
    rule: Scan['rule'],
    title: string,
    nowUs: number,
    severity?: Severity,
  ): void {
    const { client, server, protocol: number } = flow;
    const protocol = protocolName(number);
    scanners.tell(flow, ports, {
      rule,
      title,
      ...(severity === undefined ? {} : { severity }),
      source: client,
      destination: server,
      port: -1,
      protocol,
      evidence: `${client} tried ${memberCount(ports)} ${protocol} ports of ${server} in ${seconds(ports, nowUs)} and used none of them`,
      scope: { client, server, protocol: number },
      timeUs: nowUs,
    });
  }

  function tryHost(flow: Flow, nowUs: number): void {
    const { client, server, serverPort: port, protocol } = flow;
    const key = `${client} ${protocol} ${port}`;
    const hosts = horizontal.add(key, nowUs, server);
    const slow = slowHosts.add(key, nowUs, server);
    const needed = scanners.needed(client, horizontalRule.hosts, nowUs);
    if (horizontalRule.enabled && memberCount(hosts) >= needed)
      tellHosts(flow, hosts, 'scan-horizontal', 'Scan of many hosts', nowUs);
    const isQuick = memberCount(hosts) >= horizontalRule.hosts;
    if (slowRule.enabled && !isQuick && memberCount(slow) >= slowRule.targets)
      tellHosts(flow, slow, 'scan-slow', 'Slow scan of many hosts', nowUs);
  }

  function tellHosts(
    flow: Flow,
    hosts: CountedWindow,
    rule: Scan['rule'],
    title: string,
    nowUs: number,
  ): void {
    const { client, serverPort: port, protocol: number } = flow;
    const protocol = protocolName(number);
    scanners.tell(flow, hosts, {
      rule,
      title,
      source: client,
      destination: '',
      port,
      protocol,
      evidence: `${client} tried ${memberCount(hosts)} hosts on ${protocol}${portText(flow)} in ${seconds(hosts, nowUs)} and used none of them`,
      scope: { client, serverPort: port, protocol: number },
      timeUs: nowUs,
    });
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
}

/** Whoever goes on has somebody who listens, though the mirror may show one of the two only: media streams, half a connection. */
function goesOn(flow: Flow, view: PacketView): boolean {
  if (view.protocol === PROTO_TCP) {
    const isAcknowledged = (view.tcpFlags & (TCP_ACK | TCP_SYN)) === TCP_ACK;
    return view.payloadWireBytes > 0 && isAcknowledged && (flow.clientState & SENT_SYN) !== 0;
  }
  const sent = flow.memory[TRIED] as number;
  flow.memory[TRIED] = sent + 1;
  return sent >= PROBES_MAX;
}

/** In the middle of a connection, and not refused: one that began before the capture, and is idle or ends. */
function isKeptAlive(flow: Flow, view: PacketView): boolean {
  if (view.protocol !== PROTO_TCP || (flow.clientState & SENT_SYN) !== 0) return false;
  return (view.tcpFlags & (TCP_RST | TCP_SYN | TCP_ACK)) === TCP_ACK;
}

function isRefusedOrder({ memory, serverState }: Flow): boolean {
  return memory[ORDERED] === true && (serverState & SENT_SYN_ACK) === 0;
}

/** An attempt that was not taken back. */
function isTrying({ memory }: Flow): boolean {
  const sent = memory[TRIED];
  return sent !== undefined && sent !== 0;
}

function isIcmp({ protocol }: Flow): boolean {
  return protocol === PROTO_ICMP || protocol === PROTO_ICMPV6;
}

function isOffer({ protocol, serverPort }: Flow): boolean {
  return protocol === PROTO_UDP && serverPort === DHCP_CLIENT_PORT;
}

function isTraceroute({ protocol, serverPort: port }: Flow): boolean {
  return protocol === PROTO_UDP && port >= TRACEROUTE_PORT && port < TRACEROUTE_PORT + TRACEROUTE_PORTS;
}

function portText({ protocol, serverPort: port }: Flow): string {
  return protocol === PROTO_TCP || protocol === PROTO_UDP ? ` port ${port}` : '';
}
