/**
 * The publishing side as the daemon has it: store, outputs, bus and heartbeat, made of the section `alerts`, with the lines in the log.
 *
 *   const publishing = await openPublishing(config.alerts, {log, agent, version, stop, packets, missed});
 *   … alerts were found:            await publishing.told(alerts);   // stored when it resolves: now the packets may be forgotten
 *   … or with a checkpoint of the same transaction, where the desk's tellings are collected as they come:
 *                                   publishing.collect(alert);
 *                                   publishing.commit(() => publishing.store.setState('checkpoint', bytes));
 *   … a sensor's packets came:      publishing.heard(sensor);
 *   … SIGHUP:                       publishing.reopen();
 *   … at the end:                   await publishing.close(5000);
 */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { RetrySchedule } from '@tapline/shared/base/retry-schedule.ts';
import type { Books } from '@tapline/shared/observe/books.ts';
import type { Log } from '@tapline/shared/observe/log.ts';
import { Sparingly } from '@tapline/shared/observe/sparingly.ts';
import type { Alert } from '../alert/alert-desk.ts';
import type { AlertRecord } from './alert-record.ts';
import { AlertStore } from './alert-store.ts';
import { Bus } from './bus.ts';
import { readClientTls } from './client-tls.ts';
import { eveSink } from './eve-sink.ts';
import { HealthReporter, HeartbeatWatch } from './health.ts';
import type { AlertKeys } from './publish-fields.ts';
import { Publisher, recordOf, type Output, type PublisherEvents } from './publisher.ts';
import type { SinkEvents } from './sink.ts';
import { stdoutSink } from './stdout-sink.ts';
import { syslogSink } from './syslog-sink.ts';
import { webhookSink } from './webhook-sink.ts';
import type { ZapEvents } from './zap-handler.ts';
import { zeekSink } from './zeek-sink.ts';

const PRUNE_INTERVAL_MS = 3_600_000;
const STORE_RETRY = { firstMs: 200, capMs: 10_000 };

export interface PublishingContext {
  readonly log: Log;
  /** Name of this analyzer in heartbeats. */
  readonly agent: string;
  readonly version: string;
  /** Aborts when the daemon shall stop: from then on `told` does not wait for a store that refuses. */
  readonly stop?: AbortSignal;
  /** Packets so far, for heartbeats. */
  packets(): number;
  /** A sensor or agent of `heartbeat.expect` has been silent for three intervals: make an alert of it. */
  missed?(name: string, silentMs: number): void;
  returned?(name: string, silentMs: number): void;
}

type Events = SinkEvents & ZapEvents & PublisherEvents & { replayFailed(problem: { readonly reason: string }): void }; // prettier-ignore

/** Opens the store and every output. Rejects with ARCHIVE_FAILED, CONFIG_INVALID or LISTEN_FAILED; then nothing stays open. */
export async function openPublishing(keys: AlertKeys, context: PublishingContext): Promise<Publishing> {
  const events = loggedEvents(context.log);
  // Files that cannot be used shall be known at the start, not at the first alert.
  for (const tls of [keys.syslog, keys.webhook]) if (tls !== undefined) readClientTls(tls);
  const store = new AlertStore({ path: keys.store.path });
  try {
    const bus = keys.bus === undefined ? null : createBus(keys.bus, store, context.agent, events);
    await bus?.open();
    return new Publishing(keys, context, store, bus, events);
  } catch (error) {
    store.close();
    throw error;
  }
}

export class Publishing {
  readonly store: AlertStore;
  readonly publisher: Publisher;
  readonly bus: Bus | null;
  readonly #keys: AlertKeys;
  readonly #log: Log;
  readonly #health: HealthReporter;
  readonly #watch: HeartbeatWatch;
  readonly #timers: NodeJS.Timeout[];
  readonly #closing = new AbortController();
  readonly #stop: AbortSignal;

