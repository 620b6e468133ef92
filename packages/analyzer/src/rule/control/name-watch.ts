/**
 * Names that are answered by whoever likes to (LLMNR, NetBIOS, multicast DNS): where the name server knows none, the question goes to everybody, and the first
 * answer is believed. A host answers for its own name, or its few; one that has the same address for many names, or for the name by which browsers look
 * for their proxy, lies.
 */
import type { Flow } from '../../flow/flow.ts';
import type { HostAnswer } from '../../protocol/dns.ts';
import { KeyedWindows, memberCount, membersOf, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

export type NameProtocol = 'llmnr' | 'netbios-ns' | 'mdns';

const PORTS: Readonly<Record<NameProtocol, number>> = { llmnr: 5355, 'netbios-ns': 137, mdns: 5353 };
const PROXY_NAME = 'wpad';
/** A machine may announce names for what runs on it. */
const MDNS_FACTOR = 2;
/** Browsers hide addresses behind such names, one for each call. */
const HIDDEN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const NAMES_SHOWN = 4;

export interface NameWatch {
  answered(
    protocol: NameProtocol,
    answer: HostAnswer,
    sender: string,
    receiver: string,
    flow: Flow | null,
    timeUs: number,
  ): void;
  readonly state: Record<string, unknown>;
}

export function createNameWatch(rules: Rules, tell: Tell): NameWatch {
  const rule = rules.name_poisoning;
  /** By who answers and with which address; members: names. */
  const names = new KeyedWindows(rule.within * 1000);

  return {
    state: { names },

    answered(protocol, answer, sender, receiver, flow, timeUs) {
      if (!rule.enabled) return;
      const name = hostName(answer.name);
      if (name === '' || HIDDEN.test(name)) return;
      const isMdns = protocol === 'mdns';
      const window = names.at(`${isMdns ? 'mdns ' : ''}${sender} ${answer.address}`, timeUs);
      const before = memberCount(window);
      names.add(`${isMdns ? 'mdns ' : ''}${sender} ${answer.address}`, timeUs, name);
      const count = memberCount(window);
      const isProxy = name === PROXY_NAME;
      const isMany = count > before && count >= rule.names * (isMdns ? MDNS_FACTOR : 1);
      if (!isProxy && !isMany) return;
      const shown = membersOf(window).slice(-NAMES_SHOWN).join(', ');
      tell(flow, {
        rule: 'name-poisoning',
        title: isMany
          ? 'One host answers for many names'
          : 'A host says that it is the proxy of all browsers',
        technique: 'T0830',
        protocol,
        source: sender,
        destination: receiver,
        port: PORTS[protocol],
        evidence: isMany
          ? `${sender} answered that ${answer.address} is ${count} hosts in ${seconds(window, timeUs)}: ${count > NAMES_SHOWN ? '… ' : ''}${shown}`
          : `${sender} answered that ${answer.address} is ${answer.name}, whom browsers ask for their proxy`,
        group: `${sender} ${isMany ? 'names' : 'proxy'}`,
        scope: { host: sender, serverPort: PORTS[protocol] },
        fromUs: Math.min(window.startUs, timeUs),
        timeUs,
      });
    },
  };
}

/** The first label, without the number by which a machine evades another of its name. */
function hostName(name: string): string {
  const at = name.indexOf('.');
  return (at === -1 ? name : name.slice(0, at)).replace(/-\d+$/, '');
}
