/**
 * What no attack is by itself, and what a plant's owner wants to know: passwords that everybody on the way can read, TLS with hosts of the Internet that
 * vouch for themselves, and names of hosts that attackers' tools call and controllers do not. Each is told once: for a server, a pair, or a client and a kind.
 */
import type { NetworkList } from '../../asset/networks.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** A name has no more. */
const LABELS_MAX = 127;

export function createPolicyDetector(rules: Rules, internal: NetworkList, tell: Tell): Detector {
  const kinds = new Map<string, string>();
  for (const [kind, names] of Object.entries(rules.notable_host.hosts))
    for (const name of names) kinds.set(name.toLowerCase(), kind);

  function onName(flow: Flow, name: string, nowUs: number): void {
    if (!rules.notable_host.enabled) return;
    const kind = kindOf(kinds, name.toLowerCase());
    const { client, server, serverPort } = flow;
    if (kind !== undefined)
      tell(flow, {
        rule: 'notable-host',
        title: `A host asks for ${kind}`,
        score: 0.5,
        technique: 'T0869',
        evidence: `${client} asks for ${name}`,
        group: `${client} ${kind}`,
        scope: { client, server, serverPort },
        timeUs: nowUs,
      });
  }

  return {
    state: {},

    fact(flow, key, value, nowUs) {
      const { client, server, serverPort } = flow;
      switch (key) {
        case 'password':
          if (rules.clear_password.enabled)
            tell(flow, {
              rule: 'clear-password',
              title: 'A password goes over the network in the clear',
              score: 0.5,
              technique: 'T0859',
              evidence: `${client} sends a password to ${server} port ${serverPort} (${value}), which everybody on the way can read`,
              group: `${server} ${serverPort} ${value}`,
              scope: { client, server, serverPort },
              timeUs: nowUs,
            });
          return;
        case 'self-signed':
          if (rules.self_signed_tls.enabled && internal.has(client) && !internal.has(server))
            tell(flow, {
              rule: 'self-signed-tls',
              title: 'TLS with a host of the Internet that vouches for itself',
              score: 0.5,
              technique: 'T0885',
              evidence: `${client} takes the certificate of ${server} port ${serverPort}, ${value === '' ? 'without a name' : value}, which is signed by itself`,
              group: `${client} ${server} ${serverPort}`,
              scope: { client, server, serverPort },
              timeUs: nowUs,
            });
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
