/**
 * One-sided mirror: conversations of which only one side is seen. The switch mirrors one direction, and everything that needs both is blind: the worst fault of a sensor,
 * because nothing else shows it. In a plant connections last for weeks: they are judged while they live, and again.
 */
import { BACKWARD, FORWARD, PACKETS } from '../../flow/flow-columns.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** Of the conversations that carried something, so many with one side only are no accident. */
const ONE_SIDED_SHARE = 0.9;
/** Nobody goes on for so long without an acknowledgement: who is not heard any more is sent the same again, and nothing new. */
const ALONE_US = 10_000_000;
/** A mirror may lose a direction while connections last. */
const JUDGED_AGAIN_US = 300_000_000;
/** Of a fault that was told lately few conversations tell again: one alert that grows, where hardly anybody speaks. */
const FAULT_US = 900_000_000;
const FAULT_FLOWS = 2;
/** Of a conversation: who speaks, since when, up to which sequence number, and when it was judged (-1: not yet). */
const SPEAKER = 'speaker';
const [IS_CLIENT, SINCE_US, NEXT, JUDGED_US] = [0, 1, 2, 3] as const;

export function createMirrorDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.one_sided_mirror;
  const conversations = new KeyedWindows(rule.within * 1000, 1);
  const faults = new KeyedWindows(FAULT_US, 1);

  function judge(isOneSided: boolean, nowUs: number): void {
    const window = conversations.add('', nowUs);
    if (isOneSided) window.other++;
    const needed = faults.peek('', nowUs) === undefined ? rule.flows : FAULT_FLOWS;
    if (window.count < needed || window.other < ONE_SIDED_SHARE * window.count) return;
    faults.windows.delete('');
    faults.at('', nowUs);
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
    state: { conversations, faults },
    packet(view, flow, isFromClient) {
      if (flow === null || flow.protocol !== PROTO_TCP || !rule.enabled) return;
      const nowUs = view.timeUs;
      const speaker = flow.memory[SPEAKER] as number[] | undefined;
      // Only what carries data: an attempt that nobody answers has one side in any mirror, and floods are made of them.
      if (speaker === undefined && view.payloadWireBytes === 0) return;
      const isClient = isFromClient ? 1 : 0;
      const next = (view.tcpSequence + view.payloadWireBytes) >>> 0;
      if (speaker === undefined) {
        flow.memory[SPEAKER] = [isClient, nowUs, next, -1];
        return;
      }
      const isNew = ((next - (speaker[NEXT] as number)) | 0) > 0;
      const isAnswer = speaker[IS_CLIENT] !== isClient;
      if (isAnswer || isNew) speaker[NEXT] = next;
      if (isAnswer) {
        speaker[IS_CLIENT] = isClient;
        speaker[SINCE_US] = nowUs;
      }
      const judgedUs = speaker[JUDGED_US] as number;
      if (judgedUs !== -1 && nowUs - judgedUs < JUDGED_AGAIN_US) return;
      const isAlone = isNew && view.payloadWireBytes > 0 && nowUs - (speaker[SINCE_US] as number) >= ALONE_US;
      if (!isAnswer && !isAlone) return;
      speaker[JUDGED_US] = nowUs;
      judge(!isAnswer, nowUs);
    },
    flowEnded(flow, values, nowUs) {
      const speaker = flow.memory[SPEAKER] as number[] | undefined;
      if (speaker === undefined || speaker[JUDGED_US] !== -1) return;
      // It carried data, or nobody would have been taken for its speaker.
      const isOneSided = [FORWARD, BACKWARD].some((side) => values[flow.row + side + PACKETS] === 0);
      judge(isOneSided, nowUs);
    },
  };
}
