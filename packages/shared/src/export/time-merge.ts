/**
 * Merges the wanted packets of many segments by time: a heap of readers, the one with the oldest packet on top. Packets of the same
 * time come in the order of their segments' names, so that the same query gives the same bytes twice. A reader that has
 * not been opened stands in the heap with the earliest time it can have, and is opened when that is due.
 */
import type { SegmentReader } from './segment-reader.ts';

export interface MergeHandlers {
  /** The record that the reader stands on; lent until the reader advances. False: that was enough. */
  packet(reader: SegmentReader): boolean | Promise<boolean>;
  /** A lot was read since the last time: a moment for timers and signals. False: that was enough. */
  paused?(): Promise<boolean>;
  /** The reader's segment cannot be read further: it is left out from here on. */
  failed(reader: SegmentReader, error: unknown): void;
}

/** Runs to the end, or until `packet` has enough. Closes every reader. */
export async function mergeByTime(readers: readonly SegmentReader[], handlers: MergeHandlers): Promise<void> {
  const order = new Map(readers.map((reader, index) => [reader, index]));
  const heap = new ReaderHeap((a, b) => isOlder(a, b, order));
  for (const reader of readers) heap.push(reader);
  try {
    let top: SegmentReader | undefined;
    while ((top = heap.top) !== undefined) {
      if (!top.isPending) {
        const more = handlers.packet(top);
        if (!(typeof more === 'boolean' ? more : await more)) return;
      }
      let hasNext: boolean;
      try {
        const advanced = top.advance();
        hasNext = typeof advanced === 'boolean' ? advanced : await advanced;
        if (typeof advanced !== 'boolean' && handlers.paused !== undefined && !(await handlers.paused()))
          return;
      } catch (error) {
        handlers.failed(top, error);
        hasNext = false;
      }
      if (hasNext) heap.settleTop();
      else {
        heap.dropTop();
        top.close();
      }
    }
  } finally {
    for (const reader of readers) reader.close();
  }
}

function isOlder(a: SegmentReader, b: SegmentReader, order: ReadonlyMap<SegmentReader, number>): boolean {
  if (a.seconds !== b.seconds) return a.seconds < b.seconds;
  if (a.nanoseconds !== b.nanoseconds) return a.nanoseconds < b.nanoseconds;
  // A lower bound first: its packet may be as old.
  if (a.isPending !== b.isPending) return a.isPending;
  return (order.get(a) as number) < (order.get(b) as number);
}

/** A binary heap whose top changes in place: after a packet its reader mostly stays there, and one comparison tells. */
class ReaderHeap {
  readonly #readers: SegmentReader[] = [];
  readonly #isBefore: (a: SegmentReader, b: SegmentReader) => boolean;

  constructor(isBefore: (a: SegmentReader, b: SegmentReader) => boolean) {
    this.#isBefore = isBefore;
  }

  get top(): SegmentReader | undefined {
    return this.#readers[0];
  }

  push(reader: SegmentReader): void {
    const readers = this.#readers;
    let at = readers.push(reader) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(reader, readers[parent] as SegmentReader)) break;
      readers[at] = readers[parent] as SegmentReader;
      at = parent;
    }
    readers[at] = reader;
  }

  /** The top has another time now. */
  settleTop(): void {
    const readers = this.#readers;
    const reader = readers[0] as SegmentReader;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= readers.length) break;
      if (
        child + 1 < readers.length &&
        this.#isBefore(readers[child + 1] as SegmentReader, readers[child] as SegmentReader)
      )
        // prettier-ignore
        child++;
      if (!this.#isBefore(readers[child] as SegmentReader, reader)) break;
      readers[at] = readers[child] as SegmentReader;
      at = child;
    }
    readers[at] = reader;
  }

  dropTop(): void {
    const last = this.#readers.pop();
    if (last === undefined || this.#readers.length === 0) return;
    this.#readers[0] = last;
    this.settleTop();
  }
}
