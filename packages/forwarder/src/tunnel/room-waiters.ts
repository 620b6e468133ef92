/** Callers that wait until a queue has room again. */
export class RoomWaiters {
  #waiting: (() => void)[] = [];

  /** Resolves at the next `release`. */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  release(): void {
    if (this.#waiting.length === 0) return;
    const released = this.#waiting;
    this.#waiting = [];
    for (const resolve of released) resolve();
  }
}
