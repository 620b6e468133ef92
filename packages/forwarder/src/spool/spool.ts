/**
 * The spool: what waits for the collector, on the disk of the probe. One directory, one forwarder.
 *
 *   <path>/.tapline-spool                     the lock; the kernel releases it however its holder dies
 *   <path>/.tapline-spool.json                what the last second knew: `SpoolState`
 *   <path>/<number>-<epoch>-<priority>/       one lane: number (10 digits), epoch (16 hex digits), priority class
 *       <first sequence>.spool                its frames (`spool-segment.ts`)
 *
 * A lane belongs to one life of the forwarder. The next life only drains it and begins lanes of its own, so no number is ever
 * used twice, whatever a kill took with it.
 *
 * What must stay true: all segments together stay within `bytesMax`; what has to go, goes as a gap, the oldest packets of
 * the least important class first, and never frames that were sent already, of which the collector may have some.
 */
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { errnoOf, type Files } from '@tapline/shared/system/files.ts';
import { readSmallFile, replaceFile } from '@tapline/shared/system/replace-file.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { z } from 'zod';
import { SpoolLane, type SpoolLaneOwner, type SpoolLossReason } from './spool-lane.ts';

const LOCK_NAME = '.tapline-spool';
const STATE_NAME = '.tapline-spool.json';
const STATE_BYTES_MAX = 1024 * 1024;
const KEEP_INTERVAL_MS = 1000;
const LANE_NAME = /^(\d{10})-([0-9a-f]{16})-(\d{1,2})$/;
/** In the header of a frame a lane has one byte. */
export const LANE_NUMBERS = 256;

export interface SpoolOptions {
  readonly directory: string;
  readonly bytesMax: number;
  /** always: everything is written before it is sent. overflow: only what memory cannot hold. */
  readonly mode: 'always' | 'overflow';
  readonly onFull: 'drop-oldest' | 'stop';
}

export interface SpoolEvents {
  /** What earlier lives have left will be sent. */
  spoolFound?(found: { readonly directory: string; readonly lanes: number; readonly packets: number; readonly bytes: number }): void; // prettier-ignore
  spoolWriteFailed?(failure: {
    readonly path: string;
    readonly code: string;
    readonly message: string;
  }): void;
  spoolRecovered?(): void;
  /** Told once per stretch of losses. */
  spoolLost?(loss: {
    readonly reason: SpoolLossReason;
    readonly packets: number;
    readonly path: string;
  }): void;
}

const count = z.int().nonnegative();
const state = z.object({
  version: z.literal(1),
  /** The last life ended in order: everything it held is in the spool. */
  clean: z.boolean(),
  /** In which it ran. */
  mode: z.enum(['always', 'overflow']),
  /** Everything captured until then is acknowledged or in the spool. Nanoseconds since 1970 UTC. */
  safeNs: z.string().regex(/^\d{1,20}$/),
  lanes: z.array(
    z.object({
      epoch: z.string(),
      acknowledged: count,
      sentUpTo: count,
      /** What each collector acknowledged, by `host:port`. */
      byCollector: z.record(z.string(), count),
    }),
  ),
});

export type SpoolState = z.infer<typeof state>;
export type LaneState = SpoolState['lanes'][number];

/** A lane of an earlier life. */
export interface FoundLane {
  readonly number: number;
  readonly epoch: string;
  readonly priority: number;
  readonly store: SpoolLane;
  readonly state: LaneState | null;
}

/** Who may lose frames when room is needed: lanes in the order in which they should. */
export type DropOrder = () => readonly { readonly store: SpoolLane; readonly sentUpTo: number }[];

export class Spool {
  readonly options: SpoolOptions;
  readonly #files: Files;
  readonly #clock: TunnelClock;
  readonly #events: SpoolEvents;
  readonly #lanes = new Set<SpoolLane>();
  #lock = -1;
  #bytes = 0;
  #nextNumber = 0;
  #isFailing = false;
  #isSyncing = false;
  #snapshot: (() => SpoolState) | null = null;
  #dropOrder: DropOrder = () => [];
  #cancelTimer: () => void = () => undefined;
  /** Packets that were queued and became gaps. */
  readonly lost: Record<SpoolLossReason, number> = { 'spool-full': 0, 'spool-damaged': 0 };

  constructor(
    options: SpoolOptions,
    dependencies: { readonly files: Files; readonly clock: TunnelClock; readonly events: SpoolEvents },
  ) {
    this.options = options;
    this.#files = dependencies.files;
    this.#clock = dependencies.clock;
    this.#events = dependencies.events;
  }

