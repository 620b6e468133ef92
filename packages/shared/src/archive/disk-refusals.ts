/** The disk's state, as the writes of all segments show it: told once per change, however many segments it concerns. */
import {
  droppedPackets,
  type ArchiveCounters,
  type ArchiveEvents,
  type DropReason,
} from './archive-options.ts';
import type { Segment } from './segment.ts';

export class DiskRefusals {
  /** Segments the disk refuses at the moment. */
  count = 0;
  /** The reason that was told last; null while it refuses nothing. */
  reason: DropReason | null = null;
  readonly #counters: ArchiveCounters;
  readonly #events: ArchiveEvents;
  #droppedBefore = 0;

  constructor(counters: ArchiveCounters, events: ArchiveEvents) {
    this.#counters = counters;
    this.#events = events;
  }

  /** After a write that failed, or the first that did not after one that had. `message`: the sentence behind a failure. */
  note(segment: Segment, failedBefore: DropReason | null, message: string): void {
    const { failure } = segment;
    if (failure === null) {
      if (--this.count > 0) return;
      this.reason = null;
      this.#events.recovered?.({ packetsDropped: droppedPackets(this.#counters) - this.#droppedBefore });
      return;
    }
    this.#counters.writesFailed++;
    if (failedBefore === null && ++this.count === 1) this.#droppedBefore = droppedPackets(this.#counters);
    if (failure === this.reason) return;
    this.reason = failure;
    const name = segment.name === '' ? segment.source.prefix : segment.name;
    this.#events.writeFailed?.({ name, reason: failure, message });
  }
}
