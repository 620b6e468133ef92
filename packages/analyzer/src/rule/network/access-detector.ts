/**
 * Who goes where: sensitive services (a PLC's port, a remote shell) used by a client that is not on the allow-list, hosts of the plant that talk to the
 * Internet, and sessions through which one machine is operated from another. Mostly things to know, not attacks: each is told once for a client and a way.
 */
import type { Severity } from '../../alert/finding.ts';
import { SENT_SYN, type Flow } from '../../flow/flow.ts';
import { NetworkList, isGroupAddress } from '../../asset/networks.ts';
import { BACKWARD, FORWARD, PAYLOAD } from '../../flow/flow-columns.ts';
import { PROTO_TCP, PROTO_UDP } from '../../packet/packet-view.ts';
import { protocolName, type Detector, type Report } from '../detector.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';

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
const STRANGERS_WINDOW_US = 600_000_000;
/** So many strangers at one controller are no mistake in the list. */
const CROWD_MIN = 20;

/** Ports above 1023 whose protocols are not read here, and are no riddle. */
const KNOWN_PORTS: ReadonlySet<number> = new Set([
  1089, 1090, 1091, 1217, 1433, 1521, 1723, 1883, 1911, 1962, 2049, 2222, 2223, 3128, 3268, 3269, 3306, 4712, 4713, 4911, 5007, 5060, 5061, 5094, 5222, 5432, 5450,
  5671, 5672, 6379, 6881, 8086, 8883, 9100, 9600, 11740, 18245, 18246, 20547, 34962, 34963, 34964, 48898, 55000, 61616, 62351,
]); // prettier-ignore

export function createAccessDetector(rules: Rules, internal: NetworkList, report: Report): Detector {
  const ports = new Set(rules.sensitive_access.ports);
  const allowed = new NetworkList(rules.sensitive_access.allow);

  const strangers = new KeyedWindows(STRANGERS_WINDOW_US);

  function found(
    rule:
      | 'sensitive_access'
      | 'internet_access'
      | 'remote_access'
      | 'foreign_hosts'
      | 'unknown_service'
      | 'nameless_tls',
    title: string,
    technique: string,
    flow: Flow,
    evidence: string,
    nowUs: number,
    severity: Severity = rules[rule].severity,
  ): void {
    const { client, server, serverPort: port } = flow;
    const isPair = rule === 'remote_access' || rule === 'unknown_service' || rule === 'nameless_tls';
    const isClient = rule === 'internet_access' || rule === 'foreign_hosts';
    report(
      {
        rule: rule.replaceAll('_', '-'),
        title,
        severity,
        score: 0.5,
        technique,
        timeUs: nowUs,
        source: rule === 'sensitive_access' && severity !== rules[rule].severity ? '' : client,
        destination: server,
        port,
        protocol: flow.service || protocolName(flow.protocol),
        evidence,
        group: isPair ? `${client} ${server} ${port}` : isClient ? client : `${server} ${port}`,
        // Only the flows that are told of: others may use the same port and be allowed to.
        scope: { client: isPair || isClient ? client : '', ...(isPair ? { server, serverPort: port } : {}), fromUs: flow.startUs, toUs: nowUs }, // prettier-ignore
      },
      flow,
    );
  }

  return {
    state: { strangers },
    flowEnded(flow, values, nowUs) {
      // A conversation in which both spoke, on a port that is registered for nothing, in no protocol that is known here.
      if (!rules.unknown_service.enabled || flow.service !== '') return;
      if (flow.protocol !== PROTO_TCP && flow.protocol !== PROTO_UDP) return;
      const both = (values[flow.row + FORWARD + PAYLOAD] as number) > 0 && (values[flow.row + BACKWARD + PAYLOAD] as number) > 0; // prettier-ignore
      if (!both || flow.serverPort < 1024 || flow.wasReversed || KNOWN_PORTS.has(flow.serverPort)) return;
      if (flow.protocol === PROTO_TCP && (flow.clientState & SENT_SYN) === 0) return;
      if (!internal.has(flow.client)) return;
      found('unknown_service', 'A conversation that nobody knows', 'T0885', flow, `${flow.client} and ${flow.server} talk on ${protocolName(flow.protocol)} port ${flow.serverPort} in a protocol that is not known here`, nowUs); // prettier-ignore
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol !== 'tls' || operation.name !== 'server-hello' || !rules.nameless_tls.enabled)
        return;
      if (flow.facts['sni'] !== undefined || TLS_PORTS.has(flow.serverPort)) return;
      if (!internal.has(flow.client) || internal.has(flow.server)) return;
      found('nameless_tls', 'TLS with a nameless host on a strange port', 'T0885', flow, `${flow.client} speaks TLS with ${flow.server} port ${flow.serverPort} and names no host (JA3 ${flow.facts['ja3'] ?? 'unknown'})`, nowUs); // prettier-ignore
    },

    flowAnswered(flow, nowUs) {
      const { client, server, serverPort: port, protocol } = flow;
      if ((protocol !== PROTO_TCP && protocol !== PROTO_UDP) || isGroupAddress(server)) return;
      if (rules.sensitive_access.enabled && ports.has(port) && !allowed.has(client)) {
        const window = strangers.add(`${server} ${port}`, nowUs, client);
        const isCrowd = memberCount(window) >= CROWD_MIN;
        found('sensitive_access', 'A sensitive port was used from outside the allow-list', 'T0886', flow, isCrowd ? `${memberCount(window)} addresses that are on no list talk with ${server} port ${port}, in ${seconds(window, nowUs)}` : `${client} talks with ${server} port ${port} and is on no list of those who may`, nowUs, isCrowd ? 'high' : undefined); // prettier-ignore
      }
      if (rules.internet_access.enabled && internal.has(client) && !internal.has(server))
        found('internet_access', 'A host of the plant talks to the Internet', 'T0883', flow, `${client} talks with ${server} port ${port}`, nowUs); // prettier-ignore
      if (rules.foreign_hosts.enabled && !internal.has(client) && !internal.has(server) && !isGroupAddress(client))
        found('foreign_hosts', 'Two hosts that are not of the plant talk on its network', 'T0883', flow, `${client} talks with ${server} port ${port}; if these are the plant's, they belong into internal_networks`, nowUs); // prettier-ignore
      const remote = protocol === PROTO_TCP ? REMOTE.get(port) : undefined;
      if (remote !== undefined && rules.remote_access.enabled)
        found('remote_access', 'A machine is operated from another', 'T0886', flow, `${client} has a session with ${server} over ${remote}`, nowUs); // prettier-ignore
    },
  };
}