  /** Bytes of all segments. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the directory, repairs what is in it and hands it out, the oldest lane first. Throws SPOOL_FAILED. */
  open(): { readonly lanes: readonly FoundLane[]; readonly state: SpoolState | null } {
    const { directory } = this.options;
    try {
      this.#files.makeDirectory(directory);
      this.#lock = this.#files.lock(`${directory}/${LOCK_NAME}`);
      if (this.#lock < 0)
        throw new Error('another forwarder uses it: give each forwarder a spool of its own');
      const known = this.#loadState();
      const lanes = this.#loadLanes(known);
      if (lanes.length > 0) this.#tellFound(lanes);
      return { lanes, state: known };
    } catch (error) {
      const message = `the spool ${directory} cannot be used: ${messageOf(error)}`;
      throw new OperatingError('SPOOL_FAILED', message, { directory, code: errnoOf(error) }, error);
    }
  }

  /** A new lane's number; one whose place in the header is free, while there is one. */
  claimNumber(taken: ReadonlySet<number>): number {
    while (taken.size < LANE_NUMBERS && taken.has(this.#nextNumber % LANE_NUMBERS)) this.#nextNumber++;
    return this.#nextNumber++;
  }

  /** A new lane; its directory appears with its first frame. */
  createLane(number: number, epoch: string, priority: number): SpoolLane {
    const name = `${String(number).padStart(10, '0')}-${epoch}-${String(priority)}`;
    const lane = new SpoolLane(
      `${this.options.directory}/${name}`,
      number % LANE_NUMBERS,
      this.#files,
      this.#owner,
    );
    this.#lanes.add(lane);
    return lane;
  }

  removeLane(lane: SpoolLane): void {
    lane.remove();
    this.#lanes.delete(lane);
  }

  /** From now on, once a second: makes frames survive a power failure, and writes down what `snapshot` says. */
  keep(snapshot: () => SpoolState, dropOrder: DropOrder): void {
    this.#snapshot = snapshot;
    this.#dropOrder = dropOrder;
    this.saveState();
    this.#armTimer();
  }

  /** For moments that should not wait a second. A disk that refuses is told of by the frames. */
  saveState(): void {
    if (this.#snapshot === null) return;
    const path = `${this.options.directory}/${STATE_NAME}`;
    try {
      replaceFile(this.#files, path, JSON.stringify(this.#snapshot()));
    } catch (error) {
      this.#owner.writeFailed({ path, code: errnoOf(error), message: messageOf(error) });
    }
  }

  close(): void {
    this.#cancelTimer();
    this.saveState();
    for (const lane of this.#lanes) lane.close();
    if (this.#lock >= 0) this.#files.close(this.#lock);
    this.#lock = -1;
  }

  readonly #owner: SpoolLaneOwner = {
    makeRoom: (bytes) => this.#makeRoom(bytes),
    changed: (bytes) => {
      this.#bytes += bytes;
    },
    writeFailed: (failure) => {
      if (!this.#isFailing) this.#events.spoolWriteFailed?.(failure);
      this.#isFailing = true;
    },
    written: () => {
      if (this.#isFailing) this.#events.spoolRecovered?.();
      this.#isFailing = false;
    },
    lost: (loss) => {
      this.lost[loss.reason] += loss.packets;
      this.#events.spoolLost?.(loss);
    },
  };

  #makeRoom(bytes: number): boolean {
    const { bytesMax, onFull } = this.options;
    while (this.#bytes + bytes > bytesMax) {
      if (onFull === 'stop') return false;
      if (!this.#dropOrder().some(({ store, sentUpTo }) => store.dropOldest(sentUpTo))) return false;
    }
    return true;
  }

  #armTimer(): void {
    this.#cancelTimer = this.#clock.after(KEEP_INTERVAL_MS, () => {
      this.saveState();
      void this.#sync();
      this.#armTimer();
    });
  }

  async #sync(): Promise<void> {
    if (this.#isSyncing) return;
    this.#isSyncing = true;
    try {
      for (const lane of this.#lanes) await lane.sync();
    } catch (error) {
      this.#owner.writeFailed({
        path: this.options.directory,
        code: errnoOf(error),
        message: messageOf(error),
      });
    }
    this.#isSyncing = false;
  }

  #loadLanes(known: SpoolState | null): FoundLane[] {
    const found: FoundLane[] = [];
    for (const name of this.#files.list(this.options.directory).sort()) {
      const [, digits, epoch, priority] = LANE_NAME.exec(name) ?? [];
      if (digits === undefined || epoch === undefined) continue;
      const number = Number(digits);
      this.#nextNumber = Math.max(this.#nextNumber, number + 1);
      const store = this.createLane(number, epoch, Number(priority));
      const laneState = known?.lanes.find((lane) => lane.epoch === epoch) ?? null;
      store.load(laneState?.acknowledged ?? 0);
      if (store.totals.bytes === 0) this.removeLane(store);
      else found.push({ number, epoch, priority: Number(priority), store, state: laneState });
    }
    return found;
  }

  #tellFound(lanes: readonly FoundLane[]): void {
    const packets = lanes.reduce((total, { store }) => total + store.totals.packets, 0);
    const { directory } = this.options;
    this.#events.spoolFound?.({ directory, lanes: lanes.length, packets, bytes: this.#bytes });
  }

  /** `null` where there is none, or a power failure left half of one: then the frames alone are the truth. */
  #loadState(): SpoolState | null {
    try {
      const text = readSmallFile(this.#files, `${this.options.directory}/${STATE_NAME}`, STATE_BYTES_MAX);
      return text === null ? null : state.parse(JSON.parse(text));
    } catch {
      return null;
    }
  }
}
