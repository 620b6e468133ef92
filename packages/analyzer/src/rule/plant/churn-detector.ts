/**
 * Connections to a controller that come and go: a tool that opens one for each of its questions. Masters hold their connections; those that do not open one for each poll, about as often as
 * they poll. So what counts is connections with hardly a request in them, several a second.
 */
import { PLANT_SERVICES } from '../../asset/inventory.ts';
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** More is a conversation. */
const REQUESTS_MAX = 3;

export function createChurnDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.connection_churn;
  const connections = new KeyedWindows(rule.within * 1000);

  return {
    state: { connections },

    flowEnded(flow, _values, nowUs) {
      if (!rule.enabled || flow.protocol !== PROTO_TCP || flow.ending !== 'closed') return;
      if (!PLANT_SERVICES.has(flow.service) || requestCount(flow) > REQUESTS_MAX) return;
      const { client, server, serverPort } = flow;
      // By when it was opened: several ends are noticed at once.
      const window = connections.add(flow.line, flow.startUs);
      if (window.count < rule.connections) return;
      tell(flow, {
        rule: 'connection-churn',
        title: 'Connections to a controller come and go',
        score: 0.8,
        technique: 'T0888',
        evidence: `${client} opened ${window.count} connections to ${server} port ${serverPort} in ${seconds(window, flow.startUs)}, each for ${REQUESTS_MAX} requests at the most`,
        group: `${client} ${server} ${serverPort}`,
        scope: { client, server, serverPort },
        fromUs: window.startUs,
        toUs: Math.max(nowUs, flow.lastUs),
        timeUs: nowUs,
      });
    },
  };
}

/** Each is counted by its action and by its name. */
function requestCount({ actions }: Flow): number {
  let count = 0;
  for (const one of Object.values(actions)) count += one;
  return count / 2;
}
