/**
 * Which collector is dialled, and when again. One that was lost after it held is tried again at once; one that refuses for a lasting
 * reason, after the longest wait; while another than the first choice serves, the better ones are looked for, and gone back
 * to when what is under way is acknowledged.
 */
import type { Duplex } from 'node:stream';
import { messageOf } from '@tapline/shared/base/errors.ts';
import { RetrySchedule } from '@tapline/shared/base/retry-schedule.ts';
import type { Refuse } from '@tapline/shared/tunnel/messages.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { CollectorList, collectorName, type Collector } from './collector-list.ts';
import { dialTcp, type Dial } from './dial-tcp.ts';
import { PreferredCollectors } from './preferred-collectors.ts';
import type { UplinkDependencies, UplinkOptions } from './uplink.ts';

const RETRY_FIRST_MS = 500;
const RETRY_CAP_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
const RETURN_AFTER_MS = 60_000;
/** How long a change to a collector that is wanted more waits for the acknowledgements of the one that is left. */
const LEAVE_MS = 5_000;
/** A connection that held so long was a good one: the next loss starts again with the shortest wait. */
const STABLE_MS = 5_000;
/** Refusals that trying again in a second cannot change. */
const LASTING_REFUSALS: ReadonlySet<string> = new Set(['version', 'hello', 'sensor', 'codec']);

export interface DialerHandlers {
  /** A connection to `current`. */
  readonly opened: (socket: Duplex) => void;
  /** Whether a connection is up that may be given up for a better one. */
  readonly mayLeave: () => boolean;
  /** Whether something was sent that is not acknowledged. */
  readonly isInFlight: () => boolean;
  /** The connection is to be ended now; `ended` follows. */
  readonly leave: () => void;
}

export class CollectorDialer {
  readonly #options: UplinkOptions;
  readonly #dependencies: UplinkDependencies;
  readonly #clock: TunnelClock;
  readonly #handlers: DialerHandlers;
  readonly #dialOne: Dial;
  readonly #collectors: CollectorList;
  readonly #preferred: PreferredCollectors;
  readonly #aborter = new AbortController();
  #openedAtMs = 0;
  /** A collector that is wanted more, while the last acknowledgements of the present one are awaited. */
  #returningTo: Collector | null = null;
  #cancelRetry: () => void = () => undefined;
  #cancelLeave: () => void = () => undefined;

  constructor(
    options: UplinkOptions,
    dependencies: UplinkDependencies,
    clock: TunnelClock,
    handlers: DialerHandlers,
  ) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#clock = clock;
    this.#handlers = handlers;
    this.#dialOne = dependencies.dial ?? dialTcp;
    const { retryFirstMs: firstMs = RETRY_FIRST_MS } = options;
    const retry = new RetrySchedule({ firstMs, capMs: this.#retryCapMs }, dependencies.random ?? Math.random);
    this.#collectors = new CollectorList(options.collectors, retry);
    const { returnAfterMs: intervalMs = RETURN_AFTER_MS } = options;
    this.#preferred = new PreferredCollectors(
      { intervalMs, timeoutMs: this.#connectTimeoutMs },
      {
        clock,
        dial: this.#dialOne,
        found: (collector) => {
          this.#return(collector);
        },
      },
    );
  }

  /** The one to be tried, or that is connected. */
  get current(): Collector {
    return this.#collectors.current;
  }

  /** Nothing more is to be sent to the present one. */
  get isReturning(): boolean {
    return this.#returningTo !== null;
  }

  /** Dials the current one, and goes on dialling until one answers. */
  async dial(): Promise<void> {
    const collector = this.#collectors.current;
    let socket;
    try {
      socket = await this.#dialOne({ ...collector, timeoutMs: this.#connectTimeoutMs }, this.#aborter.signal);
    } catch (error) {
      if (this.#aborter.signal.aborted) return;
      const retryMs = this.#retryLater(this.#collectors.failed());
      this.#dependencies.events.connectFailed?.({
        collector: collectorName(collector),
        message: messageOf(error),
        attempt: this.#collectors.attempts,
        retryMs,
      });
      return;
    }
    if (this.#aborter.signal.aborted) {
      socket.on('error', () => undefined).destroy();
      return;
    }
    this.#openedAtMs = this.#clock.monotonicMs();
    this.#handlers.opened(socket);
  }

  /** The current one serves: better ones are looked for. */
  welcomed(): void {
    this.#preferred.lookFor(this.#collectors.preferred);
  }

  /** Something was acknowledged. */
  acknowledged(): void {
    if (this.isReturning && !this.#handlers.isInFlight()) this.#leave();
  }

  /** Whoever serves now serves to the end. */
  stay(): void {
    this.#returningTo = null;
  }

  /** The connection is gone, for whatever reason: nothing is looked for until there is another. */
  ended(): void {
    this.#preferred.stop();
    this.#cancelLeave();
  }

  /** Dials again after the connection ended. Returns the wait in milliseconds; null when it was ended for a better collector. */
  redial(refusal: Refuse | null): number | null {
    if (this.#returningTo !== null) {
      this.#collectors.choose(this.#returningTo);
      this.#returningTo = null;
      void this.dial();
      return null;
    }
    const isStable = this.#clock.monotonicMs() - this.#openedAtMs >= STABLE_MS;
    const delayMs = isStable ? this.#collectors.lost() : this.#collectors.failed();
    const isLasting = refusal !== null && LASTING_REFUSALS.has(refusal.code) && delayMs > 0;
    return this.#retryLater(isLasting ? this.#retryCapMs : delayMs);
  }

  close(): void {
    this.#cancelRetry();
    this.ended();
    this.#aborter.abort();
  }

  get #retryCapMs(): number {
    return this.#options.retryCapMs ?? RETRY_CAP_MS;
  }

  get #connectTimeoutMs(): number {
    return this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  }

  #retryLater(delayMs: number): number {
    this.#cancelRetry = this.#clock.after(delayMs, () => {
      void this.dial();
    });
    return Math.round(delayMs);
  }

  /** One that is wanted more can be reached: goes there when what is under way is acknowledged, or has had its time. */
  #return(collector: Collector): void {
    if (!this.#handlers.mayLeave()) return;
    this.#dependencies.events.returning?.(collector);
    this.#returningTo = collector;
    this.#cancelLeave = this.#clock.after(LEAVE_MS, () => {
      this.#leave();
    });
    if (!this.#handlers.isInFlight()) this.#leave();
  }

  #leave(): void {
    this.#cancelLeave();
    this.#handlers.leave();
  }
}
