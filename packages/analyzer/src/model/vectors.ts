/**
 * The models' inputs: a flow's features in the order of a vector, and a flow with all of them as a row to learn from. All vectors of a row are filled in one reading, so that training
 * and testing every level reads the captures once.
 */
import { flowFeatures, FLOW_FEATURES } from '../feature/flow-features.ts';
import { level1Features } from '../feature/level1-features.ts';
import { LEVEL3_FLOW_FEATURES, VECTORS, type VectorName } from '../feature/schema.ts';
import { windowFeatures, WINDOW_FEATURES, type WindowState } from '../feature/window-features.ts';
import type { Flow } from '../flow/flow.ts';

export interface FlowRow {
  readonly uid: string;
  readonly capture: string;
  readonly testbed: string;
  readonly attackType: string;
  readonly isAttack: boolean;
  readonly isInternal: boolean;
  readonly level1: Float32Array;
  readonly level2: Float32Array;
}

const scratch = new Float64Array(512);
const LEVEL3_AT = LEVEL3_FLOW_FEATURES.map((name) => FLOW_FEATURES.findIndex((feature) => feature.name === name)); // prettier-ignore

/** Fills a vector of a settled flow into `out[offset …)`. */
export function fillVector(
  vector: Exclude<VectorName, 'packet'>,
  flow: Flow,
  values: Float64Array,
  windows: WindowState,
  nowUs: number,
  out: Float32Array,
  offset: number,
): void {
  const width = VECTORS[vector].length;
  if (vector === 'level1') level1Features(values, flow.row, flow.serverPort, scratch, 0);
  else {
    flowFeatures(values, flow.row, scratch, 0);
    if (vector !== 'flow') windowFeatures(windows, flow, nowUs, scratch, FLOW_FEATURES.length);
  }
  if (vector !== 'level3') {
    for (let i = 0; i < width; i++) out[offset + i] = scratch[i] as number;
    return;
  }
  LEVEL3_AT.forEach((from, i) => {
    out[offset + i] = scratch[from] as number;
  });
  for (let i = 0; i < WINDOW_FEATURES.length; i++)
    out[offset + LEVEL3_AT.length + i] = scratch[FLOW_FEATURES.length + i] as number;
}

/** A row's inputs for a vector. */
export function vectorOf(row: FlowRow, vector: Exclude<VectorName, 'packet'>): Float32Array {
  if (vector === 'level1') return row.level1;
  if (vector === 'level2') return row.level2;
  if (vector === 'flow') return row.level2.subarray(0, FLOW_FEATURES.length);
  return Float32Array.from([
    ...LEVEL3_AT.map((at) => row.level2[at] as number),
    ...row.level2.subarray(FLOW_FEATURES.length),
  ]);
}
