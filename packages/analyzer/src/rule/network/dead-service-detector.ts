/**
 * A service that is gone: one client opens connection after connection to it, and each is refused or comes to nothing. Mostly a thing that is broken, and
 * that somebody would like to know; now and then a program that calls a master who is not there any more.
 */
import { PROTO_TCP } from '../../packet/packet-view.ts';
import { SENT_ACK, SENT_DATA, SENT_FIN, SENT_SYN, SENT_SYN_ACK } from '../../flow/flow.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

export function createDeadServiceDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.dead_service;
  const attempts = new KeyedWindows(rule.within * 1000);
  return {
    state: { attempts },

    flowEnded(flow, _values, nowUs) {
      if (!rule.enabled || flow.protocol !== PROTO_TCP || flow.wasReversed) return;
      if ((flow.clientState & SENT_SYN) === 0 || (flow.serverState & SENT_SYN_ACK) !== 0) return;
      // Who goes on was accepted, where this mirror does not look.
      if ((flow.clientState & (SENT_ACK | SENT_DATA | SENT_FIN)) !== 0) return;
      const window = attempts.add(flow.line, flow.startUs);
      // Flows end in another order than they begin.
      window.startUs = Math.min(window.startUs, flow.startUs);
      if (window.count < rule.attempts) return;
      const { client, server, serverPort } = flow;
      tell(flow, {
        rule: 'dead-service',
        title: 'A service is called again and again, and is not there',
        score: 0.4,
        technique: 'T0826',
        protocol: 'tcp',
        evidence: `${client} tried ${window.count} times in ${seconds(window, nowUs)} to reach ${server} port ${serverPort}`,
        group: flow.line,
        scope: { client, server, serverPort },
        fromUs: window.startUs,
        timeUs: nowUs,
      });
    },
  };
}
