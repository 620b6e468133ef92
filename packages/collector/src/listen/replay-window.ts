/**
 * Which datagrams of an epoch were seen, by number: a bitmap over the newest WINDOW numbers (the anti-replay window of
 * RFC 4303, 3.4.3). What is older than the window counts as seen: on a link at 100 Mbit/s it is seven seconds behind.
 */
const WINDOW = 65_536;

export class ReplayWindow {
  readonly #seen = new Uint32Array(WINDOW / 32);
  /** The highest number seen; -1 before the first. */
  highest = -1;

  /** Whether a number may still be new. */
  isNew(number: number): boolean {
    if (number > this.highest) return true;
    if (number <= this.highest - WINDOW) return false;
    return ((this.#seen[(number % WINDOW) >>> 5] as number) & (1 << (number & 31))) === 0;
  }

  /** Notes a number that is new; only for datagrams that are authentic. */
  add(number: number): void {
    if (number > this.highest) this.#advance(number);
    const word = (number % WINDOW) >>> 5;
    this.#seen[word] = (this.#seen[word] as number) | (1 << (number & 31));
  }

  #advance(number: number): void {
    if (number - this.highest >= WINDOW) this.#seen.fill(0);
    else
      for (let next = this.highest + 1; next < number; next++) {
        const word = (next % WINDOW) >>> 5;
        this.#seen[word] = (this.#seen[word] as number) & ~(1 << (next & 31));
      }
    const word = (number % WINDOW) >>> 5;
    this.#seen[word] = (this.#seen[word] as number) & ~(1 << (number & 31));
    this.highest = number;
  }
}
