/**
 * What the frames of an open session say: packets, gaps and lanes to the sensor's intake, reports and answers to who waits for them. One call a frame. What
 * must stay true: a frame of a type that is known and out of place ends its session; one of a later version's is counted and passed over.
 */
import { decodeAnswer, decodeAnswered } from '@tapline/shared/tunnel/edge-messages.ts';
import {
  FRAME_ANSWER,
  FRAME_ANSWERED,
  FRAME_BATCH,
  FRAME_BYE,
  FRAME_GAP,
  FRAME_HEARTBEAT,
  FRAME_LANE,
  FRAME_REFUSE,
  FRAME_REPORT,
  FRAME_TYPE_LAST,
  broken,
  frameTypeName,
  type Frame,
} from '@tapline/shared/tunnel/frame.ts';
import {
  clockOffsetMs,
  decodeHeartbeat,
  decodeLane,
  decodeRefuse,
  decodeReport,
  encodeHeartbeat,
  type Lane,
} from '@tapline/shared/tunnel/messages.ts';
import type { SensorIntake } from './sensor-intake.ts';

/** What a session can do about its frames. */
export interface SessionWays {
  wallMs(): number;
  write(frame: Uint8Array): void;
  acknowledge(lane: number, durableSequence: number): void;
  /** The forwarder says goodbye. */
  leave(): void;
  /** The forwarder wants no more of it. */
  refused(sentence: string): void;
}

/** Throws an `OperatingError` for what breaks the protocol. */
export function takeFrame(frame: Frame, intake: SensorIntake, ways: SessionWays): void {
  switch (frame.type) {
    case FRAME_BATCH:
      intake.takeBatch(frame);
      break;
    case FRAME_GAP:
      intake.takeGap(frame);
      break;
    case FRAME_LANE:
      openLane(decodeLane(frame), intake, ways);
      break;
    case FRAME_REPORT:
      intake.report = { ...decodeReport(frame), receivedAtMs: ways.wallMs() };
      break;
    case FRAME_ANSWER:
      intake.edge.answer(decodeAnswer(frame));
      break;
    case FRAME_ANSWERED:
      intake.edge.answered(decodeAnswered(frame));
      break;
    case FRAME_HEARTBEAT:
      heartbeat(frame, intake, ways);
      break;
    case FRAME_BYE:
      ways.leave();
      break;
    case FRAME_REFUSE:
      ways.refused(decodeRefuse(frame).sentence);
      break;
    default:
      if (frame.type >= 1 && frame.type <= FRAME_TYPE_LAST)
        throw broken('order', `a ${frameTypeName(frame.type)} is out of place`, { type: frame.type });
      intake.counters.unknownFrames++;
  }
}

/** A lane of an earlier life may be all here already: then nothing will be committed that could be acknowledged. */
function openLane(lane: Lane, intake: SensorIntake, ways: SessionWays): void {
  const { durableSequence } = intake.openLane(lane);
  if (durableSequence >= lane.firstSequence) ways.acknowledge(lane.lane, durableSequence);
}

function heartbeat(frame: Frame, intake: SensorIntake, ways: SessionWays): void {
  const nowMs = ways.wallMs();
  const { sentAtMs, answers } = decodeHeartbeat(frame);
  if (answers === undefined)
    ways.write(encodeHeartbeat({ sentAtMs: nowMs, answers: { sentAtMs, receivedAtMs: nowMs } }));
  else intake.clockOffsetMs = clockOffsetMs(answers, sentAtMs, nowMs);
}
