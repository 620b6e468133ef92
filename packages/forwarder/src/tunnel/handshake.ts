/** The forwarder's side of HELLO and WELCOME: how its lanes are announced, and where the collector wants each to go on. */
import { CODEC_NAMES, type CodecName } from '@tapline/shared/tunnel/codec.ts';
import { BATCH_PAYLOAD_BYTES_MAX, broken } from '@tapline/shared/tunnel/frame.ts';
import type { Hello, InterfaceName, Welcome } from '@tapline/shared/tunnel/messages.ts';
import type { Lane, LaneTable } from '../spool/lane-table.ts';

export interface Introduction {
  readonly sensor: string;
  readonly software: string;
  readonly compression: CodecName;
  readonly interfaces: readonly InterfaceName[];
  /** Queries to the archive here are answered. */
  readonly edge: boolean;
  readonly sentAtMs: number;
}

/** `announced`: at least one lane. `collector` is the name by which it is remembered. */
export function helloOf(
  introduction: Introduction,
  lanes: LaneTable,
  announced: readonly Lane[],
  collector: string,
): Hello {
  const { sensor, software, compression, interfaces, edge, sentAtMs } = introduction;
  const [first, ...others] = announced;
  return {
    sensor,
    ...lanes.describe(first as Lane, collector),
    ...(others.length === 0 ? {} : { lanes: others.map((lane) => lanes.describe(lane, collector)) }),
    software,
    codecs:
      compression === 'none'
        ? ['none']
        : [compression, ...CODEC_NAMES.filter((name) => name !== compression)],
    interfaces: [...interfaces],
    ...(edge ? { edge } : {}),
    sentAtMs,
  };
}

/**
 * Opens the announced lanes where the WELCOME says, and returns the codec it chose. Throws TUNNEL_PROTOCOL where the WELCOME
 * contradicts the books.
 */
export function acceptWelcome(welcome: Welcome, announced: readonly Lane[]): CodecName {
  const { codec, limits } = welcome;
  if (limits.payloadBytesMax < BATCH_PAYLOAD_BYTES_MAX)
    throw broken('limits', 'the collector takes no batch of full size', { ...limits });
  const known = CODEC_NAMES.find((name) => name === codec);
  if (known === undefined) throw broken('codec', `the collector chose an unknown codec ${codec}`, { codec });
  for (const [index, lane] of announced.entries()) openAt(lane, positionOf(welcome, announced, index));
  return known;
}

/** Where the collector stands in the announced lane with that index. */
export function positionOf(
  welcome: Welcome,
  announced: readonly Lane[],
  index: number,
): { readonly nextSequence: number; readonly durableSequence: number } {
  if (index === 0) return welcome;
  const id = announced[index]?.id ?? -1;
  const position = welcome.lanes?.find(({ lane }) => lane === id);
  if (position === undefined) throw broken('lane', 'the collector left out a lane', { lane: id });
  return position;
}

function openAt(lane: Lane, position: { nextSequence: number; durableSequence: number }): void {
  const { nextSequence, durableSequence } = position;
  const { queue } = lane;
  if (
    nextSequence < queue.firstSequence ||
    !queue.mayBeReceived(nextSequence - 1) ||
    durableSequence >= nextSequence
  )
    throw broken('sequence', 'the collector asks for a sequence that cannot be', {
      lane: lane.id,
      nextSequence,
      firstSequence: queue.firstSequence,
    });
  queue.rewindTo(nextSequence);
  lane.isOpen = true;
}
