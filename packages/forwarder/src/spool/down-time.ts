/**
 * What was not captured because no forwarder ran: from the moment up to which the last life's packets are safe, to the start
 * of this one. How many packets passed in between nobody can know; that they may have passed, the collector is told.
 *
 *   last life   … safe ─┬─ lost in memory, or never seen ─┬─ this life's capture …
 *                       └────── GAP, packets: null ───────┘
 */
import { FRAME_HEADER_BYTES } from '@tapline/shared/tunnel/frame.ts';
import { nanosecondsText, type Gap } from '@tapline/shared/tunnel/messages.ts';
import { batchTimeSpan, type TimeSpan } from '@tapline/shared/tunnel/packet-batch.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { FoundLane, SpoolState } from './spool.ts';
import type { LaneTable } from './lane-table.ts';

/**
 * How long a packet may be on its way from the wire to `offer`, and one interface behind another: the ring's and the batch's
 * linger, twenty times over.
 */
const UNDER_WAY_MS = 1000;

/** What the last life left in the spool. */
interface FoundSpool {
  readonly lanes: readonly FoundLane[];
  readonly state: SpoolState | null;
  /** It wrote every frame to the disk before it sent it. */
  readonly isComplete: boolean;
}

export class DownTime {
  readonly #clock: TunnelClock;
  readonly #found: FoundSpool | null;
  #newest: TimeSpan | null = null;
  #offeredAtMs = -Infinity;

  constructor(clock: TunnelClock, found: FoundSpool | null) {
    this.#clock = clock;
    this.#found = found;
  }

  /** The gap between the last life and now; null when there was none, or nothing is known of it. */
  gap(): Gap | null {
    if (this.#found === null) return null;
    const { lanes, state, isComplete } = this.#found;
    if (state === null && lanes.length === 0) return null;
    const toNs = this.#wallNs();
    const newestNs = lanes.reduce(
      (newest, { store }) => (store.newestNs > newest ? store.newestNs : newest),
      0n,
    );
    const underWayNs = BigInt(UNDER_WAY_MS) * 1_000_000n;
    let fromNs = state === null ? 0n : BigInt(state.safeNs);
    // Else what is on the disk says nothing of what was in memory.
    if (isComplete && newestNs - underWayNs > fromNs) fromNs = newestNs - underWayNs;
    // A clock that was set back in between.
    if (fromNs > toNs) fromNs = toNs;
    const reason = state?.clean === true ? 'forwarder-stopped' : 'forwarder-down';
    return { fromNs: String(fromNs), toNs: String(toNs), packets: null, bytes: null, reason };
  }

  /** A BATCH was queued. */
  offered(frame: Uint8Array): void {
    this.#newest = batchTimeSpan(frame.subarray(FRAME_HEADER_BYTES));
    this.#offeredAtMs = this.#clock.monotonicMs();
  }

  /** What the spool should remember at this moment. */
  state(lanes: LaneTable, mode: SpoolState['mode'], isClean: boolean): SpoolState {
    return {
      version: 1,
      clean: isClean,
      mode,
      safeNs: String(this.#safeNs(lanes, isClean)),
      lanes: lanes.laneStates(),
    };
  }

  #safeNs(lanes: LaneTable, isClean: boolean): bigint {
    const newest = this.#newest;
    let safeNs = this.#wallNs() - BigInt(UNDER_WAY_MS) * 1_000_000n;
    const isRecent = this.#clock.monotonicMs() - this.#offeredAtMs < UNDER_WAY_MS;
    if (newest !== null && isClean) {
      const toNs = BigInt(nanosecondsText(newest.newestSeconds, newest.newestNanoseconds));
      if (toNs > safeNs) safeNs = toNs;
    } else if (newest !== null && isRecent) {
      // A capture that lags behind offers packets that are older than any margin.
      const fromNs = BigInt(nanosecondsText(newest.oldestSeconds, newest.oldestNanoseconds));
      if (fromNs < safeNs) safeNs = fromNs;
    }
    const unspooledNs = lanes.oldestUnspooledNs();
    if (unspooledNs !== null && unspooledNs < safeNs) safeNs = unspooledNs;
    return safeNs > 0n ? safeNs : 0n;
  }

  #wallNs(): bigint {
    return BigInt(Math.round(this.#clock.wallMs())) * 1_000_000n;
  }
}
