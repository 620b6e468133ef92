/**
 * Gradient boosting of decision trees for two classes (Friedman 2001; the split by second-order gain, as in XGBoost), on histograms: each feature is cut into
 * at most BINS classes by its quantiles once, and a split is found by counting, not sorting. Small, shallow trees: the model must fit into a
 * repository and has to be wrong gently on plants that it never saw.
 */
import { Prng } from '@tapline/shared/base/prng.ts';
import type { Tree, TreeNode } from './tree-ensemble.ts';

const BINS = 48;

export interface BoostingOptions {
  readonly rounds: number;
  readonly depth: number;
  readonly learningRate: number;
  /** L2 regularisation of leaf values. */
  readonly lambda: number;
  /** A leaf's smallest sum of weights. */
  readonly weightMin: number;
  /** Share of features that a tree may use. */
  readonly features: number;
  readonly seed: number;
}

export const BOOSTING_DEFAULTS: BoostingOptions = {
  rounds: 80,
  depth: 4,
  learningRate: 0.1,
  lambda: 2,
  weightMin: 8,
  features: 0.5,
  seed: 42,
};

/** Rows of `width` numbers, one after another; `labels` 0 or 1; `weights` of the rows. */
export interface TrainingRows {
  readonly values: Float32Array;
  readonly width: number;
  readonly labels: Uint8Array;
  readonly weights: Float32Array;
}

export interface BoostedModel {
  readonly trees: Tree[];
  /** Log-odds before the first tree. */
  readonly base: number;
}

export function trainBoostedTrees(rows: TrainingRows, options: BoostingOptions): BoostedModel {
  const { width, labels, weights } = rows;
  const count = labels.length;
  const cuts = quantileCuts(rows);
  const bins = binned(rows, cuts);
  const random = new Prng(options.seed);
  let positive = 0;
  let total = 0;
  for (let i = 0; i < count; i++) {
    total += weights[i] as number;
    if (labels[i] === 1) positive += weights[i] as number;
  }
  const share = Math.min(0.999, Math.max(0.001, positive / Math.max(1e-9, total)));
  const base = Math.log(share / (1 - share));
  const scores = new Float64Array(count).fill(base);
  const gradient = new Float64Array(count);
  const hessian = new Float64Array(count);
  const trees: Tree[] = [];
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < count; i++) {
      const p = 1 / (1 + Math.exp(-(scores[i] as number)));
      const weight = weights[i] as number;
      gradient[i] = weight * (p - (labels[i] as number));
      hessian[i] = weight * Math.max(1e-6, p * (1 - p));
    }
    const chosen = Array.from({ length: width }, (_, i) => i).filter(() => random.float() < options.features);
    const growth = {
      bins,
      cuts,
      width,
      gradient,
      hessian,
      weights,
      features: chosen.length > 0 ? chosen : [0],
      options,
    };
    trees.push(growTree(growth, scores));
  }
  return { trees, base };
}

/** Upper edges of the classes of each feature. */
function quantileCuts({ values, width, labels }: TrainingRows): Float32Array[] {
  const count = labels.length;
  return Array.from({ length: width }, (_, feature) => {
    const column = new Float32Array(count);
    for (let i = 0; i < count; i++) column[i] = values[i * width + feature] as number;
    column.sort();
    const edges: number[] = [];
    for (let bin = 1; bin < BINS; bin++) {
      const low = column[Math.floor((bin * count) / BINS)] as number;
      if (edges.length === 0 || low > (edges.at(-1) as number)) edges.push(low);
    }
    // Between an edge and the next value, so that rounding to 32 bits moves nothing over it.
    return Float32Array.from(edges.filter((edge) => edge < (column[count - 1] as number)));
  });
}

function binned({ values, width, labels }: TrainingRows, cuts: readonly Float32Array[]): Uint8Array {
  const bins = new Uint8Array(labels.length * width);
  for (let i = 0; i < labels.length; i++)
    for (let feature = 0; feature < width; feature++) {
      const edges = cuts[feature] as Float32Array;
      const value = values[i * width + feature] as number;
      let low = 0;
      let high = edges.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((edges[middle] as number) < value) low = middle + 1;
        else high = middle;
      }
      bins[i * width + feature] = low;
    }
  return bins;
}

interface Growth {
  readonly bins: Uint8Array;
  readonly cuts: readonly Float32Array[];
  readonly width: number;
  readonly gradient: Float64Array;
  readonly hessian: Float64Array;
  readonly weights: Float32Array;
  readonly features: readonly number[];
  readonly options: BoostingOptions;
}

function growTree(growth: Growth, scores: Float64Array): Tree {
  const tree: Tree = [];
  const all = Uint32Array.from({ length: scores.length }, (_, i) => i);
  grow(all, 0);
  return tree;

  function grow(rows: Uint32Array, depth: number): number {
    const index = tree.length;
    const node: TreeNode = { feature: -1, threshold: 0, left: 0, right: 0, value: 0 };
    tree.push(node);
    const split = depth < growth.options.depth ? bestSplit(growth, rows) : null;
    if (split === null) {
      node.value = leafValue(growth, rows);
      for (const row of rows) scores[row] = (scores[row] as number) + node.value;
      return index;
    }
    const { bins, width } = growth;
    node.feature = split.feature;
    node.threshold = growth.cuts[split.feature]?.[split.bin] as number;
    const left = rows.filter((row) => (bins[row * width + split.feature] as number) <= split.bin);
    const right = rows.filter((row) => (bins[row * width + split.feature] as number) > split.bin);
    node.left = grow(left, depth + 1);
    node.right = grow(right, depth + 1);
    return index;
  }
}

function leafValue({ gradient, hessian, options }: Growth, rows: Uint32Array): number {
  let g = 0;
  let h = 0;
  for (const row of rows) {
    g += gradient[row] as number;
    h += hessian[row] as number;
  }
  return Math.fround((-options.learningRate * g) / (h + options.lambda));
}

function bestSplit(growth: Growth, rows: Uint32Array): { feature: number; bin: number } | null {
  const { bins, width, gradient, hessian, weights, cuts, options } = growth;
  const g = new Float64Array(BINS);
  const h = new Float64Array(BINS);
  const w = new Float64Array(BINS);
  let best: { feature: number; bin: number } | null = null;
  let bestGain = 1e-3;
  for (const feature of growth.features) {
    const edges = cuts[feature]?.length ?? 0;
    if (edges === 0) continue;
    g.fill(0);
    h.fill(0);
    w.fill(0);
    for (const row of rows) {
      const bin = bins[row * width + feature] as number;
      g[bin] = (g[bin] as number) + (gradient[row] as number);
      h[bin] = (h[bin] as number) + (hessian[row] as number);
      w[bin] = (w[bin] as number) + (weights[row] as number);
    }
    const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);
    const [allG, allH, allW] = [sum(g), sum(h), sum(w)];
    const whole = allG ** 2 / (allH + options.lambda);
    let leftG = 0;
    let leftH = 0;
    let leftW = 0;
    for (let bin = 0; bin < edges; bin++) {
      leftG += g[bin] as number;
      leftH += h[bin] as number;
      leftW += w[bin] as number;
      if (leftW < options.weightMin || allW - leftW < options.weightMin) continue;
      const gain = leftG ** 2 / (leftH + options.lambda) + (allG - leftG) ** 2 / (allH - leftH + options.lambda) - whole; // prettier-ignore
      if (gain > bestGain) {
        bestGain = gain;
        best = { feature, bin };
      }
    }
  }
  return best;
}
