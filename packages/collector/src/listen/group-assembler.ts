/**
 * Puts the groups of one epoch together again: gathers shards in whatever order they come, restores what parity can,
 * and hands the groups on in their order. Pure: time is an argument.
 *
 *   datagram ─▶ shard of a group ─ k of them there ─▶ whole ─ all groups before it handed on or lost ─▶ handed on
 *
 * When is a group lost? Every datagram says how many of its block are sent after it. So when a number beyond the end of a
 * block has come, the sender is done with it, and what is still on its way is late only by what the network reorders:
 * after `reorderMs` what is not whole is given up. A slow link makes nobody impatient.
 *
 * Memory: shards and whole groups of at most `bytesMax`, and of `budget.bytesMax` together with those of other epochs;
 * GROUPS_MAX groups, BLOCKS_MAX blocks. At a limit the oldest group is given up, or handed on, at once.
 */
import { shardBytesOf, type DatagramHeader } from '@tapline/shared/tunnel/datagram.ts';
import { restoreShards } from '@tapline/shared/tunnel/reed-solomon.ts';

const GROUPS_MAX = 4096;
const BLOCKS_MAX = 4096;
/** What one shard costs beside its bytes. */
const SHARD_OVERHEAD_BYTES = 128;
/** A first datagram from further on than this is one of an epoch that began without us. */
const JOIN_DISTANCE = 64;
/** Groups given up one by one; a longer stretch is jumped over. */
const STEPS_MAX = 256;
const LOST_REMEMBERED_MAX = 4096;

export interface AssemblerCounters {
  groups: number;
  /** Groups of which a datagram was missing and that are whole all the same. */
  repairedGroups: number;
  repairedDatagrams: number;
  lostGroups: number;
  /** Parity that was not needed, and doubles within a group. */
  surplusDatagrams: number;
  /** For groups that had been given up. */
  lateDatagrams: number;
  /** Contradict what other datagrams say of the same group. */
  contradictingDatagrams: number;
  /** Whole groups dropped because the store did not keep up. */
  overloadedGroups: number;
}

/** What all assemblers together may hold. */
export interface AssemblyBudget {
  readonly bytesMax: number;
  heldBytes: number;
}

export interface AssembledGroups {
  /** Whether the next group can be taken. */
  isReady(): boolean;
  take(group: Uint8Array): void;
  /** A group is whole, though it may not be its turn. */
  peek(group: Uint8Array): void;
}

interface PendingGroup {
  readonly header: DatagramHeader;
  readonly shards: (Uint8Array | null)[];
  present: number;
  heldBytes: number;
  whole: Uint8Array | null;
}

interface Block {
  /** Number of its last datagram. */
  readonly end: number;
  lastGroup: number;
  /** When a number at or beyond the end came; Infinity before. */
  passedAtMs: number;
}

export class GroupAssembler {
  bytesMax: number;
  /** Whole groups that this one had to drop because nobody took them. */
  overloadedGroups = 0;
  readonly #reorderMs: number;
  readonly #budget: AssemblyBudget;
  readonly #counters: AssemblerCounters;
  readonly #sink: AssembledGroups;
  readonly #groups = new Map<number, PendingGroup>();
  /** By their end. */
  readonly #blocks: Block[] = [];
  readonly #lost = new Set<number>();
  #next = 0;
  /** False while what was sent before the first datagram that was seen may still be in question. */
  #hasBegun = false;
  #highest = -1;
  /** Every group up to here has been sent, and has had its time. */
  #settledThrough = 0;
  #heldBytes = 0;

  constructor(
    limits: { readonly reorderMs: number; readonly bytesMax: number; readonly budget: AssemblyBudget },
    counters: AssemblerCounters,
    sink: AssembledGroups,
  ) {
    this.#reorderMs = limits.reorderMs;
    this.bytesMax = limits.bytesMax;
    this.#budget = limits.budget;
    this.#counters = counters;
    this.#sink = sink;
  }

  /** Whether something waits that time alone will move. */
  get isWaiting(): boolean {
    return this.#groups.size > 0 || this.#blocks.length > 0;
  }

