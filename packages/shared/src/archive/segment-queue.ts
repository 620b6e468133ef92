/**
 * The segments with pending records, longest waiting first. Each is in it at most once. First in, first out, over one
 * array: taking from the front moves an index, and the array is copied down when more than half of it is spent.
 */
import type { Segment } from './segment.ts';

const SPENT_MIN = 1024;

export class SegmentQueue {
  #segments: Segment[] = [];
  #head = 0;

  get length(): number {
    return this.#segments.length - this.#head;
  }

  /** Monotonic time since which the longest waiting has waited; Infinity when nothing waits. */
  get oldestMs(): number {
    return this.#segments[this.#head]?.queuedAtMs ?? Infinity;
  }

  push(segment: Segment, nowMs: number): void {
    segment.isQueued = true;
    segment.queuedAtMs = nowMs;
    this.#segments.push(segment);
  }

  /** The longest waiting. Ask `length` first. */
  shift(): Segment {
    const segment = this.#segments[this.#head++] as Segment;
    segment.isQueued = false;
    if (this.#head > SPENT_MIN && this.#head * 2 > this.#segments.length) {
      this.#segments = this.#segments.slice(this.#head);
      this.#head = 0;
    }
    return segment;
  }

  clear(): void {
    this.#segments = [];
    this.#head = 0;
  }
}
