/**
 * Time in the simulated plant: a priority queue of processes, each waiting for its moment.
 *
 * A process is a generator that yields how long it wants to sleep, in nanoseconds; it puts packets on the wire between
 * two sleeps. So a conversation reads from top to bottom like the standard that describes it, and as every packet leaves
 * at the moment its process runs, packets of thousands of conversations come out in time order without being sorted.
 *
 * What must stay true: processes due at the same moment run in the order in which they went to sleep. Without that rule
 * a seed would not decide the bytes.
 */
import { assert } from '@tapline/shared/base/assert.ts';

export const MICROSECOND = 1_000;
export const MILLISECOND = 1_000_000;
export const SECOND = 1_000_000_000;
export const MINUTE = 60 * SECOND;

/** A behaviour in the plant: yields sleeps in nanoseconds, returns `T` to the process that called it with `yield*`. */
export type Process<T = void> = Generator<number, T, undefined>;

interface Sleeper {
  readonly process: Process;
  wakesAtNs: number;
  /** Who went to sleep first wakes first. */
  order: number;
}

/** Times are nanoseconds since the start of the capture, as doubles: exact up to 2^53 ns, which is 104 days. */
export class Scheduler {
  nowNs = 0;
  /** A binary heap: each entry wakes no later than the two below it. */
  readonly #heap: Sleeper[] = [];
  #order = 0;

  /** Lets `process` begin after a delay. */
  start(process: Process, delayNs = 0): void {
    this.#heap.push({ process, wakesAtNs: this.nowNs + this.#checked(delayNs), order: this.#order++ });
    this.#rise(this.#heap.length - 1);
  }

  /** When the next process wakes; Infinity when none is left. */
  get nextNs(): number {
    return this.#heap[0]?.wakesAtNs ?? Infinity;
  }

  /** Runs the next process up to its next sleep, and the clock to that process's moment. */
  step(): void {
    const sleeper = this.#heap[0];
    assert(sleeper !== undefined, 'step needs a process');
    this.nowNs = sleeper.wakesAtNs;
    const { value, done } = sleeper.process.next();
    if (done === true) {
      const last = this.#heap.pop() as Sleeper;
      if (last === sleeper) return;
      // The process may have started others, but nothing wakes before the present: the head is still the head.
      this.#heap[0] = last;
    } else {
      sleeper.wakesAtNs = this.nowNs + this.#checked(value);
      sleeper.order = this.#order++;
    }
    this.#sink(0);
  }

  #checked(delayNs: number): number {
    assert(delayNs >= 0, 'a process cannot sleep into the past');
    return Math.round(delayNs);
  }

  #rise(from: number): void {
    const heap = this.#heap;
    const moving = heap[from] as Sleeper;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!wakesBefore(moving, heap[parent] as Sleeper)) break;
      heap[at] = heap[parent] as Sleeper;
      at = parent;
    }
    heap[at] = moving;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const moving = heap[from] as Sleeper;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && wakesBefore(heap[child + 1] as Sleeper, heap[child] as Sleeper)) child++;
      if (!wakesBefore(heap[child] as Sleeper, moving)) break;
      heap[at] = heap[child] as Sleeper;
      at = child;
    }
    heap[at] = moving;
  }
}

function wakesBefore(a: Sleeper, b: Sleeper): boolean {
  return a.wakesAtNs < b.wakesAtNs || (a.wakesAtNs === b.wakesAtNs && a.order < b.order);
}
