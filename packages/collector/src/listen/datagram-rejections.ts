/** Datagrams that were refused: counted by reason, and told of now and then. */
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';

/** Between two messages of the same kind of refused datagram. */
const TELL_INTERVAL_MS = 60_000;

export type DatagramRejection =
  | 'malformed' // no header that could be
  | 'version' // of the future
  | 'checksum' // damaged on the way
  | 'not-authentic' // sealed, and not with the key it names; or damaged on the way
  | 'unknown-key' // its key is not configured
  | 'key-required' // not sealed, where everything must be
  | 'replayed' // its number was seen, or is far behind
  | 'old-epoch' // of a life of the sender before its newest, or one that has ended
  | 'refused-epoch' // of an epoch whose HELLO was refused
  | 'no-hello'; // of an epoch that was given up because its HELLO did not come

export class DatagramRejections {
  readonly #counters: Record<DatagramRejection, number>;
  readonly #clock: TunnelClock;
  readonly #tell: (rejection: { readonly peer: string; readonly reason: DatagramRejection }) => void;
  readonly #toldAtMs = new Map<DatagramRejection, number>();

  /** Counts in `counters`. `tell`: at most once a minute for each reason. */
  constructor(
    counters: Record<DatagramRejection, number>,
    clock: TunnelClock,
    tell: (rejection: { readonly peer: string; readonly reason: DatagramRejection }) => void,
  ) {
    this.#counters = counters;
    this.#clock = clock;
    this.#tell = tell;
  }

  add(peer: string, reason: DatagramRejection): void {
    this.#counters[reason]++;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - (this.#toldAtMs.get(reason) ?? -Infinity) < TELL_INTERVAL_MS) return;
    this.#toldAtMs.set(reason, nowMs);
    this.#tell({ peer, reason });
  }
}

export function newRejections(): Record<DatagramRejection, number> {
  return {
    malformed: 0,
    version: 0,
    checksum: 0,
    'not-authentic': 0,
    'unknown-key': 0,
    'key-required': 0,
    replayed: 0,
    'old-epoch': 0,
    'refused-epoch': 0,
    'no-hello': 0,
  };
}
