/**
 * The analyzer's row:
 *
 *   archive ─▶ tail ─┐                ┌─ for each sensor ─────────────────────────────────────────┐
 *   files ───▶ tail ─┼─▶ count ─▶ take ─▶ live merge ─▶ engine (flows, protocols, rules) ─▶ alerts ─▶ outlet
 *   stream ──────────┘                └──────────────────────────────────────────────────┘  └─▶ flows file
 *
 * It reads the archive and writes nothing there. Between two pieces of input everything stands still, and that is when a checkpoint is taken: what
 * the tail handed out has gone through the count and into a merge, so that all parts speak of the same packets. Alerts are in safe hands before
 * the checkpoint that forgets the packets they came from.
 */
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { changedKeys } from '@tapline/shared/config/reload.ts';
import { EXIT_CLEAN, EXIT_DAMAGED_INPUT } from '@tapline/shared/daemon/exit-code.ts';
import { packageVersion, type DaemonContext, type RunningDaemon } from '@tapline/shared/daemon/run.ts';
import type { Books, Sample } from '@tapline/shared/observe/books.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { LogOutlet, outletToAll, type AlertOutlet } from './alert-outlet.ts';
import { readBaseline, type Baseline } from './asset/baseline.ts';
import { prototypeSamples, sensorBooks, sumOfEngines, trafficRows } from './books.ts';
import { Checkpointer } from './checkpoint/checkpointer.ts';
import type { AnalyzerConfig } from './config.ts';
import { TrafficTable } from './count/traffic-table.ts';
import type { EngineEvents } from './engine.ts';
import { checkpointEvents, packetEvents, tailEvents, streamEvents } from './events.ts';
import { FlowLog, type FlowText } from './flow-log.ts';
import { HouseDesk } from './house-desk.ts';
import { inputFiles } from './merge/input-files.ts';
import type { PacketView } from './packet/packet-view.ts';
import { openPublishing, type Publishing } from './publish/publishing.ts';
import { RowOutput } from './row-output.ts';
import { inputOf, resumedFrom, type RowState } from './row-state.ts';
import { RulesWatch } from './rules-watch.ts';
import { ScoringStation, type ScoringOptions } from './scoring-station.ts';
import type { StationState } from './sensor-station.ts';
import { SensorStations } from './sensor-stations.ts';
import { ArchiveTail, type Piece } from './tail/archive-tail.ts';
import { StreamInput } from './tail/stream-input.ts';

/** Other work has its turn after so much of the input: signals, the status page, the watchdog. */
const TURN_MS = 20;
/** Flows that wait for a checkpoint to be written; beyond it one is taken at once. */
const FLOW_CHARACTERS_MAX = 32 * 1024 * 1024;
/** How long reading goes on after the signal, where the rest can be read after the next start. */
const STOP_MS = 10_000;
/** How often a changed rules file is looked for, and flows are written where there are no checkpoints. */
const CARE_MS = 1000;
/** How long outputs of alerts have at the end; the store has them all. */
const CLOSE_MS = 5000;

/** Sets the row going. `outlet`: where alerts go, unless to the log. */
export async function startAnalyzer(
  loaded: LoadedConfig<AnalyzerConfig>,
  context: DaemonContext,
  outlet?: AlertOutlet,
): Promise<RunningDaemon> {
  const config = loaded.value;
  const baselinePath = config.baseline;
  const baseline = baselinePath === undefined ? null : readBaseline(join(baselinePath, 'baseline.json'));
  // A stream cannot be kept waiting; files and archives can.
  const mayWait = !config.input.stdin && config.input.tcp === undefined;
  const scoring = await ScoringStation.start(scoringOptions(config), mayWait, context.log);
  const house = new HouseDesk();
  let analyzer: Analyzer | null = null;
  try {
    const publishing =
      config.alerts === undefined
        ? null
        : await openPublishing(config.alerts, {
            log: context.log,
            agent: hostname(),
            version: packageVersion(),
            stop: context.stop,
            packets: () => analyzer?.packets ?? 0,
            missed: (name, silentMs) => house.missed(name, silentMs),
          });
    analyzer = new Analyzer(config, context, { scoring, publishing, baseline, house, outlet });
    return analyzer;
  } catch (error) {
    await scoring.close();
    throw error;
  }
}

