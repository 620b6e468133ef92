/**
 * Keeps a flood out of the log: of each kind of line a few a minute, and with the next one how many were left out. What
 * strangers can cause, they could otherwise use to fill a disk. The counters know all of it anyway.
 */

const LINES_PER_MINUTE = 10;
const MINUTE_MS = 60_000;

interface Kind {
  startedAtMs: number;
  lines: number;
  left: number;
}

export class Sparingly {
  readonly #now: () => number;
  readonly #kinds = new Map<string, Kind>();

  /** `now` is monotonic, in milliseconds. Kinds are the program's own words, and so few. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Calls `say` with the number of lines of this kind that were left out before, or leaves this one out. */
  tell(kind: string, say: (leftOut: number) => void): void {
    const nowMs = this.#now();
    const known = this.#kinds.get(kind) ?? { startedAtMs: nowMs, lines: 0, left: 0 };
    this.#kinds.set(kind, known);
    if (nowMs - known.startedAtMs >= MINUTE_MS) {
      known.startedAtMs = nowMs;
      known.lines = 0;
    }
    if (known.lines >= LINES_PER_MINUTE) {
      known.left++;
      return;
    }
    known.lines++;
    say(known.left);
    known.left = 0;
  }
}
