/**
 * What one set of archives tells the keeper: which segments grew, which are finished, and what was lost meanwhile. The archives
 * of a sensor, of a plain sender, or of a forwarder.
 */
import type { ArchiveEvents } from '../archive/archive-options.ts';
import { splitMemberPath } from '../archive/archive-set.ts';
import type { Keeper } from './keeper.ts';
import type { Place } from './keeper-protocol.ts';

/** Counters of losses are read again when the last reading is older. */
const LOSSES_FRESH_MS = 1000;

export type Losses = Readonly<Record<string, number>>;

export class KeptPlace {
  readonly #keeper: Keeper;
  readonly #places: () => ReadonlyMap<string, Place>;
  readonly #readLosses: () => Losses;
  /** What had been lost when each open segment was begun. */
  readonly #lossesAtOpening = new Map<string, Losses>();
  #losses: Losses = {};
  #lossesReadAtMs = -Infinity;

  /** `places`: by the name of the archive. `losses`: packets lost so far, by stage. */
  constructor(keeper: Keeper, places: () => ReadonlyMap<string, Place>, losses: () => Losses) {
    this.#keeper = keeper;
    this.#places = places;
    this.#readLosses = losses;
  }

  /** What the archives should tell; the closing of segments is told by `finished`, when it is final. */
  events(): ArchiveEvents {
    return {
      segmentOpened: ({ name }) => {
        this.#lossesAtOpening.set(name, this.#lossesNow());
      },
      segmentGrown: ({ name, bytes }) => {
        const [archive, segment] = splitMemberPath(name);
        const place = this.#places().get(archive);
        if (place !== undefined) this.#keeper.grown(place, segment, bytes);
      },
      writeFailed: ({ reason }) => {
        if (reason === 'disk-full') this.#keeper.makeRoom();
      },
    };
  }

  /** The segment will not change any more, and is as durable as it is to be. */
  finished(name: string): void {
    const [archive, segment] = splitMemberPath(name);
    const place = this.#places().get(archive);
    const before = this.#lossesAtOpening.get(name) ?? {};
    this.#lossesAtOpening.delete(name);
    if (place === undefined) return;
    const now = this.#lossesNow();
    const dropped = Object.fromEntries(
      Object.entries(now).map(([stage, count]) => [stage, Math.max(0, count - (before[stage] ?? 0))]),
    );
    this.#keeper.closed(place, segment, dropped);
  }

  /** An archive that is left as it is: its segment may be undone by the next run. */
  abandoned(name: string): void {
    this.#lossesAtOpening.delete(name);
  }

  #lossesNow(): Losses {
    const nowMs = performance.now();
    if (nowMs - this.#lossesReadAtMs >= LOSSES_FRESH_MS) {
      this.#losses = this.#readLosses();
      this.#lossesReadAtMs = nowMs;
    }
    return this.#losses;
  }
}