/** What the row is given, opened. */
interface Parts {
  readonly scoring: ScoringStation;
  readonly publishing: Publishing | null;
  readonly baseline: Baseline | null;
  readonly house: HouseDesk;
  readonly outlet: AlertOutlet | undefined;
}

class Analyzer implements RunningDaemon {
  readonly finished: Promise<number>;
  readonly #config: AnalyzerConfig;
  readonly #context: DaemonContext;
  readonly #output: RowOutput;
  readonly #rules: RulesWatch;
  readonly #scoring: ScoringStation;
  readonly #publishing: Publishing | null;
  readonly #house: HouseDesk;
  /** One of the two. */
  readonly #tail: ArchiveTail | null;
  readonly #stream: StreamInput | null;
  readonly #checkpointer: Checkpointer | null;
  readonly #table = new TrafficTable();
  readonly #stations: SensorStations;
  /** Something came since the last checkpoint. */
  #hasNews = false;
  #stoppedMs: number | null = null;
  readonly #packetFailed: (error: unknown, view: PacketView) => void;
  #caredMs = performance.now();
  #turnedMs = performance.now();

  constructor(config: AnalyzerConfig, context: DaemonContext, parts: Parts) {
    this.#config = config;
    this.#context = context;
    this.#scoring = parts.scoring;
    this.#publishing = parts.publishing;
    this.#house = parts.house;
    const { log } = context;
    const { input, flows, state_directory: directory } = config;
    const logged = new LogOutlet(log, config.alerts_file);
    const outlet =
      parts.outlet ?? (parts.publishing === null ? logged : outletToAll([parts.publishing, logged]));
    const flowLog = flows === undefined ? null : new FlowLog(flows.format, flows.file);
    this.#output = new RowOutput(outlet, flowLog, log);
    this.#rules = new RulesWatch(config.rules, log);
    this.#packetFailed = packetEvents(log, (file) => this.#fileName(file));
    const place = input.stdin ? 'stdin' : input.tcp;
    this.#stream = place === undefined ? null : new StreamInput(place, input.sensor, streamEvents(log));
    const files = input.files === undefined ? {} : { files: inputFiles(input.files) };
    this.#tail = this.#stream === null ? new ArchiveTail(input.directory, tailEvents(log), files) : null;
    const dependencies = { files: systemFiles, monotonicMs: () => performance.now() };
    this.#checkpointer = directory === undefined ? null : new Checkpointer(directory, config.checkpoint_interval, checkpointEvents(log), dependencies); // prettier-ignore
    // A stream is one file: there is nothing to wait for.
    const windowMs = this.#stream === null ? input.reorder_window : 0;
    const fileName = (file: number): string => this.#fileName(file);
    this.#stations = new SensorStations({ baseline: parts.baseline, windowMs, fileName }, this.#rules.rules, (sensor) => this.#engineEvents(sensor), log); // prettier-ignore
    this.#restore();
    this.finished = this.#run();
  }

  /** Packets so far. */
  get packets(): number {
    return this.#table.packets;
  }

