/** One-sided mirror: conversations of which only one side is seen. The switch mirrors one direction, and everything that needs both is blind: the worst fault of a sensor, because nothing else shows it. */
import { BACKWARD, FORWARD, PACKETS, PAYLOAD } from '../../flow/flow-columns.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** Of the conversations that carried something, so many with one side only are no accident. */
const ONE_SIDED_SHARE = 0.9;

export function createMirrorDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.one_sided_mirror;
  const conversations = new KeyedWindows(rule.within * 1000, 1);
  return {
    state: { conversations },
    flowEnded(flow, values, nowUs) {
      if (!rule.enabled || flow.protocol !== PROTO_TCP) return;
      const get = (column: number): number => values[flow.row + column] as number;
      // Only what carried data: an attempt that nobody answered has one side in any mirror.
      const carried = get(FORWARD + PAYLOAD) + get(BACKWARD + PAYLOAD);
      if (carried === 0) return;
      const isOneSided = get(FORWARD + PACKETS) === 0 || get(BACKWARD + PACKETS) === 0;
      const window = conversations.add('', nowUs);
      if (isOneSided) window.other++;
      if (window.count < rule.flows || window.other < ONE_SIDED_SHARE * window.count) return;
      tell(null, {
        rule: 'one-sided-mirror',
        title: 'Only one direction is mirrored',
        score: 1,
        technique: '',
        source: '',
        protocol: 'tcp',
        evidence: `${window.other} of ${window.count} TCP conversations with data in ${seconds(window, nowUs)} show one side only: the switch mirrors one direction, or the files of the other are missing`,
        group: '',
        // It is about the sensor: no flow is malicious for it.
        scope: { client: '-' },
        timeUs: nowUs,
      });
    },
  };
}
