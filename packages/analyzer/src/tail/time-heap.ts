/**
 * What waits for its turn, by time: a binary heap with the oldest first. Equal times go by path, so that the order does not depend on who came first.
 * Seconds and nanoseconds are compared apart: together they are more than a number holds exactly.
 */

export interface Timed {
  seconds: number;
  nanoseconds: number;
  readonly path: string;
}

/** Below zero when `a` is due before `b`. */
export function compareTimed(a: Timed, b: Timed): number {
  return (
    a.seconds - b.seconds || a.nanoseconds - b.nanoseconds || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)
  );
}

export class TimeHeap<T extends Timed> {
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** The oldest. */
  get first(): T | undefined {
    return this.#items[0];
  }

  /** The oldest but one. */
  get second(): T | undefined {
    const [, left, right] = this.#items;
    return left === undefined || right === undefined || compareTimed(left, right) <= 0 ? left : right;
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.#items[Symbol.iterator]();
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (compareTimed(item, items[above] as T) >= 0) break;
      items[at] = items[above] as T;
      at = above;
    }
    items[at] = item;
  }

  /** Takes the oldest away. */
  pop(): T | undefined {
    const first = this.#items[0];
    const last = this.#items.pop();
    if (this.#items.length > 0 && last !== undefined) this.#sink(last);
    return first;
  }

  /** The oldest has become younger: puts it where it belongs now. */
  settle(): void {
    const [first] = this.#items;
    if (first !== undefined) this.#sink(first);
  }

  #sink(item: T): void {
    const items = this.#items;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= items.length) break;
      if (below + 1 < items.length && compareTimed(items[below + 1] as T, items[below] as T) < 0) below++;
      if (compareTimed(items[below] as T, item) >= 0) break;
      items[at] = items[below] as T;
      at = below;
    }
    items[at] = item;
  }
}
