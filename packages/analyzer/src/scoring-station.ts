/**
 * The models as the daemon has them: loaded at the start and again at SIGHUP, scoring flows and packets of all sensors in one worker. A live stream
 * never waits for them: what finds no room is not scored, and counted. An archive waits: its packets are not lost meanwhile, and a backlog then gives the same alerts
 * as it would have live.
 */
import { messageOf } from '@tapline/shared/base/errors.ts';
import type { Books } from '@tapline/shared/observe/books.ts';
import type { Log } from '@tapline/shared/observe/log.ts';
import type { Engine } from './engine.ts';
import type { Flow } from './flow/flow.ts';
import { FlowScoring } from './model/flow-scoring.ts';
import { readModels, type LoadedModel } from './model/model-file.ts';
import { PacketScoring } from './model/packet-scoring.ts';
import { Scorer } from './model/scorer.ts';
import { SHIPPED_MODELS } from './model/shipped-models.ts';
import type { PacketView } from './packet/packet-view.ts';

export interface ScoringOptions {
  readonly enabled: boolean;
  /** The shipped ones where it is not given. */
  readonly directory?: string | undefined;
  readonly shadow?: string | undefined;
  /** A baseline's directory: its models are used beside the others. */
  readonly baseline?: string | undefined;
}

/** Files of a baseline's directory that are no models. */
const NO_MODELS = ['baseline'];

export class ScoringStation {
  readonly #flows: FlowScoring;
  readonly #packets: PacketScoring;
  readonly #scorer: Scorer;
  readonly #log: Log;

  private constructor(mayWait: boolean, log: Log) {
    this.#scorer = new Scorer();
    this.#flows = new FlowScoring(this.#scorer, mayWait);
    this.#packets = new PacketScoring(this.#scorer, mayWait);
    this.#log = log;
  }

  /** Throws CONFIG_INVALID for a model that is refused. `mayWait`: the input can be kept waiting. */
  static async start(options: ScoringOptions, mayWait: boolean, log: Log): Promise<ScoringStation> {
    const station = new ScoringStation(mayWait, log);
    try {
      await station.#use(options);
    } catch (error) {
      await station.close();
      throw error;
    }
    return station;
  }

  /** Reads the models again. What is refused leaves those in force that are. */
  async reload(options: ScoringOptions): Promise<void> {
    try {
      await this.#use(options);
    } catch (error) {
      this.#log.error({ problem: messageOf(error) }, 'The models are not taken; those before stay in force.');
    }
  }

  get books(): Books {
    return { ...this.#flows.books, ...this.#packets.books, batchesNow: this.#scorer.depth };
  }

  /** Of the flow that was scored last. */
  get lastScore(): number {
    return this.#flows.lastScore;
  }

  /** Whether that flow was told. */
  get lastWasTold(): boolean {
    return this.#flows.lastWasTold;
  }

  /** Reading should pause until `settled`. */
  get isBusy(): boolean {
    return this.#flows.isBusy;
  }

  flowEnded(flow: Flow, values: Float64Array, engine: Engine): void {
    this.#flows.add(flow, values, engine);
  }

  packet(flow: Flow | null, view: PacketView, engine: Engine): void {
    if (flow !== null) this.#packets.add(flow, view, engine);
  }

  /** Hands over what has been collected; its scores come later. */
  flush(): void {
    this.#flows.flush();
    this.#packets.flush();
  }

  /** Hands over what has been collected and waits for every score. */
  async settled(): Promise<void> {
    this.flush();
    await this.#flows.settled();
    await this.#packets.settled();
  }

  async close(): Promise<void> {
    await this.#scorer.close();
  }

  async #use(options: ScoringOptions): Promise<void> {
    const { enabled, directory, shadow, baseline } = options;
    const models: LoadedModel[] = enabled ? readModels(directory ?? SHIPPED_MODELS) : [];
    if (baseline !== undefined) models.push(...readModels(baseline, NO_MODELS));
    const shadows = enabled && shadow !== undefined ? readModels(shadow) : [];
    await this.#flows.use(models, shadows);
    await this.#packets.use(models);
    const names = [...models, ...shadows].map(({ manifest }) => manifest.name);
    if (names.length > 0) this.#log.info({ models: names }, 'Models loaded.');
  }
}
