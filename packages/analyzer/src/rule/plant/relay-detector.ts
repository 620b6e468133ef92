/**
 * Relays: a host that is a server to one and a client to another, and passes the requests of a plant's protocol on as they come, each within a moment. Gateways and proxies do so by trade, and so does who has put
 * himself between an operator and a controller; then his MAC address often says that it is one of them, too.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { FRAME_ARP } from '@tapline/shared/packet/frame-cursor.ts';
import { OT_SERVICES } from '../../asset/inventory.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';
import { readArp } from '../../protocol/arp.ts';

const QUESTIONS_MAX = 4096;
const OWNERS_MAX = 4096;
const CLAIMS_MAX = 8;
/** So soon it is passed on. */
const PASSED_US = 100_000;
/** Of what the relay asks, so much was asked of it just before. */
const PASSED_SHARE = 0.8;

interface Question {
  client: string;
  atUs: number;
}

export function createRelayDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.ot_relay;
  /** Hosts that asked, and hosts that were asked, in a plant's protocol. */
  const askers = new Map<string, number>();
  const answerers = new Map<string, number>();
  /** Server and question → who asked it last. */
  const questions = new Map<string, Question>();
  /** Relay, server and who stands before it; `other` counts what the relay asked that nobody had asked it. */
  const passed = new KeyedWindows(rule.within * 1000);
  /** Of relay and server: everything that was asked. */
  const asked = new KeyedWindows(rule.within * 1000);
  /** Address → MAC address, and back, as ARP has it. */
  const macs = new Map<string, string>();
  const claims = new Map<string, string[]>();

  function mark(hosts: Map<string, number>, host: string): void {
    if (hosts.has(host)) return;
    if (hosts.size >= OWNERS_MAX) dropOldest(hosts);
    hosts.set(host, 1);
  }

  function ask(question: string, client: string, nowUs: number): void {
    const known = questions.get(question);
    if (known !== undefined) {
      known.client = client;
      known.atUs = nowUs;
      return;
    }
    if (questions.size >= QUESTIONS_MAX) dropOldest(questions);
    questions.set(question, { client, atUs: nowUs });
  }

  function claimsAnother(relay: string, client: string, server: string): boolean {
    const mine = claims.get(macs.get(relay) ?? '') ?? [];
    return mine.includes(client) || mine.includes(server);
  }

  return {
    state: { askers, answerers, questions, passed, asked, macs, claims },

    packet(view) {
      if (view.frame.kind !== FRAME_ARP || !rule.enabled) return;
      const message = readArp(view);
      if (message === null || message.sender === '0.0.0.0') return;
      if (!macs.has(message.sender) && macs.size >= OWNERS_MAX) dropOldest(macs);
      macs.set(message.sender, message.senderMac);
      const mine = claims.get(message.senderMac) ?? [];
      if (mine.length === 0 && claims.size >= OWNERS_MAX) dropOldest(claims);
      if (!mine.includes(message.sender) && mine.length < CLAIMS_MAX)
        claims.set(message.senderMac, [...mine, message.sender]);
    },

    operation(flow, operation, nowUs) {
      if (!rule.enabled || flow.protocol === -1 || operation.isResponse || !operation.isFromClient) return;
      if (!OT_SERVICES.has(operation.protocol) || operation.action === 'session') return;
      const { client, server } = flow;
      mark(askers, client);
      mark(answerers, server);
      // Almost nobody is both: only what such a host is asked, and asks, has to be remembered.
      const mayPass = answerers.has(client);
      const mayBePassed = askers.has(server);
      if (!mayPass && !mayBePassed) return;
      const { protocol, unit, code, object } = operation;
      const question = ` ${protocol} ${unit} ${code} ${object}`;
      if (mayBePassed) ask(server + question, client, nowUs);
      if (!mayPass) return;
      const all = asked.add(flow.line, nowUs).count;
      const before = questions.get(client + question);
      if (before === undefined || before.client === server || nowUs - before.atUs > PASSED_US) return;
      const window = passed.add(`${before.client} ${client} ${server} ${protocol}`, nowUs);
      if (window.count < rule.requests || window.count < PASSED_SHARE * all) return;
      const isSpoofed = claimsAnother(client, before.client, server);
      tell(flow, {
        rule: 'ot-relay',
        title: 'Requests to a controller are passed on',
        severity: isSpoofed ? rule.spoofed_severity : rule.severity,
        score: 0.7,
        technique: 'T0830',
        protocol,
        evidence: `${client} passed ${window.count} of ${all} requests of ${before.client} on to ${server} in ${seconds(window, nowUs)}${isSpoofed ? `, and its MAC address says that it is ${before.client} or ${server}` : ''}`,
        group: `${before.client} ${client} ${server} ${protocol}`,
        scope: { host: client, service: flow.service },
        fromUs: window.startUs,
        timeUs: nowUs,
      });
    },
  };
}
