/**
 * Who goes where: sensitive services (a PLC's port, a remote shell) used by a client that is not on the allow-list, hosts of the plant that talk to the
 * Internet, and sessions through which one machine is operated from another. Mostly things to know, not attacks: each is told once for a client and a way.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { SENT_SYN, type Flow } from '../../flow/flow.ts';
import { NetworkList, isGroupAddress } from '../../asset/networks.ts';
import { BACKWARD, FORWARD, PAYLOAD } from '../../flow/flow-columns.ts';
import { PROTO_TCP, PROTO_UDP } from '../../packet/packet-view.ts';
import { protocolName, type Detector } from '../detector.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import { NOBODY, type Seen, type Tell } from '../tell.ts';
import { namesItsHost } from './certified-host.ts';

/** Port → how a machine is operated through it. */
const REMOTE: ReadonlyMap<number, string> = new Map([
  [21, 'FTP'],
  [22, 'SSH'],
  [23, 'Telnet'],
  [135, 'RPC'],
  [139, 'SMB'],
  [445, 'SMB'],
  [512, 'rexec'],
  [513, 'rlogin'],
  [514, 'rsh'],
  [953, 'RNDC'],
  [2375, 'Docker'],
  [3389, 'RDP'],
  [5800, 'VNC'],
  [5900, 'VNC'],
  [5555, 'ADB'],
  [5938, 'TeamViewer'],
  [5985, 'WinRM'],
  [5986, 'WinRM'],
  [6000, 'X11'],
  [8291, 'WinBox'],
  [10250, 'Kubernetes'],
]);

/** HTTPS, mail, directories, DNS, FTP, RDP, SIP, messaging, brokers, push services, syslog: TLS is at home there. */
const TLS_PORTS: ReadonlySet<number> = new Set([
  443, 465, 563, 587, 636, 853, 989, 990, 992, 993, 994, 995, 1194, 2083, 2087, 2376, 3269, 3389, 5061, 5222, 5223, 5228, 5229, 5230, 5269, 5349, 5671, 5938,
  5986, 6514, 6443, 8080, 8443, 8883, 9443,
]); // prettier-ignore
/** Of a flow: its client named no host to a server of the Internet, whose certificate was not read yet. */
const NAMELESS = 'nameless';
/** Servers whose certificate named them are known when they are met again: a session that is taken up again shows none. */
const CERTIFIED_MAX = 4096;
const STRANGERS_WINDOW_US = 600_000_000;
/** So many strangers at one controller are no mistake in the list. */
const CROWD_MIN = 20;
/** Things to know, not attacks. */
const SCORE = 0.5;

/** Ports above 1023 whose protocols are not read here, and are no riddle. */
const KNOWN_PORTS: ReadonlySet<number> = new Set([
  1089, 1090, 1091, 1217, 1433, 1521, 1723, 1883, 1911, 1962, 2049, 2222, 2223, 3128, 3268, 3269, 3306, 4712, 4713, 4911, 5007, 5060, 5061, 5094, 5222, 5432, 5450,
  5671, 5672, 6379, 6881, 8086, 8883, 9100, 9600, 11740, 18245, 18246, 20547, 34962, 34963, 34964, 48898, 55000, 61616, 62351,
]); // prettier-ignore

