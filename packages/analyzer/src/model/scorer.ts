/**
 * The door to the models: rows go to a worker, scores come back. Packets never wait for a model: beyond BATCHES_MAX batches under way `score` says no, and
 * who asked counts what it did not get.
 */
import { Worker } from 'node:worker_threads';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';

/** × 256 rows × 103 features × 4 bytes = 6.6 MiB. */
const BATCHES_MAX = 64;

export type ScoringRequest =
  | { readonly kind: 'load'; readonly id: number; readonly model: number; readonly onnx: Uint8Array }
  | { readonly kind: 'score'; readonly id: number; readonly model: number; readonly rows: Float32Array; readonly width: number }; // prettier-ignore

export interface ScoringReply {
  readonly id: number;
  readonly scores: Float32Array | null;
  readonly problem: string;
}

export class Scorer {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, (reply: ScoringReply) => void>();
  #nextId = 1;
  #models = 0;
  #failure: string | null = null;

  constructor() {
    this.#worker = new Worker(new URL('./scoring-worker.ts', import.meta.url));
    this.#worker.unref();
    this.#worker.on('message', (reply: ScoringReply) => {
      const done = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      done?.(reply);
    });
    this.#worker.on('error', (error) => this.#fail(messageOf(error)));
    this.#worker.on('exit', (code) => this.#fail(`the worker ended with code ${code}`));
  }

  /** Batches under way. */
  get depth(): number {
    return this.#waiting.size;
  }

  get hasRoom(): boolean {
    return this.#waiting.size < BATCHES_MAX && this.#failure === null;
  }

  /** Loads a model; the number to score with. Throws CONFIG_INVALID for bytes that ONNX Runtime does not take. */
  async load(name: string, onnx: Uint8Array): Promise<number> {
    const model = this.#models++;
    const { problem } = await this.#ask({ kind: 'load', id: this.#nextId++, model, onnx });
    if (problem !== '')
      throw new OperatingError('CONFIG_INVALID', `model ${name} cannot be loaded: ${problem}`, {
        model: name,
      });
    return model;
  }

  /** Scores of rows of `width` numbers; null when the model failed. The rows' buffer is given away. */
  async score(model: number, rows: Float32Array, width: number): Promise<Float32Array | null> {
    const reply = await this.#ask({ kind: 'score', id: this.#nextId++, model, rows, width });
    return reply.scores;
  }

  async close(): Promise<void> {
    this.#failure ??= 'closed';
    await this.#worker.terminate();
  }

  #ask(request: ScoringRequest): Promise<ScoringReply> {
    if (this.#failure !== null)
      return Promise.resolve({ id: request.id, scores: null, problem: this.#failure });
    return new Promise((resolve) => {
      this.#waiting.set(request.id, resolve);
      this.#worker.ref();
      const transfer = request.kind === 'score' ? [request.rows.buffer as ArrayBuffer] : [];
      this.#worker.postMessage(request, transfer);
    }).then((reply) => {
      if (this.#waiting.size === 0) this.#worker.unref();
      return reply as ScoringReply;
    });
  }

  #fail(reason: string): void {
    this.#failure ??= reason;
    for (const [id, done] of this.#waiting) done({ id, scores: null, problem: reason });
    this.#waiting.clear();
  }
}
