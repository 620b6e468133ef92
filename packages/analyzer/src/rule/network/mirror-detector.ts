/**
 * One-sided mirror: conversations of which only one side is seen. The switch mirrors one direction, and everything that needs both is blind: the worst fault of a sensor,
 * because nothing else shows it. In a plant connections last for weeks: they are judged while they live.
 */
import { BACKWARD, FORWARD, PAYLOAD } from '../../flow/flow-columns.ts';
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** Of the conversations that carried something, so many with one side only are no accident. */
const ONE_SIDED_SHARE = 0.9;
/** No sender goes on for so long without an acknowledgement. */
const JUDGED_AFTER_US = 10_000_000;
/** Who was seen to send, as bits; both also when the flow is judged and needs no more looking at. */
const SIDES = 'sides';
const CLIENT_SENT = 1;
const SERVER_SENT = 2;
const BOTH = CLIENT_SENT | SERVER_SENT;

export function createMirrorDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.one_sided_mirror;
  const conversations = new KeyedWindows(rule.within * 1000, 1);

  function judge(flow: Flow, isOneSided: boolean, nowUs: number): void {
    flow.memory[SIDES] = BOTH;
    const window = conversations.add('', nowUs);
    if (isOneSided) window.other++;
    if (window.count < rule.flows || window.other < ONE_SIDED_SHARE * window.count) return;
    tell(null, {
      rule: 'one-sided-mirror',
      title: 'Only one direction is mirrored',
      score: 1,
      technique: '',
      protocol: 'tcp',
      source: '',
      evidence: `${window.other} of ${window.count} TCP conversations in ${seconds(window, nowUs)} show one side only: the switch mirrors one direction, or the files of the other are missing`,
      group: '',
      // It is about the sensor: no flow is malicious for it.
      scope: { client: '-' },
      timeUs: nowUs,
    });
  }

  return {
    state: { conversations },
    packet(view, flow, isFromClient) {
      if (flow === null || flow.protocol !== PROTO_TCP || !rule.enabled) return;
      const before = flow.memory[SIDES] as number | undefined;
      if (before === BOTH) return;
      const sides = (before ?? 0) | (isFromClient ? CLIENT_SENT : SERVER_SENT);
      if (sides === BOTH) judge(flow, false, view.timeUs);
      // Only what carries data: an attempt that nobody answers has one side in any mirror.
      else if (view.payloadWireBytes > 0 && view.timeUs - flow.startUs >= JUDGED_AFTER_US)
        judge(flow, true, view.timeUs);
      else if (sides !== before) flow.memory[SIDES] = sides;
    },
    flowEnded(flow, values, nowUs) {
      if (!rule.enabled || flow.protocol !== PROTO_TCP || flow.memory[SIDES] === BOTH) return;
      const carried =
        (values[flow.row + FORWARD + PAYLOAD] as number) + (values[flow.row + BACKWARD + PAYLOAD] as number);
      if (carried > 0) judge(flow, true, nowUs);
    },
  };
}
