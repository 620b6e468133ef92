/**
 * Commands past those who should have a say: a point of a building that is written with a priority above its automation's, and an OPC UA server that is written to by a client which
 * did not say who it is. Both are done every day somewhere, and both are what an intruder does first.
 */
import type { Flow } from '../../flow/flow.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';

const PRIORITY = 'write-priority';

export function createOverrideDetector(rules: Rules, tell: Tell): Detector {
  function told(flow: Flow, seen: Seen): void {
    const { client, server, service } = flow;
    tell(flow, { ...seen, score: 0.6, group: `${client} ${server}`, scope: { client, server, service } });
  }

  return {
    state: {},

    fact(flow, key, value, nowUs) {
      const rule = rules.ot_override;
      if (key !== PRIORITY || !rule.enabled) return;
      const [priority = '', object = ''] = value.split(' ');
      told(flow, {
        rule: 'ot-override',
        title: 'A point is taken from its automation',
        severity: Number(priority) <= rule.priority ? rule.severity : 'low',
        technique: 'T0831',
        evidence: `${flow.client} writes ${object} with priority ${priority}`,
        timeUs: nowUs,
      });
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol !== 'opcua' || operation.isResponse || !rules.opcua_anonymous.enabled) return;
      const { action, name, object } = operation;
      if ((action !== 'write' && action !== 'control') || flow.facts['user-token'] !== 'anonymous') return;
      told(flow, {
        rule: 'opcua-anonymous',
        title: 'An OPC UA client that did not say who it is commands',
        technique: 'T0855',
        evidence: `${flow.client} sends ${name}${object === '' ? '' : ` of ${object}`} in an anonymous session`,
        timeUs: nowUs,
      });
    },
  };
}
