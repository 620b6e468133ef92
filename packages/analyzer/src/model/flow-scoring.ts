/**
 * Scores flows as they end: fills each model's inputs, hands them over in batches, and turns scores above the model's threshold into findings. A
 * shadow model scores as the others do and alerts nobody: its scores stand in the metrics and with the flow, for comparing before it takes over.
 */
import type { FeatureShare, Finding } from '../alert/finding.ts';
import { VECTORS } from '../feature/schema.ts';
import type { WindowState } from '../feature/window-features.ts';
import { isGroupAddress, type NetworkList } from '../asset/networks.ts';
import { SENT_DATA, SENT_FIN, SENT_RST, SENT_SYN_ACK, type Flow } from '../flow/flow.ts';
import { PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP } from '../packet/packet-view.ts';
import { protocolName } from '../rule/detector.ts';
import type { KeyedWindows } from '../rule/keyed-window.ts';
import type { LoadedModel, ModelManifest } from './model-file.ts';
import type { Scorer } from './scorer.ts';
import { FlowInputs } from './vectors.ts';

const BATCH_ROWS = 256;
/** Features named in an alert. */
const CONTRIBUTIONS = 5;
/** Explaining costs a batch of as many rows as there are features: the first flow of an alert is explained. */
const EXPLAINED_PER_BATCH_MAX = 8;

/** Who is refused more slowly than this waits for a service that is down. */
const SELDOM_PER_SECOND = 10;
/** So many times as many connections that went well make a flood. */
const WHOLE_FACTOR = 5;
const RATES_AT = ['client_connection_rate', 'service_connection_rate'].map((name) => VECTORS.level2.findIndex((feature) => feature.name === name)); // prettier-ignore

/** What a flow needs of its engine. */
export interface ScoringHost {
  readonly windows: WindowState;
  readonly internal: NetworkList;
  readonly packetUs: number;
  /** Flows that a model told, by model and victim, and alerts that were explained. */
  readonly modelFlows: KeyedWindows;
  report(finding: Finding, flow: Flow): unknown;
}

interface Active {
  readonly manifest: ModelManifest;
  /** As the scores stand with the flow and in the metrics. */
  readonly name: string;
  readonly number: number;
  readonly isShadow: boolean;
  readonly width: number;
  readonly rows: Float32Array;
  flows: { flow: Flow; host: ScoringHost; timeUs: number }[];
  readonly counters: { scored: number; told: number; dropped: number; failed: number };
  lastScore: number;
  /** Batches are taken in the order in which they were handed over, whatever explaining one of them takes. */
  order: Promise<void>;
}

export class FlowScoring {
  readonly #scorer: Scorer;
  readonly #mustWait: boolean;
  readonly #inputs = new FlowInputs();
  #active: Active[] = [];
  #underWay = new Set<Promise<void>>();

  /** `mustWait`: nothing is dropped, `settled` is to be awaited now and then (offline). */
  constructor(scorer: Scorer, mustWait: boolean) {
    this.#scorer = scorer;
    this.#mustWait = mustWait;
  }

  /** Takes these models from here on; rows under way are scored by those they were meant for. */
  async use(models: readonly LoadedModel[], shadows: readonly LoadedModel[] = []): Promise<void> {
    const next: Active[] = [];
    for (const [list, isShadow] of [
      [models, false],
      [shadows, true],
    ] as const)
      for (const { manifest, onnx } of list) {
        if (manifest.vector === 'packet') continue;
        const width = VECTORS[manifest.vector].length;
        next.push({
          manifest,
          name: `${manifest.name}${isShadow ? '-shadow' : ''}`,
          number: await this.#scorer.load(manifest.name, onnx),
          isShadow,
          width,
          rows: new Float32Array(BATCH_ROWS * width),
          flows: [],
          counters: { scored: 0, told: 0, dropped: 0, failed: 0 },
          lastScore: 0,
          order: Promise.resolve(),
        });
      }
    this.flush();
    this.#active = next;
  }

  get books(): Record<string, Record<string, number>> {
    return Object.fromEntries(
      this.#active.map(({ name, counters, lastScore }) => [name, { ...counters, scoreNow: lastScore }]),
    );
  }

