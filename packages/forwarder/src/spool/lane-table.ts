/**
 * The lanes of a forwarder: which frames wait, in which order they leave, and what of them is where.
 *
 *   class 0 (most important)   current lane ◀─ push     older lanes: an outage's backlog, an earlier life's spool
 *   class 1                    current lane ◀─ push     …
 *
 * Within a lane frames go in sequence, as the protocol demands. Between lanes there is freedom: the more important class goes
 * first; within a class, by config, the oldest lane (everything in order) or the newest (live traffic first, backlog with what
 * capacity is left). For that `beginLive` closes the lanes that have a backlog, and what comes opens new ones.
 */
import type { Lane as LaneMessage } from '@tapline/shared/tunnel/messages.ts';
import type { SpoolLane } from './spool-lane.ts';
import { describeSpooled } from './spool-segment.ts';
import { LANE_NUMBERS, type FoundLane, type LaneState, type Spool } from './spool.ts';
import { FrameQueue } from './frame-queue.ts';

export type DrainOrder = 'oldest-first' | 'live-first';

export interface Lane {
  /** In the header of its frames. */
  readonly id: number;
  readonly epoch: string;
  /** 0 is the most important. */
  readonly priority: number;
  readonly queue: FrameQueue;
  readonly store: SpoolLane | null;
  /** The last sequence that each collector acknowledged, by `host:port`. */
  readonly byCollector: Map<string, number>;
  /** The collector that is connected knows it. */
  isOpen: boolean;
}

export interface LaneTableOptions {
  readonly order: DrainOrder;
  /** Bytes in memory, of all lanes. */
  readonly queueBytesMax: number;
  /** 16 hex digits, never the same twice. */
  readonly newEpoch: () => string;
}

export class LaneTable {
  /** The oldest first. */
  readonly lanes: Lane[] = [];
  readonly #options: LaneTableOptions;
  readonly #spool: Spool | null;
  /** By class: where new frames go. */
  readonly #current: (Lane | null)[] = [];
  #numbersUsed = 0;

  constructor(options: LaneTableOptions, spool: Spool | null, found: readonly FoundLane[] = []) {
    this.#options = options;
    this.#spool = spool;
    for (const lane of found) this.lanes.push(adopted(lane));
  }

  get bytes(): number {
    return this.#sum((queue) => queue.bytes);
  }

  get packets(): number {
    return this.#sum((queue) => queue.packets);
  }

  get unspooledBytes(): number {
    return this.#sum((queue) => queue.unspooledBytes);
  }

  get isEmpty(): boolean {
    return this.lanes.every(({ queue }) => queue.isEmpty);
  }

  get allSent(): boolean {
    return this.lanes.every(({ queue }) => queue.allSent);
  }

  get isInFlight(): boolean {
    return this.lanes.some(({ queue }) => queue.isInFlight);
  }

  /** Queues a frame; `encode` is told the sequence and the lane it must bear. */
  push(priority: number, packetCount: number, encode: (sequence: number, lane: number) => Uint8Array): void {
    const lane = this.current(priority);
    lane.queue.push(encode(lane.queue.nextSequence, lane.id), packetCount);
    this.relieve();
  }

  /** Where frames of a class go now. */
  current(priority: number): Lane {
    const known = this.#current[priority];
    if (known !== undefined && known !== null) return known;
    const lane = this.#create(priority);
    this.#current[priority] = lane;
    return lane;
  }

