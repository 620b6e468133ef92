/** What the stations report, as lines of the log: one function for each event. */
import { messageOf } from '@tapline/shared/base/errors.ts';
import type { Log } from '@tapline/shared/observe/log.ts';
import { Sparingly } from '@tapline/shared/observe/sparingly.ts';
import type { CheckpointEvents } from './checkpoint/checkpointer.ts';
import type { PacketView } from './packet/packet-view.ts';
import type { TailEvents } from './tail/archive-tail.ts';
import type { StreamEvents } from './tail/stream-input.ts';

/** Places that could not be read are told once, and no more than so many. */
const UNREADABLE_TOLD_MAX = 20;

export function tailEvents(log: Log): TailEvents {
  const told = new Set<string>();
  return {
    segmentDamaged: ({ path }, reason) => {
      log.error(
        { segment: path, reason },
        'A segment is damaged; what stands before the damage was counted.',
      );
    },
    segmentCut: ({ path }) => {
      log.warn(
        { segment: path },
        'A segment was cut back by its writer; some of its packets may be counted twice.',
      );
    },
    tooManySegments: (limit) => {
      log.error({ limit }, 'The archive has more segments than are followed.');
    },
    tooManySensors: (limit) => {
      log.error({ limit }, 'The archive has more sensors than are analysed.');
    },
    unreadable: (path, error) => {
      if (told.size >= UNREADABLE_TOLD_MAX || told.has(path)) return;
      told.add(path);
      log.warn({ path, problem: messageOf(error) }, 'Cannot be read; trying again.');
    },
  };
}

export function streamEvents(log: Log): StreamEvents {
  return {
    connected: (name) => {
      log.info({ stream: name }, 'Connected to the stream.');
    },
    ended: (name, reason, retryMs) => {
      if (retryMs === null) log.info({ stream: name, reason }, 'The stream is over.');
      else
        log.warn({ stream: name, reason, retryMs: Math.round(retryMs) }, 'The stream ended; calling again.');
    },
  };
}

export function checkpointEvents(log: Log): CheckpointEvents {
  return {
    failed: (path, error) => {
      log.error({ checkpoint: path, problem: messageOf(error) }, 'A checkpoint could not be written; a restart would go on from the one before.'); // prettier-ignore
    },
  };
}

/** Packets that could not be analysed; whoever sends one may send many. */
export function packetEvents(
  log: Log,
  fileName: (file: number) => string,
): (error: unknown, view: PacketView) => void {
  const sparingly = new Sparingly();
  return (error, { origin: { file, number } }) => {
    sparingly.tell('packet', (leftOut) => {
      const stack = error instanceof Error ? error.stack : messageOf(error);
      log.error({ file: fileName(file), packet: number, stack, leftOut }, 'A packet could not be analysed, by a fault of this program; please report it. The others go on.'); // prettier-ignore
    });
  };
}
