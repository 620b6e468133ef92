/**
 * Services that are asked what there is, by those who look for a way in:
 *
 *   rpc     a Unix host's port mapper for its list of programs, its mount daemon for what it exports; in series, and for programs that are known for their holes
 *   sip     telephone systems for their kind, one after another, and for their subscribers; tools that say their name
 *   snmp    communities, one after another, that are never answered: a guessed password
 */
import { isGroupAddress } from '../../asset/networks.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, forgetMember, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

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

export function createEnumerationDetector(rules: Rules, tell: Tell): Detector {
  const rpc = rules.rpc_enumeration;
  const sip = rules.sip_scan;
  const lists = new KeyedWindows(rpc.within * 1000);
  const holes = new KeyedWindows(rpc.within * 1000);
  const systems = new KeyedWindows(sip.within * 1000);
  /** Who is asked himself: a telephone system looks after its telephones, those that are off too. */
  const servers = new KeyedWindows(SERVERS_WINDOW_US);
  const subscribers = new KeyedWindows(sip.within * 1000);
  const communities = new KeyedWindows(rules.brute_force.within * 1000);

  function tellRpc(flow: Flow, { name, object, isResponse }: Operation, nowUs: number): void {
    if (isResponse || !rpc.enabled || isGroupAddress(flow.server) || flow.client === flow.server) return;
    const { client, server, service } = flow;
    const list = LISTS.get(name);
    if (list !== undefined) {
      const window = lists.add(client, nowUs, server);
      const hosts = memberCount(window);
      tell(flow, {
        rule: 'rpc-enumeration',
        title: 'A host is asked for its RPC services',
        score: 0.8,
        technique: 'T0888',
        evidence: `${client} asks ${server} ${list}`,
        group: `${client} ${server} `,
        scope: { client, server, service },
        timeUs: nowUs,
      });
      if (hosts >= rpc.hosts)
        tell(flow, {
          rule: 'rpc-enumeration',
          title: 'Many hosts are asked for their RPC services',
          severity: rpc.series_severity,
          score: 0.8,
          technique: 'T0846',
          destination: '',
          evidence: `${client} asked ${hosts} hosts which programs they run or what they export, in ${seconds(window, nowUs)}`,
          group: `${client}  `,
          scope: { client, service },
          fromUs: window.startUs,
          timeUs: nowUs,
        });
    }
    if (name !== 'portmap:getport' || !HOLES.has(object)) return;
    const window = holes.add(client, nowUs, server);
    const hosts = memberCount(window);
    if (hosts >= rpc.hosts)
      tell(flow, {
        rule: 'rpc-enumeration',
        title: 'Many hosts are asked for an RPC service that is known for its holes',
        severity: rpc.series_severity,
        score: 0.8,
        technique: 'T0846',
        destination: '',
        evidence: `${client} asked ${hosts} hosts for ${object} in ${seconds(window, nowUs)}`,
        group: `${client}  `,
        scope: { client, service },
        fromUs: window.startUs,
        timeUs: nowUs,
      });
  }

  function tellSip(
    flow: Flow,
    { name, object, exception, isResponse, isFromClient }: Operation,
    nowUs: number,
  ): void {
    if (!sip.enabled) return;
    const { client, server, service } = flow;
    const [asker, asked] = isFromClient === isResponse ? [server, client] : [client, server];
    if (!isResponse) {
      if (name !== 'options' && name !== 'register' && name !== 'invite') return;
      servers.at(asked, nowUs);
      const window = systems.add(asker, nowUs, asked);
      const count = memberCount(window);
      if (asker === client && count >= sip.hosts && servers.peek(asker, nowUs) === undefined)
        tell(flow, {
          rule: 'sip-scan',
          title: 'Telephone systems are looked for',
          score: 0.8,
          technique: 'T0846',
          destination: '',
          evidence: `${asker} asked ${count} hosts over SIP in ${seconds(window, nowUs)} that never answered`,
          group: `${client}  Telephone systems are looked for`,
          scope: { client, service },
          fromUs: window.startUs,
          timeUs: nowUs,
        });
      return;
    }
    forgetMember(systems.peek(asker, nowUs), asked);
    if (name !== 'register' || object === '' || asker !== client) return;
    const key = `${asker} ${asked}`;
    if (exception === '') {
      forgetMember(subscribers.peek(key, nowUs), object);
      return;
    }
    if (!NO_SUBSCRIBER.test(exception)) return;
    const window = subscribers.add(key, nowUs, object);
    if (memberCount(window) >= sip.subscribers)
      tell(flow, {
        rule: 'sip-scan',
        title: 'A telephone system is searched for its subscribers',
        score: 0.8,
        technique: 'T0888',
        destination: asked,
        evidence: `${asker} tried to register ${memberCount(window)} subscribers at ${asked} in ${seconds(window, nowUs)} that it does not have`,
        group: `${client} ${asked} A telephone system is searched for its subscribers`,
        scope: { client, server: asked, service },
        fromUs: window.startUs,
        timeUs: nowUs,
      });
  }

  function tellSnmp(flow: Flow, { name, object, isResponse }: Operation, nowUs: number): void {
    if (!rules.brute_force.enabled) return;
    const { client, server, service } = flow;
    const key = `${client} ${server}`;
    if (isResponse) forgetMember(communities.peek(key, nowUs), object);
    else if (ASKING.has(name) && !isGroupAddress(server)) {
      const window = communities.add(key, nowUs, object);
      const count = memberCount(window);
      if (count >= rules.brute_force.attempts)
        tell(flow, {
          rule: 'brute-force',
          title: 'Password guessing over SNMP',
          score: 0.8,
          technique: 'T0859',
          evidence: `${count} communities that were never answered, tried by ${client} at ${server} in ${seconds(window, nowUs)}`,
          group: `${client} ${server} Password guessing over SNMP`,
          scope: { client, server, service },
          fromUs: window.startUs,
          timeUs: nowUs,
        });
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
      const { client, server, service } = flow;
      tell(flow, {
        rule: 'sip-scan',
        title: 'A tool that searches telephone systems says its name',
        score: 0.8,
        technique: 'T0888',
        evidence: `${client} calls itself ${value.slice(0, 64)}`,
        group: `${client} ${server} A tool that searches telephone systems says its name`,
        scope: { client, server, service },
        timeUs: nowUs,
      });
    },
  };
}
