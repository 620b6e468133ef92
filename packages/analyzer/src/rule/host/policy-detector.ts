/**
 * What no attack is by itself, and what a plant's owner wants to know: passwords that everybody on the way can read, TLS with hosts of the Internet that
 * vouch for themselves, and names of hosts that attackers' tools call and controllers do not. Each is told once: for a server, a pair, or a client and a kind.
 */
import type { Severity } from '../../alert/finding.ts';
import type { NetworkList } from '../../asset/networks.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Detector, Report } from '../detector.ts';
import type { Rules } from '../rule-file.ts';

/** A name has no more. */
const LABELS_MAX = 127;

export function createPolicyDetector(rules: Rules, internal: NetworkList, report: Report): Detector {
  const kinds = new Map<string, string>();
  for (const [kind, names] of Object.entries(rules.notable_host.hosts))
    for (const name of names) kinds.set(name.toLowerCase(), kind);

  function found(
    rule: 'clear-password' | 'self-signed-tls' | 'notable-host',
    title: string,
    severity: Severity,
    technique: string,
    flow: Flow,
    group: string,
    evidence: string,
    timeUs: number,
  ): void {
    const { client, server, serverPort } = flow;
    const scope = { client, server, serverPort, fromUs: flow.startUs, toUs: timeUs };
    report({ rule, title, severity, score: 0.5, technique, timeUs, source: client, destination: server, port: serverPort, protocol: flow.service || 'tcp', evidence, group, scope }, flow); // prettier-ignore
  }

  function onName(flow: Flow, name: string, nowUs: number): void {
    if (!rules.notable_host.enabled) return;
    const kind = kindOf(kinds, name.toLowerCase());
    if (kind !== undefined)
      found('notable-host', `A host asks for ${kind}`, rules.notable_host.severity, 'T0869', flow, `${flow.client} ${kind}`, `${flow.client} asks for ${name}`, nowUs); // prettier-ignore
  }

  return {
    state: {},

    fact(flow, key, value, nowUs) {
      switch (key) {
        case 'password':
          if (rules.clear_password.enabled)
            found('clear-password', 'A password goes over the network in the clear', rules.clear_password.severity, 'T0859', flow, `${flow.server} ${flow.serverPort} ${value}`, `${flow.client} sends a password to ${flow.server} port ${flow.serverPort} (${value}), which everybody on the way can read`, nowUs); // prettier-ignore
          return;
        case 'self-signed':
          if (rules.self_signed_tls.enabled && internal.has(flow.client) && !internal.has(flow.server))
            found('self-signed-tls', 'TLS with a host of the Internet that vouches for itself', rules.self_signed_tls.severity, 'T0885', flow, `${flow.client} ${flow.server} ${flow.serverPort}`, `${flow.client} takes the certificate of ${flow.server} port ${flow.serverPort}, ${value === '' ? 'without a name' : value}, which is signed by itself`, nowUs); // prettier-ignore
          return;
        case 'sni':
        case 'host':
          onName(flow, value, nowUs);
      }
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol === 'dns' && !operation.isResponse) onName(flow, operation.object, nowUs);
    },
  };
}

/** By the name itself or the longest of its ends that is listed. */
function kindOf(kinds: ReadonlyMap<string, string>, name: string): string | undefined {
  const end = name.endsWith('.') ? name.length - 1 : name.length;
  const port = name.indexOf(':');
  let rest = name.slice(0, port === -1 ? end : port);
  for (let i = 0; i < LABELS_MAX; i++) {
    const kind = kinds.get(rest);
    if (kind !== undefined) return kind;
    const dot = rest.indexOf('.');
    if (dot === -1) return undefined;
    rest = rest.slice(dot + 1);
  }
  return undefined;
}
