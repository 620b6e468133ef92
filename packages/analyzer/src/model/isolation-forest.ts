/**
 * Isolation forest (Liu, Ting, Zhou 2008): random cuts separate what is rare sooner than what is common. The score is 2^(−mean path length / c): near 1 is
 * alone, below 0.5 is in company.
 */
import { Prng } from '@tapline/shared/base/prng.ts';
import type { OnnxGraph } from './onnx-writer.ts';
import { predictTree, treeEnsembleNode, type Tree } from './tree-ensemble.ts';

export interface IsolationOptions {
  readonly trees: number;
  /** Rows that a tree is grown on. */
  readonly sample: number;
  readonly seed: number;
}

export const ISOLATION_DEFAULTS: IsolationOptions = { trees: 100, sample: 256, seed: 42 };

export interface IsolationModel {
  readonly trees: readonly Tree[];
  readonly width: number;
  /** Mean path length of an unsuccessful search among the sample: what a score is measured against. */
  readonly expected: number;
}

/** `raw`: rows of `width` numbers ≥ 0, one after another. */
export function trainIsolationForest(
  raw: Float32Array,
  width: number,
  options: IsolationOptions,
): IsolationModel {
  // Cuts are drawn evenly between the extremes: among lengths and times that is only fair in the logarithm.
  const values = raw.map((value) => Math.log1p(Math.max(0, value)));
  const count = Math.floor(values.length / width);
  const sample = Math.min(options.sample, count);
  const depthMax = Math.ceil(Math.log2(Math.max(2, sample)));
  const random = new Prng(options.seed);
  const trees = Array.from({ length: options.trees }, () => {
    const rows = Array.from({ length: sample }, () => random.below(Math.max(1, count)));
    const tree: Tree = [];
    grow(tree, rows, 0);
    return tree;
  });
  return { trees, width, expected: pathLength(sample) };

  function grow(tree: Tree, rows: readonly number[], depth: number): number {
    const index = tree.length;
    const node = { feature: -1, threshold: 0, left: 0, right: 0, value: depth + pathLength(rows.length) };
    tree.push(node);
    if (depth >= depthMax || rows.length <= 1) return index;
    // A few tries for a feature in which the rows differ at all.
    for (let attempt = 0; attempt < 8; attempt++) {
      const feature = random.below(width);
      let low = Infinity;
      let high = -Infinity;
      for (const row of rows) {
        const value = values[row * width + feature] as number;
        if (value < low) low = value;
        if (value > high) high = value;
      }
      if (!(high > low)) continue;
      const threshold = Math.fround(low + random.float() * (high - low));
      const left = rows.filter((row) => (values[row * width + feature] as number) <= threshold);
      if (left.length === 0 || left.length === rows.length) continue;
      const right = rows.filter((row) => (values[row * width + feature] as number) > threshold);
      node.feature = feature;
      node.threshold = threshold;
      node.left = grow(tree, left, depth + 1);
      node.right = grow(tree, right, depth + 1);
      return index;
    }
    return index;
  }
}

export function scoreIsolationForest(model: IsolationModel, row: ArrayLike<number>, offset = 0): number {
  let sum = 0;
  const logged = new Float32Array(model.width);
  for (let i = 0; i < model.width; i++) logged[i] = Math.log1p(Math.max(0, row[offset + i] as number));
  for (const tree of model.trees) sum += predictTree(tree, logged);
  return 2 ** (-sum / model.trees.length / model.expected);
}

/** The graph: `input` [N, width] → `score` [N, 1]. */
export function isolationGraph(model: IsolationModel): OnnxGraph {
  return {
    name: 'isolation-forest',
    nodes: [
      { op: 'Add', inputs: ['input', 'one'], outputs: ['shifted'] },
      { op: 'Log', inputs: ['shifted'], outputs: ['logged'] },
      treeEnsembleNode(model.trees, 'logged', 'path', 0),
      { op: 'Mul', inputs: ['path', 'factor'], outputs: ['exponent'] },
      { op: 'Pow', inputs: ['two', 'exponent'], outputs: ['score'] },
    ],
    initializers: [
      { name: 'factor', dims: [1], values: [-1 / model.trees.length / model.expected] },
      { name: 'one', dims: [1], values: [1] },
      { name: 'two', dims: [1], values: [2] },
    ],
    input: { name: 'input', width: model.width },
    output: { name: 'score', width: 1 },
  };
}

/** c(n) of the paper. */
function pathLength(count: number): number {
  if (count <= 1) return 0;
  if (count === 2) return 1;
  return 2 * (Math.log(count - 1) + 0.5772156649) - (2 * (count - 1)) / count;
}
