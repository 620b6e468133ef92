/**
 * The models of the baseline, learnt from one plant's own traffic without labels: an autoencoder for flows, one for packets, and an isolation forest. The
 * first four fifths of the time are learnt from, the last fifth says where the threshold lies: above what that plant's own days look like.
 */
import { VECTORS, type VectorName } from '../feature/schema.ts';
import { AUTOENCODER_DEFAULTS, autoencoderGraph, scoreAutoencoder, trainAutoencoder } from './autoencoder.ts';
import {
  ISOLATION_DEFAULTS,
  isolationGraph,
  scoreIsolationForest,
  trainIsolationForest,
} from './isolation-forest.ts';
import type { BaselineModelName } from './levels.ts';
import type { OnnxGraph } from './onnx-writer.ts';

/** Rows kept of a long recording: every n-th, so that all of its time is among them. */
const ROWS_MAX = 20_000;
/** Of the plant's own rows, so many may be strange; and the threshold keeps this distance from them. */
const STRANGE_SHARE = 0.001;
const DISTANCE = 1.2;

/** Rows in order of time, thinned evenly when they become too many. */
export class RowReservoir {
  readonly width: number;
  #rows: Float32Array[] = [];
  #step = 1;
  #seen = 0;

  constructor(vector: VectorName) {
    this.width = VECTORS[vector].length;
  }

  /** Copies the row if it is one of those that are kept. */
  add(row: Float32Array): void {
    if (this.#seen++ % this.#step !== 0) return;
    this.#rows.push(row.slice());
    if (this.#rows.length < ROWS_MAX) return;
    this.#rows = this.#rows.filter((_, i) => i % 2 === 0);
    this.#step *= 2;
  }

  get length(): number {
    return this.#rows.length;
  }

  /** Rows `[from, to)` one after another. */
  slice(from: number, to: number): Float32Array {
    const rows = this.#rows.slice(from, to);
    const values = new Float32Array(rows.length * this.width);
    rows.forEach((row, i) => {
      values.set(row, i * this.width);
    });
    return values;
  }
}

export interface TrainedBaseline {
  readonly graph: OnnxGraph;
  readonly threshold: number;
  /** Median of each input. */
  readonly medians: readonly number[];
  /** Rows that it learnt from, and rows that set the threshold. */
  readonly learnt: number;
  readonly tested: number;
}

/** null when there are too few rows to learn anything. */
export function trainBaseline(name: BaselineModelName, rows: RowReservoir): TrainedBaseline | null {
  const { width, length } = rows;
  const learnt = Math.floor(length * 0.8);
  if (learnt < 20) return null;
  const values = rows.slice(0, learnt);
  const test = rows.slice(learnt, length);
  let graph: OnnxGraph;
  let score: (offset: number) => number;
  if (name === 'isolation-forest') {
    const model = trainIsolationForest(values, width, ISOLATION_DEFAULTS);
    graph = isolationGraph(model);
    score = (offset) => scoreIsolationForest(model, test, offset);
  } else {
    const isPacket = name === 'autoencoder-packet';
    const options = isPacket ? { ...AUTOENCODER_DEFAULTS, hidden: 12, code: 4 } : AUTOENCODER_DEFAULTS;
    const model = trainAutoencoder(values, width, options);
    graph = autoencoderGraph(model);
    score = (offset) => scoreAutoencoder(model, test, offset);
  }
  const scores = Float64Array.from({ length: length - learnt }, (_, i) => score(i * width)).sort();
  const highest = scores[Math.max(0, Math.floor(scores.length * (1 - STRANGE_SHARE)) - 1)] ?? 0;
  const medians = Array.from({ length: width }, (_, column) => {
    const sorted = Float32Array.from(
      { length: learnt },
      (_, row) => values[row * width + column] as number,
    ).sort();
    return sorted[learnt >> 1] ?? 0;
  });
  // An isolation score has its ceiling at 1: there the distance is half the way to it.
  const threshold = name === 'isolation-forest' ? Math.max(0.6, highest + (1 - highest) * 0.25) : Math.max(0.05, highest * DISTANCE); // prettier-ignore
  return { graph, threshold, medians, learnt, tested: length - learnt };
}
