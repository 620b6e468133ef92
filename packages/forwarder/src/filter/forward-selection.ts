/**
 * What of the captured traffic is sent, how much of each frame, and what goes first: store all, send what matters.
 *
 *   batch ─▶ filter, snaplen ─▶ class 0 (its filter matches) ─▶ offered first
 *                          └──▶ class 1 …
 *                          └──▶ the rest, last
 *
 * Each class costs two runs of its filter over what is left (about 0.1 µs a packet). Filters look at whole frames, in which
 * the VLAN tag stands: as in a file, `vlan and tcp port 502` finds what is tagged, `tcp port 502` what is not.
 */
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { BatchFilter } from '@tapline/shared/filter/batch-filter.ts';

export interface ForwardSelectionOptions {
  /** libpcap's language; empty: everything. */
  readonly filter: string;
  /** Longest frame to send, in bytes. */
  readonly snapBytes: number;
  /** Filters, the most important first; what none of them finds is less important still. */
  readonly classes: readonly string[];
}

/** Where the selected batches go: an `Uplink`. */
export interface SelectionSink {
  offer(batch: Batch, priority: number): boolean;
}

interface ClassFilters {
  readonly matching: BatchFilter;
  readonly others: BatchFilter;
}

export class ForwardSelection {
  readonly #filter: BatchFilter;
  readonly #classes: readonly ClassFilters[];

  constructor({ filter, snapBytes, classes }: ForwardSelectionOptions) {
    this.#filter = new BatchFilter({ expression: filter, snapBytes });
    this.#classes = classes.map((expression) => ({
      matching: new BatchFilter({ expression, snapBytes }),
      others: new BatchFilter({ expression: `not (${expression})`, snapBytes }),
    }));
  }

  /** Packets that are stored and not sent, because the filter says so. */
  get filteredPackets(): number {
    return this.#filter.filteredPackets;
  }

  /** Throws what `problem` makes of a filter that libpcap does not understand; the index is that of its class. */
  check(problem: (classIndex: number | null, message: string) => Error): void {
    const filters = [this.#filter, ...this.#classes.map(({ matching }) => matching)];
    for (const [index, filter] of filters.entries()) {
      try {
        filter.check();
      } catch (error) {
        if (!(error instanceof OperatingError) || error.code !== 'FILTER_INVALID') throw error;
        throw problem(index === 0 ? null : index - 1, error.message);
      }
    }
  }

  /** Offers what is left of the batch, class by class. */
  offer(batch: Batch, sink: SelectionSink): void {
    let rest = this.#filter.apply(batch);
    for (const [priority, { matching, others }] of this.#classes.entries()) {
      if (rest === null) return;
      const matched = matching.apply(rest);
      if (matched !== null) sink.offer(matched, priority);
      rest = others.apply(rest);
    }
    if (rest !== null) sink.offer(rest, this.#classes.length);
  }
}
