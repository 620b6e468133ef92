/**
 * Scores single packets with the autoencoder of the baseline: ten numbers a packet, a thousand packets a batch. One strange packet says little; PACKETS_TOLD of
 * them in one flow are told.
 */
import { VECTORS } from '../feature/schema.ts';
import { packetFeatures } from '../feature/packet-features.ts';
import type { Flow } from '../flow/flow.ts';
import type { PacketView } from '../packet/packet-view.ts';
import { protocolName } from '../rule/detector.ts';
import type { ScoringHost } from './flow-scoring.ts';
import type { LoadedModel, ModelManifest } from './model-file.ts';
import type { Scorer } from './scorer.ts';

const BATCH_ROWS = 1024;
const WIDTH = VECTORS.packet.length;
const PACKETS_TOLD = 5;

interface Waiting {
  readonly flow: Flow;
  readonly host: Pick<ScoringHost, 'report'>;
  readonly timeUs: number;
}

export class PacketScoring {
  readonly counters = { scored: 0, strange: 0, dropped: 0, failed: 0 };
  lastScore = 0;
  readonly #scorer: Scorer;
  readonly #mustWait: boolean;
  #manifest: ModelManifest | null = null;
  #model = -1;
  #rows = new Float32Array(BATCH_ROWS * WIDTH);
  #waiting: Waiting[] = [];
  #order: Promise<void> = Promise.resolve();

  constructor(scorer: Scorer, mustWait: boolean) {
    this.#scorer = scorer;
    this.#mustWait = mustWait;
  }

  /** Takes the model for packets, if one of these is. */
  async use(models: readonly LoadedModel[]): Promise<void> {
    const mine = models.find(({ manifest }) => manifest.vector === 'packet');
    this.flush();
    this.#model = mine === undefined ? -1 : await this.#scorer.load(mine.manifest.name, mine.onnx);
    this.#manifest = mine?.manifest ?? null;
  }

  get books(): Record<string, Record<string, number>> {
    return this.#manifest === null
      ? {}
      : { [this.#manifest.name]: { ...this.counters, scoreNow: this.lastScore } };
  }

  add(flow: Flow, view: PacketView, host: Pick<ScoringHost, 'report'>): void {
    if (this.#manifest === null || !view.isIp) return;
    packetFeatures(view, this.#rows, this.#waiting.length * WIDTH);
    this.#waiting.push({ flow, host, timeUs: view.timeUs });
    if (this.#waiting.length === BATCH_ROWS) this.flush();
  }

  flush(): void {
    const { length } = this.#waiting;
    const manifest = this.#manifest;
    if (length === 0 || manifest === null) return;
    const waiting = this.#waiting;
    const rows = this.#rows.slice(0, length * WIDTH);
    this.#waiting = [];
    if (!this.#mustWait && !this.#scorer.hasRoom) {
      this.counters.dropped += length;
      return;
    }
    const scored = this.#scorer.score(this.#model, rows, WIDTH);
    this.#order = Promise.all([scored, this.#order]).then(([scores]) => {
      if (scores === null) this.counters.failed += length;
      else this.#take(manifest, waiting, scores);
    });
  }

  async settled(): Promise<void> {
    await this.#order;
  }

  #take(manifest: ModelManifest, waiting: readonly Waiting[], scores: Float32Array): void {
    this.counters.scored += waiting.length;
    waiting.forEach(({ flow, host, timeUs }, i) => {
      const score = scores[i] as number;
      this.lastScore = score;
      if (score < manifest.threshold) return;
      this.counters.strange++;
      const strange = (flow.scores['strange-packets'] ?? 0) + 1;
      flow.scores['strange-packets'] = strange;
      if (strange !== PACKETS_TOLD) return;
      host.report(
        {
          rule: `model-${manifest.name}`,
          title: manifest.title,
          severity: manifest.severity,
          // As it is, beyond 1 too: what analysts say of it moves a threshold that may lie there.
          score,
          technique: manifest.technique,
          timeUs,
          source: flow.client,
          destination: flow.server,
          port: flow.serverPort,
          protocol: flow.service || protocolName(flow.protocol),
          evidence: `${strange} packets that the baseline would not put together so, the last with an error of ${score.toFixed(3)}, threshold ${manifest.threshold.toFixed(3)}`,
          group: `${flow.client} ${flow.server} ${flow.serverPort}`,
          scope: { client: flow.client, server: flow.server, serverPort: flow.serverPort, fromUs: flow.startUs, toUs: timeUs }, // prettier-ignore
        },
        flow,
      );
    });
  }
}