  /** A shard whose datagram is authentic and new. Keeps `shard`. */
  take(header: DatagramHeader, shard: Uint8Array, nowMs: number): void {
    const { group, number, following } = header;
    if (this.#next === 0) this.#begin(group);
    this.#notePassing(number, number + following, group, nowMs);
    if (group >= this.#next) this.#store(header, shard);
    else if (this.#lost.has(group)) this.#counters.lateDatagrams++;
    else this.#counters.surplusDatagrams++;
    this.advance(nowMs);
    while (this.#isOverLimit()) this.#makeRoom();
  }

  /** Hands on what can be, and gives up what has had its time. */
  advance(nowMs: number): void {
    for (let block = this.#blocks[0]; block !== undefined; block = this.#blocks[0]) {
      if (block.passedAtMs + this.#reorderMs > nowMs && this.#blocks.length <= BLOCKS_MAX) break;
      this.#settledThrough = Math.max(this.#settledThrough, block.lastGroup);
      this.#blocks.shift();
    }
    this.#handOn();
  }

  /** The end: nothing more is waited for. */
  settle(): void {
    this.#blocks.length = 0;
    for (const group of this.#groups.keys()) this.#settledThrough = Math.max(this.#settledThrough, group);
    this.#handOn();
  }

  /** Lets go of everything. */
  clear(): void {
    for (const [group, pending] of this.#groups) this.#release(group, pending);
    this.#blocks.length = 0;
  }

  #begin(group: number): void {
    this.#hasBegun = group <= JOIN_DISTANCE;
    this.#next = this.#hasBegun ? 1 : group - JOIN_DISTANCE;
  }

  #isOverLimit(): boolean {
    if (this.#groups.size === 0) return false;
    const { heldBytes, bytesMax } = this.#budget;
    return this.#heldBytes > this.bytesMax || heldBytes > bytesMax || this.#groups.size > GROUPS_MAX;
  }

  #notePassing(number: number, end: number, group: number, nowMs: number): void {
    let at = this.#blocks.length;
    while (at > 0 && (this.#blocks[at - 1] as Block).end > end) at--;
    const known = this.#blocks[at - 1];
    if (known?.end === end) known.lastGroup = Math.max(known.lastGroup, group);
    else {
      const passedAtMs = end <= this.#highest ? nowMs : Infinity;
      this.#blocks.splice(at, 0, { end, lastGroup: group, passedAtMs });
    }
    if (number <= this.#highest) return;
    this.#highest = number;
    for (const block of this.#blocks) {
      if (block.end > number) break;
      if (block.passedAtMs === Infinity) block.passedAtMs = nowMs;
    }
  }

  #store(header: DatagramHeader, shard: Uint8Array): void {
    const { group, dataShards, parityShards, groupBytes } = header;
    let pending = this.#groups.get(group);
    if (pending === undefined) {
      const shards = new Array<Uint8Array | null>(dataShards + parityShards).fill(null);
      pending = { header, shards, present: 0, heldBytes: 0, whole: null };
      this.#groups.set(group, pending);
    }
    const first = pending.header;
    if (
      first.dataShards !== dataShards ||
      first.parityShards !== parityShards ||
      first.groupBytes !== groupBytes
    ) {
      this.#counters.contradictingDatagrams++;
      return;
    }
    if (pending.whole !== null || pending.shards[header.shard] !== null) {
      this.#counters.surplusDatagrams++;
      return;
    }
    pending.shards[header.shard] = shard;
    pending.present++;
    this.#hold(pending, pending.heldBytes + shard.byteLength + SHARD_OVERHEAD_BYTES);
    if (pending.present === dataShards) this.#complete(pending);
  }

  #complete(pending: PendingGroup): void {
    const { dataShards, parityShards, groupBytes } = pending.header;
    const { shards } = pending;
    const shardBytes = shardBytesOf(groupBytes, dataShards);
    let missing = 0;
    for (let j = 0; j < dataShards; j++) if (shards[j] === null) missing++;
    restoreShards(shards, dataShards, parityShards, shardBytes);
    const whole = new Uint8Array(dataShards * shardBytes);
    for (let j = 0; j < dataShards; j++) whole.set(shards[j] as Uint8Array, j * shardBytes);
    shards.length = 0;
    pending.whole = whole.subarray(0, groupBytes);
    this.#hold(pending, whole.byteLength + SHARD_OVERHEAD_BYTES);
    this.#counters.groups++;
    this.#counters.repairedDatagrams += missing;
    if (missing > 0) this.#counters.repairedGroups++;
    this.#sink.peek(pending.whole);
  }

  #handOn(): void {
    for (;;) {
      const pending = this.#groups.get(this.#next);
      const whole = pending?.whole ?? null;
      if (pending !== undefined && whole !== null) {
        if (!this.#sink.isReady()) return;
        this.#hasBegun = true;
        this.#release(this.#next++, pending);
        this.#sink.take(whole);
      } else if (this.#next <= this.#settledThrough) this.#giveUp(pending);
      else return;
    }
  }

  /** The group in turn will not come; with it all before the next of which anything is known. */
  #giveUp(pending: PendingGroup | undefined): void {
    if (pending !== undefined) this.#release(this.#next, pending);
    const first = this.#next++;
    this.#lost.add(first);
    if (this.#settledThrough - this.#next > STEPS_MAX) {
      let known = this.#settledThrough + 1;
      for (const group of this.#groups.keys()) known = Math.min(known, group);
      this.#next = Math.max(this.#next, known);
    }
    if (this.#hasBegun) this.#counters.lostGroups += this.#next - first;
    for (const group of this.#lost) {
      if (this.#lost.size <= LOST_REMEMBERED_MAX) break;
      this.#lost.delete(group);
    }
  }

  /** At a limit: the oldest is handed on, given up, or dropped because nobody takes it. */
  #makeRoom(): void {
    let oldest = Infinity;
    for (const group of this.#groups.keys()) oldest = Math.min(oldest, group);
    const pending = this.#groups.get(oldest);
    if (pending !== undefined && pending.whole !== null && !this.#sink.isReady()) {
      this.#release(oldest, pending);
      this.#counters.overloadedGroups++;
      this.overloadedGroups++;
      this.#next = Math.max(this.#next, oldest + 1);
      return;
    }
    this.#settledThrough = Math.max(this.#settledThrough, oldest);
    this.#handOn();
  }

  #hold(pending: PendingGroup, bytes: number): void {
    this.#heldBytes += bytes - pending.heldBytes;
    this.#budget.heldBytes += bytes - pending.heldBytes;
    pending.heldBytes = bytes;
  }

  #release(group: number, pending: PendingGroup): void {
    this.#hold(pending, 0);
    this.#groups.delete(group);
  }
}

export function newAssemblerCounters(): AssemblerCounters {
  return {
    groups: 0,
    repairedGroups: 0,
    repairedDatagrams: 0,
    lostGroups: 0,
    surplusDatagrams: 0,
    lateDatagrams: 0,
    contradictingDatagrams: 0,
    overloadedGroups: 0,
  };
}
