/**
 * What a newcomer asks to learn what it found, where the protocol has no request that only tools use: the identity of a Siemens controller, its sessions that are opened and dropped, the endpoints and
 * security policies of an OPC UA server. Engineers and every OPC UA client ask the same once, so each is low by itself; it is more when the client does not know the plant: it tries
 * places where no processor is, or policy after policy.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { SENT_DATA, SENT_SYN_ACK, type Flow } from '../../flow/flow.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, memberCount, type CountedWindow, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';

const PAIRS_MAX = 8192;
/** System status lists: 0x0011 what the module is, 0x001c what the component is called. */
const IDENTITY = /^szl:0x00(11|1c)\//;
/** So long a client is new to a controller. */
const NEW_US = 60_000_000;
/** Selectors that were called, of which one at least was not answered. */
const PLACES_MIN = 2;
/** A client finds out the endpoints without security, then comes again with one policy. */
const POLICIES_MIN = 3;
const OPCUA_PORTS: ReadonlySet<number> = new Set([4840, 4841]);
/** Connections in which nobody says anything. */
const WORDLESS_MIN = 2;

type Newcomer = Omit<Seen, 'rule' | 'technique'> & { readonly rule: 'ot-discovery' | 'ot-probe' };

export function createNewcomerDetector(rules: Rules, tell: Tell): Detector {
  const { ot_discovery: discovery, ot_probe: probe } = rules;
  /** Client, server and service → when the client said its first word. */
  const since = new Map<string, number>();
  /** Called selectors by client and server; `other` counts those that answered. */
  const places = new KeyedWindows(NEW_US);
  const policies = new KeyedWindows(NEW_US);
  const wordless = new KeyedWindows(discovery.within * 1000);
  /** Client and server that have had a session of OPC UA. */
  const sessions = new Map<string, number>();

  function told(flow: Flow, seen: Newcomer): void {
    const { client, server, service } = flow;
    const { rule, title, fromUs = flow.startUs, timeUs } = seen;
    const { severity = rule === 'ot-probe' ? probe.severity : discovery.severity } = seen;
    tell(flow, {
      ...seen,
      severity,
      score: severity === 'low' ? 0.6 : 0.8,
      technique: 'T0888',
      group: `${client} ${server} ${title}`,
      scope: { client, server, service },
      fromUs: Math.min(fromUs, flow.startUs),
      toUs: Math.max(timeUs, flow.lastUs),
    });
  }

  function identified(flow: Flow, operation: Operation, pair: string, nowUs: number): void {
    const { client, server } = flow;
    const tried = places.peek(pair, nowUs);
    const isSearch = tried !== undefined && memberCount(tried) >= PLACES_MIN && tried.other < tried.count;
    const asks = `${client}, which is new to ${server}, asks for ${operation.object}`;
    if (isSearch)
      told(flow, {
        rule: 'ot-discovery',
        title: 'A controller is searched for its processor and asked what it is',
        evidence: `${asks} after ${memberCount(tried)} selectors in ${seconds(tried, nowUs)}, not all of which answered`,
        fromUs: tried.startUs,
        timeUs: nowUs,
      });
    else
      told(flow, {
        rule: 'ot-discovery',
        title: 'A controller is asked what it is',
        severity: 'low',
        evidence: asks,
        fromUs: nowUs,
        timeUs: nowUs,
      });
  }

  return {
    state: { since, places, policies, wordless, sessions },

    operation(flow, operation, nowUs) {
      const { protocol, name, isResponse, object } = operation;
      if (protocol === 'opcua') {
        if (name === 'create-session' && !isResponse) remember(sessions, pairOf(flow), nowUs);
        return;
      }
      if (protocol !== 's7comm' || !discovery.enabled) return;
      const pair = pairOf(flow);
      if (name === 'connect' && isResponse) {
        const tried = places.peek(pair, nowUs);
        if (tried !== undefined) tried.other++;
        return;
      }
      if (isResponse || !operation.isFromClient) return;
      if (name === 'connect') places.add(pair, nowUs, object);
      const sinceUs = remember(since, pair, nowUs);
      if (name === 'read-szl' && IDENTITY.test(object) && nowUs - sinceUs < NEW_US)
        identified(flow, operation, pair, nowUs);
    },

    fact(flow, key, value, nowUs) {
      if (key !== 'security-policy' || !probe.enabled) return;
      const { client, server } = flow;
      const window: CountedWindow = policies.add(pairOf(flow), nowUs, value);
      const count = memberCount(window);
      if (count >= POLICIES_MIN)
        told(flow, {
          rule: 'ot-probe',
          title: 'A server is felt for its security policies',
          evidence: `${client} opened channels to ${server} with ${count} security policies in ${seconds(window, nowUs)}`,
          fromUs: window.startUs,
          timeUs: nowUs,
        });
    },

    flowEnded(flow, _values, nowUs) {
      if (!discovery.enabled || flow.protocol !== PROTO_TCP || flow.ending !== 'closed') return;
      const { client, server, serverPort, service, actions } = flow;
      const pair = pairOf(flow);
      const isAnswered = (flow.serverState & SENT_SYN_ACK) !== 0;
      if (
        OPCUA_PORTS.has(serverPort) &&
        isAnswered &&
        ((flow.clientState | flow.serverState) & SENT_DATA) === 0
      )
        wordless.add(flow.line, flow.startUs);
      if (service === 'opcua' && actions['discover'] !== undefined && actions['session'] !== undefined) {
        const before = wordless.peek(flow.line, flow.startUs);
        if (before === undefined || before.count < WORDLESS_MIN || sessions.has(pair)) return;
        told(flow, {
          rule: 'ot-discovery',
          title: 'A server is asked what it offers, and for nothing else',
          severity: 'low',
          evidence: `${client} asked ${server} for its endpoints and opened no session, after ${before.count} connections without a word`,
          fromUs: before.startUs,
          timeUs: nowUs,
        });
      }
      const isNew = (since.get(pair) ?? 0) >= flow.startUs;
      if (service === 's7comm' && isNew && isDropped(actions))
        told(flow, {
          rule: 'ot-discovery',
          title: 'A session with a controller is opened and dropped',
          severity: 'low',
          evidence: `${client}, which is new to ${server}, opened a session with it, and left without a question`,
          timeUs: nowUs,
        });
    },
  };
}

/** What was asked is all of it the beginning, or the end, of a session; each is counted by its action and by its name. */
function isDropped(actions: Readonly<Record<string, number>>): boolean {
  const begun = (actions['create-object'] ?? 0) + (actions['setup-communication'] ?? 0);
  let count = 0;
  for (const one of Object.values(actions)) count += one;
  return begun > 0 && count / 2 === actions['session'];
}

function pairOf({ client, server }: Flow): string {
  return `${client} ${server}`;
}

function remember(times: Map<string, number>, key: string, nowUs: number): number {
  const known = times.get(key);
  if (known !== undefined) return known;
  if (times.size >= PAIRS_MAX) dropOldest(times);
  times.set(key, nowUs);
  return nowUs;
}