  constructor(
    keys: AlertKeys,
    context: PublishingContext,
    store: AlertStore,
    bus: Bus | null,
    events: Events,
  ) {
    // prettier-ignore
    this.#keys = keys;
    this.#stop = AbortSignal.any([this.#closing.signal, ...(context.stop === undefined ? [] : [context.stop])]); // prettier-ignore
    this.#log = context.log;
    this.store = store;
    this.bus = bus;
    this.publisher = new Publisher(store, outputsOf(keys, bus, context, events), events);
    const { interval, expect } = keys.heartbeat;
    this.#health = new HealthReporter(
      { agent: context.agent, version: context.version, intervalMs: interval },
      {
        packets: () => context.packets(),
        alerts: () => store.counters.stored,
        lastSequence: () => store.range().last,
        queues: () => this.publisher.queues(),
      },
    );
    this.#watch = new HeartbeatWatch(
      { expected: expect, intervalMs: interval },
      {
        missed: (name, silentMs) => context.missed?.(name, silentMs),
        returned: (name, silentMs) => context.returned?.(name, silentMs),
      },
      () => performance.now(),
    );
    this.publisher.resume();
    this.#timers = [
      setInterval(() => { this.#beat(); }, interval).unref(),
      setInterval(() => { this.#prune(); }, PRUNE_INTERVAL_MS).unref(),
    ]; // prettier-ignore
  }

  /** The store refuses and tellings pile up: read no further packets. */
  get isStalled(): boolean {
    return this.publisher.isStalled;
  }

  collect(alert: Alert): void {
    this.publisher.collect(alert);
  }

  /**
   * Stores and publishes. Resolves when the store has the alerts, which may take as long as its disk is full; rejects with ARCHIVE_FAILED when the
   * daemon is to stop before that.
   */
  async told(alerts: readonly Alert[]): Promise<void> {
    for (const alert of alerts) this.collect(alert);
    const retry = new RetrySchedule(STORE_RETRY, Math.random);
    while (!this.commit()) {
      if (this.#stop.aborted)
        throw new OperatingError('ARCHIVE_FAILED', `the alert store ${this.store.path} refused until the end; its last alerts will be found again`, {}); // prettier-ignore
      await sleep(retry.nextDelayMs(), undefined, { signal: this.#stop }).catch(() => undefined);
    }
  }

  /** See `Publisher.commit`. */
  commit(alongside?: () => void): boolean {
    return this.publisher.commit(alongside);
  }

  heard(name: string): void {
    this.#watch.heard(name);
  }

  /** New files, tokens and lists. What cannot be used leaves the old in force, and is said. */
  reopen(): void {
    try {
      this.publisher.reopen();
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#log.error({ problem: error.message }, 'An output cannot be opened anew; it goes on as it was.');
    }
  }

  books(): Books {
    const bus = this.bus === null ? {} : { bus: { ...this.bus.counters, ...this.bus.zapCounters } };
    return { ...this.publisher.books(), ...bus, silentNow: this.#watch.silent.length };
  }

  async close(deadlineMs: number): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#closing.abort();
    // Whoever waits in `told` tries once more, or is told, before the store is closed.
    await turn();
    await this.publisher.close(deadlineMs);
    this.store.close();
  }

  #beat(): void {
    this.#watch.check();
    try {
      this.publisher.health(this.#health.report());
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#log.error({ problem: error.message }, 'The alert store cannot be read.');
    }
  }

  #prune(): void {
    const { retention, rows_max } = this.#keys.store;
    try {
      const rows = this.store.prune(Date.now() - retention, rows_max);
      if (rows > 0) this.#log.info({ rows }, 'Old alerts were deleted from the store.');
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#log.error({ problem: error.message }, 'Old alerts cannot be deleted from the store.');
    }
  }
}

function createBus(
  keys: NonNullable<AlertKeys['bus']>,
  store: AlertStore,
  agent: string,
  events: Events,
): Bus {
  // prettier-ignore
  return new Bus(
    { agent, listen: keys.listen, replay: keys.replay ?? null, curve: keys.curve ?? null },
    {
      events,
      replay: (fromSequence, limit): AlertRecord[] => store.since(fromSequence - 1, limit).map(recordOf),
      range: () => store.range(),
    },
  );
}

function outputsOf(keys: AlertKeys, bus: Bus | null, context: PublishingContext, events: Events): Output[] {
  const { eve, zeek, syslog, webhook, stdout } = keys;
  const { version } = context;
  const outputs: Output[] = [];
  if (eve !== undefined) outputs.push({ sink: eveSink(eve, events), severity: eve.severity });
  if (zeek !== undefined) outputs.push({ sink: zeekSink(zeek, events), severity: zeek.severity });
  if (syslog !== undefined) {
    const tls = syslog.transport === 'tls' ? () => readClientTls(syslog) : null;
    outputs.push({ sink: syslogSink({ ...syslog, version, tls }, events), severity: syslog.severity });
  }
  if (webhook !== undefined) {
    const options = {
      url: webhook.url,
      tokenFile: webhook.token_file,
      tls: () => readClientTls(webhook),
      timeoutMs: webhook.timeout,
      batchMax: webhook.batch,
      attemptsMax: webhook.attempts,
    };
    outputs.push({ sink: webhookSink(options, events), severity: webhook.severity });
  }
  if (stdout !== undefined) outputs.push({ sink: stdoutSink(stdout, events), severity: stdout.severity });
  if (bus !== null) outputs.push({ sink: bus.sink, severity: keys.bus?.severity ?? 'info' });
  return outputs;
}

/** One function per event: few lines a minute of each kind, for a SOC may be away for long. */
function loggedEvents(log: Log): Events {
  const sparingly = new Sparingly();
  const tell = (kind: string, level: 'info' | 'warn' | 'error', fields: object, message: string): void => {
    sparingly.tell(kind, (leftOut) => {
      log[level]({ ...fields, ...(leftOut > 0 ? { leftOut } : {}) }, message);
    });
  };
  return {
    failed: (failure) => {
      tell(`failed ${failure.sink}`, 'warn', failure, 'An output of alerts does not take them; they wait.');
    },
    recovered: (recovery) => {
      tell(`recovered ${recovery.sink}`, 'info', recovery, 'An output of alerts takes them again.');
    },
    dropped: (loss) => {
      tell(`dropped ${loss.sink}`, 'error', loss, 'Alerts were given up for an output; the store has them.');
    },
    refused: (refusal) => {
      tell('refused', 'warn', refusal, 'A subscriber was not admitted to the bus.');
    },
    replayFailed: (problem) => {
      tell('replay', 'warn', problem, 'A replay was not given.');
    },
    storeFailed: (problem, pending) => {
      tell('store', 'error', { problem: problem.message, pending }, 'The alert store refuses; alerts wait.');
    },
    storeRecovered: () => {
      tell('store again', 'info', {}, 'The alert store takes alerts again.');
    },
    resumed: (resumption) => {
      tell(`resumed ${resumption.sink}`, 'info', resumption, 'An output gets the alerts it has missed.');
    },
  };
}