  samples(): readonly Sample[] {
    return prototypeSamples(this.#stations, this.#scoring);
  }

  books(): Books {
    const stations = [...this.#stations];
    return {
      tail: { ...(this.#tail?.counters ?? this.#stream?.counters) },
      count: { packets: this.#table.packets, bytes: this.#table.bytes },
      ...sumOfEngines(stations),
      alerts: { ...this.#output.alertsBySeverity },
      rules: { ...this.#rules.counters },
      models: this.#scoring.books,
      ...(this.#publishing === null ? {} : { publish: this.#publishing.books() }),
      ...(this.#output.flowCounters === null ? {} : { flowFile: { ...this.#output.flowCounters } }),
      ...(this.#checkpointer === null ? {} : { checkpoint: { ...this.#checkpointer.counters } }),
      sensors: sensorBooks(stations),
      sources: trafficRows(this.#table.sources()),
      protocols: trafficRows(this.#table.protocols()),
    };
  }

  async reload(loaded: LoadedConfig<unknown>): Promise<readonly string[]> {
    const config = loaded.value as AnalyzerConfig;
    this.#takeRules(config.rules);
    await this.#scoring.reload(scoringOptions(config), this.#context.log);
    this.#publishing?.reopen();
    const fixed = ['input', 'state_directory', 'checkpoint_interval', 'alerts_file', 'alerts', 'baseline', 'flows', 'statistics_interval', 'metrics'] as const; // prettier-ignore
    return changedKeys(this.#config, config, fixed);
  }

  async #run(): Promise<number> {
    const { stop, log } = this.#context;
    const statistics = setInterval(() => {
      log.info({ books: this.books() }, 'Books.');
    }, this.#config.statistics_interval).unref();
    const isWhole = this.#stream === null ? await this.#followTail(stop) : await this.#readStream(stop);
    await this.#finish(isWhole);
    clearInterval(statistics);
    await this.#scoring.close();
    await this.#publishing?.close(CLOSE_MS);
    await this.#tail?.close();
    this.#checkpointer?.close();
    return isWhole && (this.#tail?.counters.segmentsDamaged ?? 0) > 0 ? EXIT_DAMAGED_INPUT : EXIT_CLEAN;
  }

  /** Until the signal, or the end of the files: then true. */
  async #followTail(stop: AbortSignal): Promise<boolean> {
    const tail = this.#tail as ArchiveTail;
    const { files, poll_interval: pollMs } = this.#config.input;
    for (;;) {
      // Once more after the signal: what was written before it is counted before the books are closed.
      const isLast = stop.aborted;
      const beganMs = Date.now();
      for await (const piece of tail.poll()) {
        await this.#take(piece);
        if (this.#mustEnd()) return false;
      }
      this.#tick(beganMs);
      await this.#care();
      if (files !== undefined) return true;
      if (isLast) return false;
      // An archive of many segments takes a while to look through: at most a fifth of the time is spent on that.
      const waitMs = Math.max(pollMs, 4 * (Date.now() - beganMs));
      await sleep(waitMs, undefined, { signal: stop }).catch(() => undefined);
    }
  }

  /** All that was written until `asOfMs` was read. */
  #tick(asOfMs: number): void {
    for (const station of this.#stations) {
      // Its turn comes with the next look at the archive.
      if (this.#checkpointer?.awaits(station) === true) continue;
      const { merge } = station;
      const before = merge.counters.packetsOut;
      merge.release();
      merge.tick(asOfMs);
      if (merge.counters.packetsOut > before) this.#hasNews = true;
    }
  }

  /** Whether reading ends here: at once when it is to be gone on with later or not at all, else when all is read that is there. */
  #mustEnd(): boolean {
    const { stop, hurry } = this.#context;
    if (!stop.aborted) return false;
    this.#stoppedMs ??= performance.now();
    if (hurry.aborted || this.#config.input.files !== undefined) return true;
    return this.#checkpointer !== null && performance.now() - this.#stoppedMs >= STOP_MS;
  }

  /** Until the signal, or the end of the stream: then true. */
  async #readStream(stop: AbortSignal): Promise<boolean> {
    const stream = this.#stream as StreamInput;
    for await (const piece of stream.read(stop)) {
      if (piece === null) await this.#care();
      else await this.#take(piece);
    }
    return stream.isOver;
  }

  async #take(piece: Piece): Promise<void> {
    const { segment, batch, file, number, offset } = piece;
    const { bytes, byteLength, linkType } = batch;
    this.#table.add(segment, batch);
    const station = this.#stations.of(segment.sensor);
    this.#checkpointer?.secure(station);
    const { merge } = station;
    merge.add({ file, path: segment.path, bytes, byteLength, linkType, number, offset }, Date.now());
    merge.release(piece.unreadSeconds, piece.unreadNanoseconds);
    this.#publishing?.heard(segment.sensor);
    this.#hasNews = true;
    if (this.#scoring.isBusy) await this.#scoring.settled();
    const nowMs = performance.now();
    if (nowMs - this.#caredMs >= CARE_MS || this.#checkpointer?.isDue === true) await this.#care();
    if (this.#output.hasAlerts) await this.#output.tellAlerts();
    if (nowMs - this.#turnedMs < TURN_MS) return;
    await turn();
    this.#turnedMs = performance.now();
  }

  /** What is to be done now and then, between two pieces. */
  async #care(): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#caredMs >= CARE_MS) {
      this.#caredMs = nowMs;
      this.#takeRules();
    }
    this.#scoring.flush();
    this.#output.houseAlerts(this.#house.take());
    await this.#output.tellAlerts();
    const checkpointer = this.#checkpointer;
    if (checkpointer === null) this.#output.writeFlows(this.#output.takeFlows());
    else {
      if (this.#output.flowCharacters > FLOW_CHARACTERS_MAX) checkpointer.hasten();
      if (!this.#hasNews || !checkpointer.isDue) return;
      // Nothing may be on its way to a model: what it says later would be said of packets that the checkpoint has forgotten.
      await this.#scoring.settled();
      await this.#output.tellAlerts();
      void this.#checkpoint(checkpointer);
    }
  }

  /** `isWhole`: the input is over, and nothing is left to go on with. */
  async #finish(isWhole: boolean): Promise<void> {
    await this.#checkpointer?.settled();
    if (isWhole || this.#checkpointer === null) for (const station of this.#stations) station.finish();
    await this.#scoring.settled();
    for (const { engine } of this.#stations) engine.desk.flush();
    await this.#output.tellAlerts();
    if (isWhole || this.#checkpointer === null) this.#output.writeFlows(this.#output.takeFlows());
    if (isWhole) await this.#checkpointer?.remove();
    else if (this.#checkpointer !== null && this.#hasNews) await this.#checkpoint(this.#checkpointer);
  }

  /** Of everything as it stands now; sensors are taken down before they change. */
  #checkpoint(checkpointer: Checkpointer): Promise<void> {
    const flowTexts = this.#output.takeFlows();
    this.#hasNews = false;
    return checkpointer.take(this.#rules.hash, this.#rowState(flowTexts), this.#stations, (isOnDisk) => {
      this.#output.writeFlows(flowTexts);
      if (!isOnDisk) this.#hasNews = true;
    });
  }

  #rowState(flowTexts: readonly FlowText[]): RowState {
    return {
      input: inputOf(this.#config),
      tail: this.#tail?.snapshot() ?? null,
      stream: this.#stream?.snapshot() ?? null,
      count: this.#table.snapshot(),
      alertsBySeverity: this.#output.alertsBySeverity,
      flowsWritten: this.#output.flowCounters?.flowsWritten ?? 0,
      flowTexts,
    };
  }

  /** Goes on from the last checkpoint, where there is a usable one. */
  #restore(): void {
    const checkpoint = this.#checkpointer?.read() ?? null;
    const resumed = resumedFrom(checkpoint, this.#config);
    const { log } = this.#context;
    if (resumed.kind === 'resumed') {
      this.#restoreFrom(resumed.row, resumed.stations);
      const rulesChanged =
        checkpoint?.kind === 'checkpoint' && !checkpoint.rulesHash.equals(this.#rules.hash);
      log.info({ packets: this.#table.packets, sensors: resumed.stations.length, rulesChanged }, 'Going on from the last checkpoint.'); // prettier-ignore
    } else if (resumed.kind === 'refused') {
      const reread = this.#stream === null ? `all of ${inputOf(this.#config)} is read again` : 'what streams brought before is forgotten'; // prettier-ignore
      log.warn({ checkpoint: this.#checkpointer?.path, reason: resumed.reason, reread }, 'The checkpoint is not usable; beginning anew.'); // prettier-ignore
    }
  }

  #restoreFrom(row: RowState, stations: readonly StationState[]): void {
    if (row.tail !== null) this.#tail?.restore(row.tail);
    if (row.stream !== null) this.#stream?.restore(row.stream);
    this.#table.restore(row.count);
    this.#output.restore(row);
    for (const state of stations) this.#stations.of(state.sensor).restore(state, Date.now());
  }

  #fileName(file: number): string {
    return this.#tail?.names.nameOf(file) ?? this.#stream?.segment.path ?? '';
  }

  #engineEvents(sensor: string): EngineEvents {
    return {
      packet: (flow, view) => {
        this.#scoring.packet(flow, view, this.#stations.of(sensor).engine);
      },
      failed: this.#packetFailed,
      alert: (alert, isNew) => {
        this.#output.alert(alert, isNew);
      },
      flowEnded: (flow, values, engine) => {
        this.#scoring.flowEnded(flow, values, engine);
        this.#output.flow(flow, values, sensor);
      },
    };
  }

  #takeRules(file = this.#config.rules): void {
    if (!this.#rules.hasChanged(file)) return;
    this.#checkpointer?.secureAll();
    this.#stations.setRules(this.#rules.rules);
  }
}

function scoringOptions({ models, baseline }: AnalyzerConfig): ScoringOptions {
  return { ...models, baseline };
}