export function createAccessDetector(rules: Rules, internal: NetworkList, tell: Tell): Detector {
  const ports = new Set(rules.sensitive_access.ports);
  const allowed = new NetworkList(rules.sensitive_access.allow);

  const strangers = new KeyedWindows(STRANGERS_WINDOW_US);
  const certified = new Map<string, true>();

  /** About what the two say to each other there. */
  function toldOfPair(flow: Flow, seen: Seen): void {
    const { client, server, serverPort } = flow;
    const group = `${client} ${server} ${serverPort}`;
    tell(flow, { ...seen, score: SCORE, group, scope: { client, server, serverPort } });
  }

  /** About all that this client does. */
  function toldOfClient(flow: Flow, seen: Seen): void {
    const { client } = flow;
    tell(flow, { ...seen, score: SCORE, group: client, scope: { client } });
  }

  /** Its server hello was read. Up to TLS 1.2 the certificate follows, and what comes after that says that there is none. */
  function onServerHello(flow: Flow, nowUs: number): void {
    const { client, server, serverPort, facts } = flow;
    if (facts['sni'] !== undefined || TLS_PORTS.has(serverPort)) return;
    if (!internal.has(client) || internal.has(server)) return;
    if (facts['tls-version'] === 'TLS 1.3') tellNameless(flow, nowUs);
    else flow.memory[NAMELESS] = true;
  }

  /** The subject was told before. */
  function onIssuer(flow: Flow, issuer: string, nowUs: number): void {
    if (flow.memory[NAMELESS] === undefined) return;
    const place = `${flow.server} ${flow.serverPort}`;
    certified.delete(place);
    if (!namesItsHost(flow.facts['certificate-subject'] ?? '', issuer)) {
      tellNameless(flow, nowUs);
      return;
    }
    delete flow.memory[NAMELESS];
    if (certified.size >= CERTIFIED_MAX) dropOldest(certified);
    certified.set(place, true);
  }

  /** No certificate comes any more. */
  function onNone(flow: Flow, nowUs: number): void {
    if (certified.has(`${flow.server} ${flow.serverPort}`)) delete flow.memory[NAMELESS];
    else tellNameless(flow, nowUs);
  }

  function tellNameless(flow: Flow, nowUs: number): void {
    delete flow.memory[NAMELESS];
    toldOfPair(flow, {
      rule: 'nameless-tls',
      title: 'TLS with a nameless host on a strange port',
      technique: 'T0885',
      evidence: `${flow.client} speaks TLS with ${flow.server} port ${flow.serverPort} and names no host (JA3 ${flow.facts['ja3'] ?? 'unknown'})`,
      timeUs: nowUs,
    });
  }

  return {
    state: { strangers, certified },

    packet(view, flow, isFromClient) {
      // The client answers what it has read of the server's.
      if (!isFromClient || flow === null || flow.service !== 'tls' || view.payloadEnd <= view.payloadOffset) return; // prettier-ignore
      if (flow.memory[NAMELESS] !== undefined) onNone(flow, view.timeUs);
    },

    flowEnded(flow, values, nowUs) {
      if (flow.memory[NAMELESS] !== undefined) onNone(flow, nowUs);
      // A conversation in which both spoke, on a port that is registered for nothing, in no protocol that is known here.
      if (!rules.unknown_service.enabled || flow.service !== '') return;
      if (flow.protocol !== PROTO_TCP && flow.protocol !== PROTO_UDP) return;
      const forward = values[flow.row + FORWARD + PAYLOAD] as number;
      const backward = values[flow.row + BACKWARD + PAYLOAD] as number;
      if (
        !(forward > 0 && backward > 0) ||
        flow.serverPort < 1024 ||
        flow.wasReversed ||
        KNOWN_PORTS.has(flow.serverPort)
      )
        return;
      if (flow.protocol === PROTO_TCP && (flow.clientState & SENT_SYN) === 0) return;
      if (!internal.has(flow.client)) return;
      toldOfPair(flow, {
        rule: 'unknown-service',
        title: 'A conversation that nobody knows',
        technique: 'T0885',
        evidence: `${flow.client} and ${flow.server} talk on ${protocolName(flow.protocol)} port ${flow.serverPort} in a protocol that is not known here`,
        timeUs: nowUs,
      });
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol === 'tls' && operation.name === 'server-hello' && rules.nameless_tls.enabled)
        onServerHello(flow, nowUs);
    },

    fact(flow, key, value, nowUs) {
      if (key === 'certificate-issuer') onIssuer(flow, value, nowUs);
    },

    flowAnswered(flow, nowUs) {
      const { client, server, serverPort: port, protocol } = flow;
      if ((protocol !== PROTO_TCP && protocol !== PROTO_UDP) || isGroupAddress(server)) return;
      if (rules.sensitive_access.enabled && ports.has(port) && !allowed.has(client)) {
        const window = strangers.add(`${server} ${port}`, nowUs, client);
        const isCrowd = memberCount(window) >= CROWD_MIN;
        const severity = isCrowd ? 'high' : rules.sensitive_access.severity;
        tell(flow, {
          rule: 'sensitive-access',
          title: 'A sensitive port was used from outside the allow-list',
          severity,
          score: SCORE,
          technique: 'T0886',
          source: severity === rules.sensitive_access.severity ? client : '',
          evidence: isCrowd
            ? `${memberCount(window)} addresses that are on no list talk with ${server} port ${port}, in ${seconds(window, nowUs)}`
            : `${client} talks with ${server} port ${port} and is on no list of those who may`,
          group: `${server} ${port}`,
          // Others may use the same port and be allowed to.
          scope: NOBODY,
          timeUs: nowUs,
        });
      }
      if (rules.internet_access.enabled && internal.has(client) && !internal.has(server))
        toldOfClient(flow, {
          rule: 'internet-access',
          title: 'A host of the plant talks to the Internet',
          technique: 'T0883',
          evidence: `${client} talks with ${server} port ${port}`,
          timeUs: nowUs,
        });
      if (
        rules.foreign_hosts.enabled &&
        !internal.has(client) &&
        !internal.has(server) &&
        !isGroupAddress(client)
      )
        toldOfClient(flow, {
          rule: 'foreign-hosts',
          title: 'Two hosts that are not of the plant talk on its network',
          technique: 'T0883',
          evidence: `${client} talks with ${server} port ${port}; if these are the plant's, they belong into internal_networks`,
          timeUs: nowUs,
        });
      const remote = protocol === PROTO_TCP ? REMOTE.get(port) : undefined;
      if (remote !== undefined && rules.remote_access.enabled)
        toldOfPair(flow, {
          rule: 'remote-access',
          title: 'A machine is operated from another',
          technique: 'T0886',
          evidence: `${client} has a session with ${server} over ${remote}`,
          timeUs: nowUs,
        });
    },
  };
}
