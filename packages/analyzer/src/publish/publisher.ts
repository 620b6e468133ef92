/**
 * From detectors to outputs:
 *
 *   alert desk ─▶ collect (a copy of each telling) ─▶ commit: store, then every output
 *
 * What must stay true:
 * - what an output is given was stored before, under its sequence;
 * - how far each output has come is stored too, so a crash between the two makes a telling come twice at most, and never not at all;
 * - when the store refuses, tellings wait here, and `isStalled` says when the row should read no further packets. Nothing waits for an output.
 */
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { Books } from '@tapline/shared/observe/books.ts';
import type { Alert } from '../alert/alert-desk.ts';
import { severityRank, type Severity } from '../alert/finding.ts';
import { alertRecord, type AlertRecord, type ToldAlert } from './alert-record.ts';
import type { AlertStore, StoredTelling } from './alert-store.ts';
import type { Health, QueueDepth } from './health.ts';
import { SINK_QUEUE_MAX, type Sink } from './sink.ts';

/** Tellings while the store refuses, × about 4 KiB. */
const PENDING_MAX = 10_000;
const CURSORS_KEY = 'publish/cursors';
const RESUME_PAGE = 1000;

export interface Output {
  readonly sink: Sink;
  /** At least this. */
  readonly severity: Severity;
}

export interface PublisherEvents {
  storeFailed(problem: OperatingError, pending: number): void;
  storeRecovered(): void;
  /** An output gets what it missed while the daemon was down; `skipped` are too old for its queue. */
  resumed(resumption: { readonly sink: string; readonly tellings: number; readonly skipped: number }): void;
}

export class Publisher {
  readonly counters = { told: 0, storeFailures: 0 };
  readonly #store: AlertStore;
  readonly #outputs: readonly Output[];
  readonly #events: PublisherEvents;
  #pending: ToldAlert[] = [];
  /** The newest sequence that was given to the outputs. */
  #handed = 0;
  #isFailing = false;

  constructor(store: AlertStore, outputs: readonly Output[], events: PublisherEvents) {
    this.#store = store;
    this.#outputs = outputs;
    this.#events = events;
  }

  /** Once, before anything else: gives each output what it has not delivered. One that is new begins with what comes. */
  resume(): void {
    const { first, last } = this.#store.range();
    const cursors = this.#cursors();
    for (const { sink, severity } of this.#outputs) {
      // The oldest may have been pruned; and an older file may have come back in the store's place.
      const cursor = Math.min(Math.max(cursors[sink.name] ?? last, first - 1, 0), last);
      const from = Math.max(cursor, last - SINK_QUEUE_MAX);
      for (let at = from; at < last;) {
        const page = this.#store.since(at, RESUME_PAGE);
        if (page.length === 0) break;
        give({ sink, severity }, page.map(recordOf));
        at = page.at(-1)?.sequence ?? last;
      }
      if (cursor < last) this.#events.resumed({ sink: sink.name, tellings: last - from, skipped: from - cursor }); // prettier-ignore
    }
    this.#handed = last;
  }

  /** Tellings that wait for the store. */
  get pending(): number {
    return this.#pending.length;
  }

  /** True: the store refuses, and no more should be found before it takes what there is. */
  get isStalled(): boolean {
    return this.#pending.length >= PENDING_MAX;
  }

  /** Takes a telling, to be called as the desk tells it: what the desk lends goes on changing, so it is copied. */
  collect(alert: Alert): void {
    this.#pending.push(structuredClone(alert));
  }

  /**
   * Stores what was collected, and what `alongside` writes into the same store, in one transaction; then gives it to the outputs. False: the store
   * refused, nothing was stored, and all of it waits for the next call.
   */
  commit(alongside?: () => void): boolean {
    if (this.#pending.length === 0 && alongside === undefined) return true;
    let stored: StoredTelling[];
    try {
      stored = this.#store.transaction(() => {
        const rows = this.#store.put(this.#pending);
        this.#saveCursors();
        alongside?.();
        return rows;
      });
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.counters.storeFailures++;
      this.#isFailing = true;
      this.#events.storeFailed(error, this.#pending.length);
      return false;
    }
    if (this.#isFailing) this.#events.storeRecovered();
    this.#isFailing = false;
    this.#pending = [];
    this.#hand(stored.map(recordOf));
    return true;
  }

  /** Tells the outputs how the daemon is, and notes how far they have come. */
  health(health: Health): void {
    for (const { sink } of this.#outputs) sink.health?.(health);
    this.commit(() => undefined);
  }

  /** Files were moved away, keys and tokens may be new. Every output does what it can; the first that could not is thrown as CONFIG_INVALID. */
  reopen(): void {
    const problems: unknown[] = [];
    for (const { sink } of this.#outputs)
      try {
        sink.reopen?.();
      } catch (error) {
        problems.push(error);
      }
    if (problems.length > 0) throw problems[0];
  }

  /** Stores what is left, and gives every output until the deadline. What it has not delivered then, it gets at the next start. */
  async close(deadlineMs: number): Promise<void> {
    this.commit();
    await Promise.all(this.#outputs.map(({ sink }) => sink.close(deadlineMs)));
    this.commit(() => undefined);
  }

  queues(): QueueDepth[] {
    return this.#outputs.map(({ sink }) => ({
      name: sink.name,
      queued: sink.queued,
      dropped: sink.counters.dropped,
    }));
  }

  books(): Books {
    const outputs = this.#outputs.map(({ sink }) => [sink.name, { ...sink.counters, queuedNow: sink.queued }] as const); // prettier-ignore
    return {
      ...this.counters,
      ...this.#store.counters,
      pendingNow: this.#pending.length,
      outputs: Object.fromEntries(outputs),
    };
  }

  #hand(records: readonly AlertRecord[]): void {
    if (records.length === 0) return;
    this.counters.told += records.length;
    this.#handed = records.at(-1)?.sequence ?? this.#handed;
    for (const output of this.#outputs) give(output, records);
  }

  #cursors(): Record<string, number> {
    const blob = this.#store.getState(CURSORS_KEY);
    return blob === null ? {} : (JSON.parse(Buffer.from(blob).toString()) as Record<string, number>);
  }

  /** Outputs that are switched off keep their place. */
  #saveCursors(): void {
    const cursors = this.#cursors();
    for (const { sink } of this.#outputs)
      cursors[sink.name] = sink.oldestPending === null ? this.#handed : sink.oldestPending - 1;
    this.#store.setState(CURSORS_KEY, Buffer.from(JSON.stringify(cursors)));
  }
}

/** The public form of a stored telling. */
export function recordOf({ alert, sequence, label, note }: StoredTelling): AlertRecord {
  return alertRecord(alert, { sequence, label, note });
}

function give({ sink, severity }: Output, records: readonly AlertRecord[]): void {
  const wanted = records.filter((record) => severityRank(record.severity) >= severityRank(severity));
  if (wanted.length > 0) sink.publish(wanted);
}
