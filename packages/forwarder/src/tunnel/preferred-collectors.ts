/**
 * While a collector serves that is not the first choice, better ones are looked for: now and then a connection is made to each,
 * and closed again. It costs a handshake, and the one that serves notices nothing.
 */
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { Collector } from './collector-list.ts';
import type { Dial } from './dial-tcp.ts';

export interface PreferredCollectorsDependencies {
  readonly clock: TunnelClock;
  readonly dial: Dial;
  readonly found: (collector: Collector) => void;
}

export class PreferredCollectors {
  readonly #options: { readonly intervalMs: number; readonly timeoutMs: number };
  readonly #dependencies: PreferredCollectorsDependencies;
  #search: AbortController | null = null;
  #cancel: () => void = () => undefined;

  constructor(
    options: { readonly intervalMs: number; readonly timeoutMs: number },
    dependencies: PreferredCollectorsDependencies,
  ) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  /** Until one of them is found, or `stop`. */
  lookFor(collectors: readonly Collector[]): void {
    this.stop();
    if (collectors.length === 0) return;
    const search = new AbortController();
    this.#search = search;
    this.#cancel = this.#dependencies.clock.after(this.#options.intervalMs, () => {
      void this.#try(collectors, search.signal);
    });
  }

  stop(): void {
    this.#cancel();
    this.#search?.abort();
    this.#search = null;
  }

  async #try(collectors: readonly Collector[], signal: AbortSignal): Promise<void> {
    const { timeoutMs } = this.#options;
    for (const collector of collectors) {
      try {
        const probe = await this.#dependencies.dial({ ...collector, timeoutMs }, signal);
        probe.on('error', () => undefined).destroy();
      } catch {
        continue;
      }
      if (!signal.aborted) this.#dependencies.found(collector);
      return;
    }
    if (!signal.aborted) this.lookFor(collectors);
  }
}
