/**
 * Counts by key in windows of packet time: how many, how many different. A window begins with its key's first event and is over `windowUs` later;
 * the next event then begins another. Bounded: `keysMax` keys, the oldest window is forgotten first; MEMBERS_MAX members a window. Plain data.
 */

const MEMBERS_MAX = 2048;

export interface CountedWindow {
  startUs: number;
  count: number;
  readonly members: Set<string | number>;
  /** A second number for whoever counts: successes, bytes. */
  other: number;
}

export class KeyedWindows {
  readonly #windowUs: number;
  readonly #keysMax: number;
  windows = new Map<string, CountedWindow>();

  constructor(windowUs: number, keysMax = 16_384) {
    this.#windowUs = windowUs;
    this.#keysMax = keysMax;
  }

  /** The key's window at that time, a new one if the last is over. */
  at(key: string, nowUs: number): CountedWindow {
    const known = this.windows.get(key);
    if (known !== undefined && nowUs - known.startUs <= this.#windowUs) return known;
    if (known !== undefined) this.windows.delete(key);
    else if (this.windows.size >= this.#keysMax)
      for (const oldest of this.windows.keys()) {
        this.windows.delete(oldest);
        break;
      }
    const window = { startUs: nowUs, count: 0, members: new Set<string | number>(), other: 0 };
    this.windows.set(key, window);
    return window;
  }

  /** The key's window if there is one that is not over. */
  peek(key: string, nowUs: number): CountedWindow | undefined {
    const known = this.windows.get(key);
    return known !== undefined && nowUs - known.startUs <= this.#windowUs ? known : undefined;
  }

  /** Counts one event, of `member` if it is given. */
  add(key: string, nowUs: number, member?: string | number): CountedWindow {
    const window = this.at(key, nowUs);
    window.count++;
    if (member !== undefined && window.members.size < MEMBERS_MAX) window.members.add(member);
    return window;
  }
}
