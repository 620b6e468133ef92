/**
 * Puts packets of several origins (sensors, interfaces) into one order of time, as far as they come within a short time of each
 * other: what came is held for HOLD_MS, then everything up to the newest of what was held so long leaves, sorted. With one
 * origin nothing is held.
 */
import { sortRecords } from '../archive/record-order.ts';
import { RECORD_NANOSECONDS, readU32 } from '../packet/record.ts';

/** Batches of a live capture are up to 50 ms of traffic each, and networks differ. */
export const HOLD_MS = 200;
/** What may be held; beyond it everything leaves at once. */
const HELD_BYTES_MAX = 8 * 1024 * 1024;

interface Held {
  readonly bytes: Uint8Array;
  readonly packets: number;
  readonly sinceMs: number;
}

export class OrderWindow {
  readonly #origins = new Set<string>();
  #held: Held[] = [];
  #heldBytes = 0;
  readonly #release: (bytes: Uint8Array, packets: number) => void;

  /** `release`: takes whole records, in order. */
  constructor(release: (bytes: Uint8Array, packets: number) => void) {
    this.#release = release;
  }

  get isHolding(): boolean {
    return this.#held.length > 0;
  }

  /** Takes a copy of whole records. */
  add(origin: string, records: Uint8Array, packets: number, nowMs: number): void {
    this.#origins.add(origin);
    if (this.#origins.size === 1) {
      this.#release(records, packets);
      return;
    }
    this.#held.push({ bytes: records.slice(), packets, sinceMs: nowMs });
    this.#heldBytes += records.byteLength;
    if (this.#heldBytes > HELD_BYTES_MAX) this.flush();
  }

  /** Lets go of what was held long enough. To be called a few times in HOLD_MS. */
  tick(nowMs: number): void {
    const due = this.#held.findLastIndex(({ sinceMs }) => nowMs - sinceMs >= HOLD_MS);
    if (due < 0) return;
    // Batches that came later may hold older packets; what is younger than the youngest of the due ones waits on.
    const dueUntil = this.#held
      .slice(0, due + 1)
      .reduce((newest, { bytes }) => Math.max(newest, newestOf(bytes)), 0);
    const { ready, rest } = split(this.#held, dueUntil);
    this.#held = rest;
    this.#heldBytes = rest.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    this.#sortAndRelease(ready);
  }

  /** Lets go of everything. */
  flush(): void {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    this.#sortAndRelease(held);
  }

  #sortAndRelease(held: readonly Held[]): void {
    const packets = held.reduce((sum, one) => sum + one.packets, 0);
    if (packets === 0) return;
    const bytes = Buffer.concat(held.map((one) => one.bytes));
    sortRecords(bytes, 0, bytes.byteLength);
    this.#release(bytes, packets);
  }
}

/** Time of a record in units that compare: seconds × 2^30 + nanoseconds, below 2^62; exact enough to sort by 256 ns. */
function timeAt(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) * 2 ** 30 + readU32(bytes, at + RECORD_NANOSECONDS);
}

function newestOf(bytes: Uint8Array): number {
  let newest = 0;
  for (let at = 0; at < bytes.byteLength; at += 16 + readU32(bytes, at + 8))
    newest = Math.max(newest, timeAt(bytes, at));
  return newest;
}

/** Parts each held piece where its packets become younger than `until`; its records are in order but for what a card did. */
function split(held: readonly Held[], until: number): { ready: Held[]; rest: Held[] } {
  const ready: Held[] = [];
  const rest: Held[] = [];
  for (const one of held) {
    let at = 0;
    let packets = 0;
    while (at < one.bytes.byteLength && timeAt(one.bytes, at) <= until) {
      at += 16 + readU32(one.bytes, at + 8);
      packets++;
    }
    if (packets > 0) ready.push({ ...one, bytes: one.bytes.subarray(0, at), packets });
    if (packets < one.packets)
      rest.push({ ...one, bytes: one.bytes.subarray(at), packets: one.packets - packets });
  }
  return { ready, rest };
}
