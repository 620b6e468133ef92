/**
 * Message floods: one host sends a controller or broker more requests than it can mean, over connections that are all in order. What a flood of packets is to a network, this is to the
 * device behind it. Only over TCP: cyclic input and output over UDP is as fast as it is set.
 */
import { PLANT_SERVICES } from '../../asset/inventory.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

export function createMessageFloodDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.message_flood;
  const messages = new KeyedWindows(rule.within * 1000);

  return {
    state: { messages },

    operation(flow, operation, nowUs) {
      if (operation.isResponse || !operation.isFromClient || flow.protocol !== PROTO_TCP) return;
      if (!rule.enabled || !PLANT_SERVICES.has(operation.protocol)) return;
      const { client, server, serverPort } = flow;
      const window = messages.add(flow.line, nowUs);
      if (window.count < rule.messages) return;
      tell(flow, {
        rule: 'message-flood',
        title: 'Flood of requests',
        score: 0.9,
        technique: 'T0814',
        protocol: operation.protocol,
        evidence: `${client} sent ${window.count} requests to ${server} port ${serverPort} in ${seconds(window, nowUs)}, the last ${operation.name}`,
        group: flow.line,
        scope: { client, server, serverPort },
        fromUs: window.startUs,
        timeUs: nowUs,
      });
    },
  };
}
