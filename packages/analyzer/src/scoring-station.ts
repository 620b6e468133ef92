/**
 * The models at work, of a daemon or of one pass over files: scoring flows and packets of all sensors in one worker. A live stream never waits for them: what
 * finds no room is not scored, and counted. Files and an archive wait: their packets are not lost meanwhile, and a backlog then gives the same alerts
 * as it would have live. A daemon reads its models at the start and again at SIGHUP.
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

export interface ModelSet {
  readonly models: readonly LoadedModel[];
  /** Scored beside the others; they alert nobody. */
  readonly shadows: readonly LoadedModel[];
}

/** Files of a baseline's directory that are no models. */
const NO_MODELS = ['baseline'];

export class ScoringStation {
  readonly #flows: FlowScoring;
  readonly #packets: PacketScoring;
  readonly #scorer: Scorer;

  private constructor(mayWait: boolean) {
    this.#scorer = new Scorer();
    this.#flows = new FlowScoring(this.#scorer, mayWait);
    this.#packets = new PacketScoring(this.#scorer, mayWait);
  }

  /** With models that are read already. `mayWait`: the input can be kept waiting. Throws CONFIG_INVALID for a model that is refused. */
  static async of(models: ModelSet, mayWait: boolean): Promise<ScoringStation> {
    const station = new ScoringStation(mayWait);
    try {
      await station.#use(models);
    } catch (error) {
      await station.close();
      throw error;
    }
    return station;
  }

  /** As a daemon has it: with the models that its configuration names. Throws CONFIG_INVALID for one that is refused. */
  static async start(options: ScoringOptions, mayWait: boolean, log: Log): Promise<ScoringStation> {
    const models = modelsOf(options);
    const station = await ScoringStation.of(models, mayWait);
    logModels(models, log);
    return station;
  }

  /** Reads the models again. What is refused leaves those in force that are. */
  async reload(options: ScoringOptions, log: Log): Promise<void> {
    try {
      const models = modelsOf(options);
      await this.#use(models);
      logModels(models, log);
    } catch (error) {
      log.error({ problem: messageOf(error) }, 'The models are not taken; those before stay in force.');
    }
  }

  get books(): Books {
    return { ...this.modelBooks, batchesNow: this.#scorer.depth };
  }

  /** What each model did, by its name. */
  get modelBooks(): Record<string, Record<string, number>> {
    return { ...this.#flows.books, ...this.#packets.books };
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

  async #use({ models, shadows }: ModelSet): Promise<void> {
    await this.#flows.use(models, shadows);
    await this.#packets.use(models);
  }
}

function modelsOf({ enabled, directory, shadow, baseline }: ScoringOptions): ModelSet {
  const models = enabled ? readModels(directory ?? SHIPPED_MODELS) : [];
  if (baseline !== undefined) models.push(...readModels(baseline, NO_MODELS));
  return { models, shadows: enabled && shadow !== undefined ? readModels(shadow) : [] };
}

function logModels({ models, shadows }: ModelSet, log: Log): void {
  const names = [...models, ...shadows].map(({ manifest }) => manifest.name);
  if (names.length > 0) log.info({ models: names }, 'Models loaded.');
}
