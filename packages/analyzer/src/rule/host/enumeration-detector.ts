/**
 * Services that are asked what there is, by those who look for a way in:
 *
 *   rpc     a Unix host's port mapper for its list of programs, its mount daemon for what it exports; in series, and for programs that are known for their holes
 *   sip     telephone systems for their kind, one after another, and for their subscribers; tools that say their name
 *   snmp    communities, one after another, that are never answered: a guessed password
 */
import type { Severity } from '../../alert/finding.ts';
import { isGroupAddress } from '../../asset/networks.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector, Report } from '../detector.ts';
import { KeyedWindows, forgetMember, memberCount, type CountedWindow, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';

const LISTS: ReadonlyMap<string, string> = new Map([
  ['portmap:dump', 'which programs it runs'],
  ['mount:export', 'what it exports'],
  ['mount:exportall', 'what it exports'],
  ['mount:dump', 'who uses what it exports'],
]);
/** Of no use to a client that is not of the same maker and decade. */
const HOLES: ReadonlySet<string> = new Set(['sadmind', 'cmsd', 'ttdbserver', 'snmpxdmid', 'rexd', 'walld', 'ypupdated', 'cachefsd', 'rusersd']); // prettier-ignore
const SIP_TOOLS = /friendly-scanner|sipvicious|sundayddr|sip-scan|sipcli|\biwar\b/i;
const NO_SUBSCRIBER = /^(?:404|403|refused-403)$/;
const ASKING: ReadonlySet<string> = new Set(['get', 'get-next', 'get-bulk', 'set']);

const SERVERS_WINDOW_US = 3_600_000_000;

type RuleName = 'rpc_enumeration' | 'sip_scan' | 'brute_force';

export function createEnumerationDetector(rules: Rules, report: Report): Detector {
  const rpc = rules.rpc_enumeration;
  const sip = rules.sip_scan;
  const lists = new KeyedWindows(rpc.within * 1000);
  const holes = new KeyedWindows(rpc.within * 1000);
  const systems = new KeyedWindows(sip.within * 1000);
  /** Who is asked himself: a telephone system looks after its telephones, those that are off too. */
  const servers = new KeyedWindows(SERVERS_WINDOW_US);
  const subscribers = new KeyedWindows(sip.within * 1000);
  const communities = new KeyedWindows(rules.brute_force.within * 1000);

  function found(
    rule: RuleName,
    title: string,
    severity: Severity,
    flow: Flow,
    destination: string,
    window: CountedWindow | null,
    evidence: string,
    nowUs: number,
  ): void {
    const { client, service } = flow;
    report(
      {
        rule: rule.replaceAll('_', '-'),
        title,
        severity,
        score: 0.8,
        technique: rule === 'brute_force' ? 'T0859' : destination === '' ? 'T0846' : 'T0888',
        timeUs: nowUs,
        source: client,
        destination,
        port: flow.serverPort,
        protocol: service,
        evidence,
        group: `${client} ${destination} ${rule === 'rpc_enumeration' ? '' : title}`,
        scope: {
          client,
          ...(destination === '' ? {} : { server: destination }),
          service,
          fromUs: window?.startUs ?? flow.startUs,
          toUs: nowUs,
        },
      },
      flow,
    );
  }

  function tellRpc(flow: Flow, { name, object, isResponse }: Operation, nowUs: number): void {
    if (isResponse || !rpc.enabled || isGroupAddress(flow.server) || flow.client === flow.server) return;
    const { client, server } = flow;
    const list = LISTS.get(name);
    if (list !== undefined) {
      const window = lists.add(client, nowUs, server);
      const hosts = memberCount(window);
      found('rpc_enumeration', 'A host is asked for its RPC services', rpc.severity, flow, server, null, `${client} asks ${server} ${list}`, nowUs); // prettier-ignore
      if (hosts >= rpc.hosts)
        found('rpc_enumeration', 'Many hosts are asked for their RPC services', rpc.series_severity, flow, '', window, `${client} asked ${hosts} hosts which programs they run or what they export, in ${seconds(window, nowUs)}`, nowUs); // prettier-ignore
    }
    if (name !== 'portmap:getport' || !HOLES.has(object)) return;
    const window = holes.add(client, nowUs, server);
    const hosts = memberCount(window);
    if (hosts >= rpc.hosts)
      found('rpc_enumeration', 'Many hosts are asked for an RPC service that is known for its holes', rpc.series_severity, flow, '', window, `${client} asked ${hosts} hosts for ${object} in ${seconds(window, nowUs)}`, nowUs); // prettier-ignore
  }

  function tellSip(
    flow: Flow,
    { name, object, exception, isResponse, isFromClient }: Operation,
    nowUs: number,
  ): void {
    // prettier-ignore
    if (!sip.enabled) return;
    const [asker, asked] = isFromClient === isResponse ? [flow.server, flow.client] : [flow.client, flow.server]; // prettier-ignore
    if (!isResponse) {
      if (name !== 'options' && name !== 'register' && name !== 'invite') return;
      servers.at(asked, nowUs);
      const window = systems.add(asker, nowUs, asked);
      const count = memberCount(window);
      if (asker === flow.client && count >= sip.hosts && servers.peek(asker, nowUs) === undefined)
        found('sip_scan', 'Telephone systems are looked for', sip.severity, flow, '', window, `${asker} asked ${count} hosts over SIP in ${seconds(window, nowUs)} that never answered`, nowUs); // prettier-ignore
      return;
    }
    forgetMember(systems.peek(asker, nowUs), asked);
    if (name !== 'register' || object === '' || asker !== flow.client) return;
    const key = `${asker} ${asked}`;
    if (exception === '') {
      forgetMember(subscribers.peek(key, nowUs), object);
      return;
    }
    if (!NO_SUBSCRIBER.test(exception)) return;
    const window = subscribers.add(key, nowUs, object);
    if (memberCount(window) >= sip.subscribers)
      found('sip_scan', 'A telephone system is searched for its subscribers', sip.severity, flow, asked, window, `${asker} tried to register ${memberCount(window)} subscribers at ${asked} in ${seconds(window, nowUs)} that it does not have`, nowUs); // prettier-ignore
  }

  function tellSnmp(flow: Flow, { name, object, isResponse }: Operation, nowUs: number): void {
    if (!rules.brute_force.enabled) return;
    const key = `${flow.client} ${flow.server}`;
    if (isResponse) forgetMember(communities.peek(key, nowUs), object);
    else if (ASKING.has(name) && !isGroupAddress(flow.server)) {
      const window = communities.add(key, nowUs, object);
      const count = memberCount(window);
      if (count >= rules.brute_force.attempts)
        found('brute_force', 'Password guessing over SNMP', rules.brute_force.severity, flow, flow.server, window, `${count} communities that were never answered, tried by ${flow.client} at ${flow.server} in ${seconds(window, nowUs)}`, nowUs); // prettier-ignore
    }
  }

  return {
    state: { lists, holes, systems, servers, subscribers, communities },

    operation(flow, operation, nowUs) {
      if (operation.protocol === 'rpc') tellRpc(flow, operation, nowUs);
      else if (operation.protocol === 'sip') tellSip(flow, operation, nowUs);
      else if (operation.protocol === 'snmp') tellSnmp(flow, operation, nowUs);
    },

    fact(flow, key, value, nowUs) {
      if (key !== 'sip-agent' || !sip.enabled || !SIP_TOOLS.test(value)) return;
      found('sip_scan', 'A tool that searches telephone systems says its name', sip.severity, flow, flow.server, null, `${flow.client} calls itself ${value.slice(0, 64)}`, nowUs); // prettier-ignore
    },
  };
}
