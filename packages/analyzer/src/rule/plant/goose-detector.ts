/** GOOSE events: a state number that moves on is a breaker, a protection, an interlock that changed. Seldom enough in a substation that each is worth a line; forged ones look the same. */
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

const BLOCKS_MAX = 4096;
const FACT = 'goose-state';

export function createGooseDetector(rules: Rules, tell: Tell): Detector {
  /** Publisher and control block → its last state number. */
  const states = new Map<string, string>();
  return {
    state: { states },
    fact(flow, key, value, nowUs) {
      if (key !== FACT || !rules.goose_event.enabled) return;
      const at = value.lastIndexOf('=');
      const block = value.slice(0, at);
      const number = value.slice(at + 1);
      const known = states.get(`${flow.client} ${block}`);
      if (known === undefined && states.size >= BLOCKS_MAX) return;
      states.set(`${flow.client} ${block}`, number);
      if (known === undefined || known === number) return;
      tell(flow, {
        rule: 'goose-event',
        title: 'A GOOSE publisher tells of a change',
        severity: rules.goose_event.severity,
        score: 0.5,
        technique: 'T0855',
        port: -1,
        protocol: 'goose',
        evidence: `${block} went from state ${known} to ${number}`,
        group: `${flow.client} ${block}`,
        scope: { client: flow.client, server: flow.server },
        fromUs: nowUs,
        timeUs: nowUs,
      });
    },
  };
}