  /** A connection begins: with `live-first`, what has piled up waits behind what comes from now on. */
  beginLive(): void {
    if (this.#options.order === 'oldest-first') return;
    for (const [priority, lane] of this.#current.entries())
      if (lane !== null && lane !== undefined && !lane.queue.isEmpty) this.#current[priority] = null;
  }

  /** The lane whose next frame should leave next; null when all frames of open lanes have left. */
  next(): Lane | null {
    let best: Lane | null = null;
    for (const lane of this.lanes) {
      if (!lane.isOpen || lane.queue.allSent) continue;
      if (best === null || lane.priority < best.priority) best = lane;
      else if (lane.priority === best.priority && this.#options.order === 'live-first') best = lane;
    }
    return best;
  }

  /** The open lane with that number. */
  openLane(id: number): Lane | null {
    return this.lanes.find((lane) => lane.isOpen && lane.id === id) ?? null;
  }

  /** The lanes to announce: of those that share a number, the oldest. */
  announceable(): Lane[] {
    const ids = new Set<number>();
    return this.lanes.filter(({ id }) => !ids.has(id) && ids.add(id));
  }

  /** How a lane is announced to a collector. */
  describe(lane: Lane, collector: string): LaneMessage {
    const { id, epoch, queue } = lane;
    return {
      lane: id,
      epoch,
      firstSequence: queue.firstSequence,
      durableHere: Math.min(lane.byCollector.get(collector) ?? 0, queue.firstSequence - 1),
    };
  }

  /** Takes away lanes that are done: empty, and nothing more comes. */
  retire(): void {
    for (let i = this.lanes.length - 1; i >= 0; i--) {
      const lane = this.lanes[i] as Lane;
      if (!lane.queue.isEmpty || this.#current.includes(lane)) continue;
      this.lanes.splice(i, 1);
      if (lane.store !== null) this.#spool?.removeLane(lane.store);
    }
  }

  /** Puts everything on the disk that it takes, and lets go of the rest; returns the packets given up. */
  abandon(): number {
    let packets = 0;
    for (const { queue } of this.lanes) {
      while (queue.spool());
      packets += queue.abandon();
    }
    return packets;
  }

  /**
   * Time of the oldest packet that only memory holds, or that a gap stands for which only memory holds: a death now would take
   * the report along. Null when the disk has all. Nanoseconds since 1970 UTC.
   */
  oldestUnspooledNs(): bigint | null {
    let oldest: bigint | null = null;
    for (const { queue } of this.lanes) {
      const frame = queue.oldestUnspooled;
      if (frame === null) continue;
      const { fromNs } = describeSpooled(frame.bytes, 0);
      if (oldest === null || fromNs < oldest) oldest = fromNs;
    }
    return oldest;
  }

  laneStates(): LaneState[] {
    return this.lanes.map(({ epoch, queue, byCollector }) => ({
      epoch,
      acknowledged: queue.firstSequence - 1,
      sentUpTo: queue.sentUpTo,
      byCollector: Object.fromEntries(byCollector),
    }));
  }

  /** The least important class first, in it the oldest lane. */
  dropOrder(): { store: SpoolLane; sentUpTo: number }[] {
    return this.lanes
      .toSorted((a, b) => b.priority - a.priority)
      .flatMap(({ store, queue }) => (store === null ? [] : [{ store, sentUpTo: queue.sentUpTo }]));
  }

  #create(priority: number): Lane {
    const epoch = this.#options.newEpoch();
    const taken = new Set(this.lanes.map(({ id }) => id));
    const number = this.#spool?.claimNumber(taken) ?? this.#claimNumber(taken);
    const store = this.#spool?.createLane(number, epoch, priority) ?? null;
    const queue = new FrameQueue(store);
    const lane = { id: number % LANE_NUMBERS, epoch, priority, queue, store, byCollector: new Map<string, number>(), isOpen: false }; // prettier-ignore
    this.lanes.push(lane);
    return lane;
  }

  #claimNumber(taken: ReadonlySet<number>): number {
    while (taken.size < LANE_NUMBERS && taken.has(this.#numbersUsed % LANE_NUMBERS)) this.#numbersUsed++;
    return this.#numbersUsed++;
  }

  /** After every push, and while memory is full: what should be on the disk goes there, as far as it takes it. */
  relieve(): void {
    if (this.#spool === null) return;
    if (this.#spool.options.mode === 'always') for (const { queue } of this.lanes) while (queue.spool());
    let heldBytes = this.#sum((queue) => queue.heldBytes);
    while (heldBytes > this.#options.queueBytesMax) {
      const fullest = this.lanes.reduce((a, b) => (b.queue.heldBytes > a.queue.heldBytes ? b : a));
      if (!fullest.queue.forget() && !fullest.queue.spool()) return;
      heldBytes = this.#sum((queue) => queue.heldBytes);
    }
  }

  #sum(value: (queue: FrameQueue) => number): number {
    let total = 0;
    for (const { queue } of this.lanes) total += value(queue);
    return total;
  }
}

function adopted({ number, epoch, priority, store, state }: FoundLane): Lane {
  const byCollector = new Map(Object.entries(state?.byCollector ?? {}));
  const queue = new FrameQueue(store, state?.sentUpTo ?? 0);
  return { id: number % LANE_NUMBERS, epoch, priority, queue, store, byCollector, isOpen: false };
}