  /** Whether one of the last scores was above its threshold. */
  get lastWasTold(): boolean {
    return this.#active.some(
      ({ manifest, lastScore, isShadow }) => !isShadow && lastScore >= manifest.threshold,
    );
  }

  /** The highest of the last scores: what the older prototype's gauge shows. */
  get lastScore(): number {
    return this.#active.reduce(
      (most, { lastScore, isShadow }) => (isShadow ? most : Math.max(most, lastScore)),
      0,
    );
  }

  /** The flow ended; its numbers are still in `values`. */
  add(flow: Flow, values: Float64Array, host: ScoringHost): void {
    if (flow.protocol === -1 || isIcmpError(flow) || this.#active.length === 0) return;
    this.#inputs.read(flow, values, host.windows, host.packetUs);
    for (const active of this.#active) {
      if (active.manifest.internal_only && !(host.internal.has(flow.client) && host.internal.has(flow.server))) continue; // prettier-ignore
      const vector = active.manifest.vector as 'level1';
      this.#inputs.write(vector, active.rows, active.flows.length * active.width);
      active.flows.push({ flow, host, timeUs: flow.lastUs });
      if (active.flows.length === BATCH_ROWS) this.#submit(active);
    }
  }

  /** Hands over what has been collected. */
  flush(): void {
    for (const active of this.#active) if (active.flows.length > 0) this.#submit(active);
  }

  /** Everything that was handed over is scored. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /** Too much is under way: who can wait should. */
  get isBusy(): boolean {
    return this.#mustWait && !this.#scorer.hasRoom;
  }

  #submit(active: Active): void {
    const { flows, rows, width } = active;
    active.flows = [];
    if (!this.#mustWait && !this.#scorer.hasRoom) {
      active.counters.dropped += flows.length;
      return;
    }
    // One copy for the worker, one for explaining; the rows are filled anew.
    const filled = rows.slice(0, flows.length * width);
    const scored = this.#scorer.score(active.number, filled.slice(), width);
    const work = Promise.all([scored, active.order]).then(async ([scores]) => {
      if (scores === null) {
        active.counters.failed += flows.length;
        return;
      }
      active.counters.scored += flows.length;
      await this.#take(active, flows, filled, scores);
    });
    active.order = work;
    this.#underWay.add(work);
    void work.finally(() => this.#underWay.delete(work));
  }

  async #take(
    active: Active,
    flows: Active['flows'],
    rows: Float32Array,
    scores: Float32Array,
  ): Promise<void> {
    const { manifest, width } = active;
    let explained = 0;
    for (let i = 0; i < flows.length; i++) {
      const score = scores[i] as number;
      const { flow, host, timeUs } = flows[i] as Active['flows'][number];
      flow.scores[active.name] = score;
      active.lastScore = score;
      if (score < manifest.threshold) continue;
      active.counters.told++;
      const row = rows.subarray(i * width, (i + 1) * width);
      if (active.isShadow || (manifest.flows_told > 1 && isNoFlood(flow, row))) continue;
      const isBelieved = this.#isBelieved(host, manifest, flow, timeUs);
      let why: readonly FeatureShare[] = [];
      if (explained < EXPLAINED_PER_BATCH_MAX && isFirst(host, manifest, flow, timeUs)) {
        explained++;
        why = await this.#explain(active, row, score);
      }
      host.report(finding(manifest, flow, timeUs, score, why, isBelieved), flow);
    }
  }

  /** Enough flows of the same group were told. */
  #isBelieved(host: ScoringHost, manifest: ModelManifest, flow: Flow, timeUs: number): boolean {
    // What strangers do to strangers on this network is not the plant's trouble: foreign-hosts tells of it.
    if (!host.internal.has(flow.client) && !host.internal.has(flow.server)) return false;
    if (manifest.flows_told === 1) return true;
    const needed = isWhole(flow) ? WHOLE_FACTOR * manifest.flows_told : manifest.flows_told;
    return host.modelFlows.add(`${manifest.name} ${groupOf(manifest, flow)}`, timeUs).count >= needed;
  }

  /** The features without which the score would be lower: each is put to the median of benign flows in turn. */
  async #explain(active: Active, row: Float32Array, score: number): Promise<readonly FeatureShare[]> {
    const { manifest, width } = active;
    const rows = new Float32Array(width * width);
    for (let i = 0; i < width; i++) {
      rows.set(row, i * width);
      rows[i * width + i] = manifest.medians[i] as number;
    }
    const scores = await this.#scorer.score(active.number, rows, width);
    if (scores === null) return [];
    return VECTORS[manifest.vector]
      .map(({ name }, i) => ({ name, value: row[i] as number, contribution: score - (scores[i] as number) }))
      .filter(({ contribution }) => contribution > 0.001)
      .sort((a, b) => b.contribution - a.contribution)
      .slice(0, CONTRIBUTIONS);
  }
}

