/** When a queue takes more: until it is full, and then again from three quarters on. One long gap instead of a thousand short ones. */
const REFILL_SHARE = 0.75;

export class RefillMark {
  readonly #bytesMax: number;
  #isFull = false;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  /** To be asked with what the queue holds now. */
  hasRoom(bytes: number): boolean {
    if (bytes >= this.#bytesMax) this.#isFull = true;
    else if (bytes <= this.#bytesMax * REFILL_SHARE) this.#isFull = false;
    return !this.#isFull;
  }
}
