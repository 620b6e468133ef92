/**
 * Trains a level's model, and says honestly how good it is: each testbed is scored by a model that never saw it, the threshold is the one at which those
 * scores raise at most FALSE_POSITIVE_RATE of the benign flows, and only then a model is made of everything.
 */
import { VECTORS } from '../feature/schema.ts';
import {
  BOOSTING_DEFAULTS,
  trainBoostedTrees,
  type BoostedModel,
  type TrainingRows,
} from './boosted-trees.ts';
import { thresholdFor, type Scored } from './detection-metrics.ts';
import { LEVELS, type Level, type ModelName } from './levels.ts';
import type { OnnxGraph } from './onnx-writer.ts';
import { predictTree, treeEnsembleNode } from './tree-ensemble.ts';
import { vectorOf, type FlowRow } from './vectors.ts';

/** Benign flows of testbeds that a model never saw, that may be called an attack. */
const FALSE_POSITIVE_RATE = 0.005;
/** Flows of a capture that are learnt from; more of the same teach nothing. */
const ROWS_PER_CAPTURE_MAX = 400;
/** A capture weighs as much as this many flows, however many it has: small ones are not drowned. */
const CAPTURE_WEIGHT = 60;

export interface ScoredRow extends Scored {
  readonly row: FlowRow;
}

export interface TrainedLevel {
  readonly model: BoostedModel;
  readonly threshold: number;
  /** Each testbed's flows, scored by a model that never saw it. */
  readonly heldOut: readonly ScoredRow[];
}

/** The rows that a level learns from. */
export function rowsFor(level: Level, rows: readonly FlowRow[]): FlowRow[] {
  return rows.filter(
    (row) => (!row.isAttack || level.attacks.test(row.attackType)) && (!level.isInternal || row.isInternal),
  );
}

/** `progress` is told of each testbed that is done. */
export function trainLevel(
  name: ModelName,
  rows: readonly FlowRow[],
  progress: (done: number, total: number) => void = () => undefined,
): TrainedLevel {
  const level = LEVELS[name];
  const mine = rowsFor(level, rows);
  const testbeds = [...new Set(mine.map(({ testbed }) => testbed))].sort();
  const heldOut: ScoredRow[] = [];
  testbeds.forEach((testbed, index) => {
    const model = train(level, mine.filter((row) => row.testbed !== testbed)); // prettier-ignore
    for (const row of mine)
      if (row.testbed === testbed) heldOut.push({ row, isAttack: row.isAttack, score: scoreRow(model, level, row) });
    progress(index + 1, testbeds.length);
  }); // prettier-ignore
  return {
    model: train(level, mine),
    threshold: thresholdFor(thinned(heldOut), FALSE_POSITIVE_RATE),
    heldOut,
  };
}

/** The probability that the model gives a row; what the graph computes. */
export function scoreRow(model: BoostedModel, level: Level, row: FlowRow): number {
  const values = vectorOf(row, level.vector as 'level1');
  const logOdds = model.trees.reduce((sum, tree) => sum + predictTree(tree, values), model.base);
  return 1 / (1 + Math.exp(-logOdds));
}

/** The graph: `input` [N, width] → `score` [N, 1]. */
export function boostedGraph(model: BoostedModel, level: Level): OnnxGraph {
  return {
    name: 'boosted-trees',
    nodes: [
      treeEnsembleNode(model.trees, 'input', 'logodds', model.base),
      { op: 'Sigmoid', inputs: ['logodds'], outputs: ['score'] },
    ],
    initializers: [],
    input: { name: 'input', width: VECTORS[level.vector].length },
    output: { name: 'score', width: 1 },
  };
}

function train(level: Level, rows: readonly FlowRow[]): BoostedModel {
  return trainBoostedTrees(trainingRows(level, rows), BOOSTING_DEFAULTS);
}

/** Thinned evenly, captures weighed alike, both classes weighed alike. */
function trainingRows(level: Level, rows: readonly FlowRow[]): TrainingRows {
  const groups = new Map<string, FlowRow[]>();
  for (const row of rows) {
    const key = `${row.capture} ${row.isAttack}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  const chosen: { row: FlowRow; weight: number }[] = [];
  const totals = { attack: 0, benign: 0 };
  for (const group of groups.values()) {
    const step = Math.max(1, group.length / ROWS_PER_CAPTURE_MAX);
    const picked: FlowRow[] = [];
    for (let i = 0; i < group.length; i += step) picked.push(group[Math.floor(i)] as FlowRow);
    const weight = Math.min(1, CAPTURE_WEIGHT / picked.length);
    for (const row of picked) {
      chosen.push({ row, weight });
      totals[row.isAttack ? 'attack' : 'benign'] += weight;
    }
  }
  const width = VECTORS[level.vector].length;
  const values = new Float32Array(chosen.length * width);
  const labels = new Uint8Array(chosen.length);
  const weights = new Float32Array(chosen.length);
  const balance = totals.attack > 0 ? totals.benign / totals.attack : 1;
  chosen.forEach(({ row, weight }, i) => {
    values.set(vectorOf(row, level.vector as 'level1'), i * width);
    labels[i] = row.isAttack ? 1 : 0;
    weights[i] = row.isAttack ? weight * balance : weight;
  });
  return { values, width, labels, weights };
}

/** At most ROWS_PER_CAPTURE_MAX benign rows of a capture, so that one noisy capture does not set everybody's threshold. */
function thinned(rows: readonly ScoredRow[]): ScoredRow[] {
  const counts = new Map<string, number>();
  return rows.filter(({ row }) => {
    const count = (counts.get(row.capture) ?? 0) + 1;
    counts.set(row.capture, count);
    return count <= ROWS_PER_CAPTURE_MAX;
  });
}
