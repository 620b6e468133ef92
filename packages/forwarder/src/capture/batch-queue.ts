/**
 * The meeting point of one `batches()` loop with whatever delivers to it by callback: a queue with one waiting reader.
 * Its length is bounded by its writers, who each own a fixed number of buffers.
 */
export class BatchQueue<Item> {
  readonly #items: Item[] = [];
  #wake: (() => void) | null = null;

  push(item: Item): void {
    this.#items.push(item);
    this.poke();
  }

  shift(): Item | undefined {
    return this.#items.shift();
  }

  /** Lets the waiting reader look again, without an item: something ended or failed. */
  poke(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Resolves at the next `push` or `poke`. To be called only right after `shift` found nothing. */
  async wait(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}
