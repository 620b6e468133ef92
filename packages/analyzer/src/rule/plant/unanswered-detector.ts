/**
 * Controllers that are there and do not answer: the connection stands, requests arrive, and nothing comes back, again and again. A device that hangs, or somebody in between who keeps its answers.
 * Who goes on all the same, much faster than anybody waits for an answer, does not want one.
 */
import { OT_SERVICES } from '../../asset/inventory.ts';
import { SENT_SYN_ACK } from '../../flow/flow.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

export function createUnansweredDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.ot_unanswered;
  /** Requests since the last answer. */
  const requests = new KeyedWindows(rule.within * 1000);

  return {
    state: { requests },

    operation(flow, operation, nowUs) {
      if (!rule.enabled || flow.protocol !== PROTO_TCP || !OT_SERVICES.has(operation.protocol)) return;
      const { client, server, serverPort, line: key } = flow;
      if (!operation.isFromClient || operation.isResponse) {
        requests.windows.delete(key);
        return;
      }
      // Of a mirror that sees one direction nobody is ever answered; nobody waits for an answer to what begins and ends a session.
      if ((flow.serverState & SENT_SYN_ACK) === 0 || operation.action === 'session') return;
      const window = requests.add(key, nowUs);
      if (window.count < rule.requests) return;
      const isFlood = window.count >= rule.flood;
      tell(flow, {
        rule: 'ot-unanswered',
        title: isFlood
          ? 'A controller is flooded with requests that it does not answer'
          : 'A controller takes requests and does not answer',
        severity: isFlood ? rule.flood_severity : rule.severity,
        score: 0.6,
        technique: 'T0814',
        protocol: operation.protocol,
        evidence: `${window.count} requests of ${client} to ${server} port ${serverPort} in ${seconds(window, nowUs)}, the last ${operation.name}, and no answer between them`,
        group: `${key} ${isFlood}`,
        scope: { client, server, serverPort },
        fromUs: window.startUs,
        timeUs: nowUs,
      });
    },
  };
}
