/**
 * The analyzer's row, as far as it goes today:
 *
 *   archive ─▶ tail (segments while they grow) ─▶ count (per sensor, source and protocol) ─▶ log, status, metrics
 *
 * It reads the archive and writes nothing there. Flows, features, rules and models take their place behind the tail.
 */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@tapline/shared/base/errors.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { EXIT_CLEAN } from '@tapline/shared/daemon/exit-code.ts';
import type { DaemonContext, RunningDaemon } from '@tapline/shared/daemon/run.ts';
import type { Books } from '@tapline/shared/observe/books.ts';
import type { AnalyzerConfig } from './config.ts';
import { TrafficTable, type TrafficRow } from './count/traffic-table.ts';
import { ArchiveTail } from './tail/archive-tail.ts';

/** Rows in a log line or on the status page. */
const ROWS_SHOWN = 20;

/** Sets the row going. */
export async function startAnalyzer(
  loaded: LoadedConfig<AnalyzerConfig>,
  context: DaemonContext,
): Promise<RunningDaemon> {
  return new Analyzer(loaded.value, context);
}

class Analyzer implements RunningDaemon {
  readonly finished: Promise<number>;
  readonly #config: AnalyzerConfig;
  readonly #context: DaemonContext;
  readonly #tail: ArchiveTail;
  readonly #table = new TrafficTable();
  /** Directories that could not be read are told once. */
  readonly #unreadable = new Set<string>();

  constructor(config: AnalyzerConfig, context: DaemonContext) {
    this.#config = config;
    this.#context = context;
    const { log } = context;
    this.#tail = new ArchiveTail(config.input.directory, {
      segmentDamaged: ({ path }, reason) => {
        log.error(
          { segment: path, reason },
          'A segment is damaged; what stands before the damage was counted.',
        );
      },
      segmentCut: ({ path }) => {
        log.warn(
          { segment: path },
          'A segment was cut back by its writer; some of its packets may be counted twice.',
        );
      },
      tooManySegments: (limit) => {
        log.error({ limit }, 'The archive has more segments than are followed.');
      },
      unreadable: (path, error) => {
        if (this.#unreadable.size < ROWS_SHOWN && !this.#unreadable.has(path))
          log.warn({ path, problem: messageOf(error) }, 'Cannot be read; trying again.');
        this.#unreadable.add(path);
      },
    });
    this.finished = this.#run();
  }

  books(): Books {
    return {
      tail: { ...this.#tail.counters },
      count: { packets: this.#table.packets, bytes: this.#table.bytes },
      sources: this.#table.sources().slice(0, ROWS_SHOWN).map(shown),
      protocols: this.#table.protocols().slice(0, ROWS_SHOWN).map(shown),
    };
  }

  async reload(loaded: LoadedConfig<unknown>): Promise<readonly string[]> {
    const config = loaded.value as AnalyzerConfig;
    const fixed = ['input', 'statistics_interval', 'metrics'] as const;
    return fixed.filter((key) => JSON.stringify(config[key]) !== JSON.stringify(this.#config[key]));
  }

  async #run(): Promise<number> {
    const { stop, log } = this.#context;
    const statistics = setInterval(() => {
      log.info({ books: this.books() }, 'Books.');
    }, this.#config.statistics_interval).unref();
    while (!stop.aborted) {
      await this.#poll();
      await sleep(this.#config.input.poll_interval, undefined, { signal: stop }).catch(() => undefined);
    }
    // Once more: what was written before the signal is counted before the books are closed.
    await this.#poll();
    clearInterval(statistics);
    return EXIT_CLEAN;
  }

  /** Everything there is now, leaving room between batches for signals and the status page. */
  async #poll(): Promise<void> {
    for (const { segment, batch } of this.#tail.poll()) {
      this.#table.add(segment, batch);
      await turn();
      if (this.#context.hurry.aborted) return;
    }
  }
}

function shown(row: TrafficRow): Books {
  return {
    sensor: row.sensor,
    name: row.name,
    packets: row.packets,
    bytes: row.bytes,
    first: new Date(row.firstAtMs).toISOString(),
    last: new Date(row.lastAtMs).toISOString(),
  };
}
