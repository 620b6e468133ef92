/** Who takes part in the exchange of routes (RIP, OSPF, EIGRP). The speakers of the first ten minutes are those of the plant; one that comes later may be a new router, or a host that wants packets to come its way. */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

const SPEAKERS_MAX = 4096;
const LEARNING_US = 600_000_000;

export interface RoutingWatch {
  speaks(protocol: string, speaker: string, flow: Flow | null, timeUs: number): void;
  readonly state: Record<string, unknown>;
}

export function createRoutingWatch(rules: Rules, tell: Tell): RoutingWatch {
  const rule = rules.routing_newcomer;
  /** Protocol → when its first speaker was heard; protocol and speaker → when it was. */
  const speakers = new Map<string, number>();

  return {
    state: { speakers },
    speaks(protocol, speaker, flow, timeUs) {
      const key = `${protocol} ${speaker}`;
      if (speakers.has(key)) return;
      const sinceUs = speakers.get(protocol);
      if (speakers.size >= SPEAKERS_MAX) dropOldest(speakers);
      speakers.set(protocol, sinceUs ?? timeUs);
      speakers.set(key, timeUs);
      if (!rule.enabled || sinceUs === undefined || timeUs - sinceUs < LEARNING_US) return;
      tell(flow, {
        rule: 'routing-newcomer',
        title: 'A newcomer takes part in the exchange of routes',
        technique: 'T0830',
        protocol,
        source: speaker,
        destination: '',
        port: -1,
        evidence: `${speaker} speaks ${protocol} for the first time, ${Math.round((timeUs - sinceUs) / 60e6)} minutes after its first speaker`,
        group: key,
        scope: { client: speaker, protocol: flow?.protocol ?? -1 },
        fromUs: timeUs,
        timeUs,
      });
    },
  };
}