/** What is sent to a group goes to nobody; refused, or seen by half, it comes too seldom for a flood. `row`: of level 2. */
function isNoFlood(flow: Flow, row: Float32Array): boolean {
  if (isGroupAddress(flow.server)) return true;
  const { protocol, clientState, serverState } = flow;
  const isRefused = (serverState & (SENT_RST | SENT_SYN_ACK)) === SENT_RST;
  if (protocol !== PROTO_TCP || (!isRefused && clientState !== 0)) return false;
  return RATES_AT.every((at) => (row[at] as number) < SELDOM_PER_SECOND);
}

/** A connection that was opened, used by both ends, and closed in order. */
function isWhole({ protocol, clientState, serverState }: Flow): boolean {
  return protocol === PROTO_TCP && (clientState & serverState & SENT_FIN) !== 0 && (clientState & serverState & SENT_DATA) !== 0; // prettier-ignore
}

/** The first flow of its alert, or of this alert's last ten minutes. */
function isFirst(host: ScoringHost, manifest: ModelManifest, flow: Flow, timeUs: number): boolean {
  return host.modelFlows.add(`${manifest.name} why ${groupOf(manifest, flow)}`, timeUs).count === 1;
}

/** Of a flood the senders may be made up: it is told by its victim, and of the flows that were scored so. */
function groupOf(manifest: ModelManifest, flow: Flow): string {
  if (manifest.flows_told === 1) return `${flow.client} ${flow.server}`;
  return isWhole(flow) ? `${victim(flow)} whole` : victim(flow);
}

function finding(
  manifest: ModelManifest,
  flow: Flow,
  timeUs: number,
  score: number,
  why: readonly FeatureShare[],
  isBelieved: boolean,
): Finding {
  const isFlood = manifest.flows_told > 1;
  return {
    rule: `model-${manifest.name}`,
    title: manifest.title,
    severity: isBelieved ? manifest.severity : 'info',
    score,
    technique: manifest.technique,
    timeUs,
    source: isFlood ? '' : flow.client,
    destination: isFlood ? victim(flow) : flow.server,
    port: flow.serverPort,
    protocol: flow.service || protocolName(flow.protocol),
    evidence: `score ${score.toFixed(3)}, threshold ${manifest.threshold.toFixed(3)}${why.length === 0 ? '' : `: ${why.map(words).join(', ')}`}`,
    ...(why.length === 0 ? {} : { features: why }),
    group: groupOf(manifest, flow),
    scope: isFlood
      ? { client: '', fromUs: flow.startUs, toUs: flow.lastUs }
      : { client: flow.client, server: flow.server, serverPort: flow.serverPort, protocol: flow.protocol, fromUs: flow.startUs, toUs: flow.lastUs }, // prettier-ignore
  };
}

function words({ name, value, contribution }: FeatureShare): string {
  return `${name} = ${Number(value.toPrecision(4))} (+${contribution.toFixed(3)})`;
}

/** Who is flooded: the server, or, of answers that nobody asked for, the client. */
function victim(flow: Flow): string {
  return flow.wasReversed ? flow.client : flow.server;
}

/** Unreachable, time exceeded and the like speak of another flow. */
function isIcmpError(flow: Flow): boolean {
  if (flow.protocol === PROTO_ICMP) return flow.clientPort === 3 || flow.clientPort === 4 || flow.clientPort === 5 || flow.clientPort === 11 || flow.clientPort === 12; // prettier-ignore
  return flow.protocol === PROTO_ICMPV6 && flow.clientPort < 128;
}
