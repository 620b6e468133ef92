/**
 * Counts by key in windows of packet time: how many, how many different. A window begins with its key's first event and is over `windowUs` later;
 * the next event then begins another. Bounded: `keysMax` keys, the oldest window is forgotten first; MEMBERS_MAX members a window. Plain data.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';

const MEMBERS_MAX = 2048;

export interface CountedWindow {
  startUs: number;
  count: number;
  /** Most windows have one member: a set is made for the second. */
  one: string | number | null;
  set: Set<string | number> | null;
  /** A second number for whoever counts: successes, bytes. */
  other: number;
}

/** How many different members. */
export function memberCount(window: CountedWindow): number {
  return window.set?.size ?? (window.one === null ? 0 : 1);
}

export function membersOf(window: CountedWindow): readonly (string | number)[] {
  return window.set === null ? (window.one === null ? [] : [window.one]) : [...window.set];
}

export function hasMember(window: CountedWindow, member: string | number): boolean {
  return window.set?.has(member) ?? window.one === member;
}

/** Beyond MEMBERS_MAX nothing more is told apart. */
export function addMember(window: CountedWindow, member: string | number): void {
  if (window.set !== null) {
    if (window.set.size < MEMBERS_MAX) window.set.add(member);
  } else if (window.one === null) window.one = member;
  else if (window.one !== member) window.set = new Set([window.one, member]);
}

/** Takes a member back, if there is such a window. */
export function forgetMember(window: CountedWindow | undefined, member: string | number): void {
  if (window === undefined) return;
  if (window.set !== null) window.set.delete(member);
  else if (window.one === member) window.one = null;
}

/** How long the window has lasted, in words: `7.3 s`, `12 minutes`. */
export function seconds(window: CountedWindow, nowUs: number): string {
  const s = (nowUs - window.startUs) / 1e6;
  return s >= 120 ? `${Math.round(s / 60)} minutes` : `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
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
    if (known !== undefined && this.#isOpen(known, nowUs)) return known;
    if (known !== undefined) this.windows.delete(key);
    else if (this.windows.size >= this.#keysMax) dropOldest(this.windows);
    const window: CountedWindow = { startUs: nowUs, count: 0, one: null, set: null, other: 0 };
    this.windows.set(key, window);
    return window;
  }

  /** The key's window if there is one that is not over. */
  peek(key: string, nowUs: number): CountedWindow | undefined {
    const known = this.windows.get(key);
    return known !== undefined && this.#isOpen(known, nowUs) ? known : undefined;
  }

  /** A packet may be a little late. One from long before is from a capture of its own, and so is what comes after it. */
  #isOpen({ startUs }: CountedWindow, nowUs: number): boolean {
    return Math.abs(nowUs - startUs) <= this.#windowUs;
  }

  /** Counts one event, of `member` if it is given. */
  add(key: string, nowUs: number, member?: string | number): CountedWindow {
    const window = this.at(key, nowUs);
    window.count++;
    if (member !== undefined) addMember(window, member);
    return window;
  }
}
