/**
 * Rows to learn from: every flow of labelled captures with all its features, where it comes from and what it is. All vectors are filled in one reading, so
 * that training and testing every level reads the captures once.
 */
import { analyzeFiles } from '../analysis.ts';
import { flowFeatures, FLOW_FEATURES } from '../feature/flow-features.ts';
import { level1Features, LEVEL1_FEATURES } from '../feature/level1-features.ts';
import { LEVEL3_FLOW_FEATURES, VECTORS, type VectorName } from '../feature/schema.ts';
import { windowFeatures, WINDOW_FEATURES, type WindowState } from '../feature/window-features.ts';
import type { Flow } from '../flow/flow.ts';
import type { Rules } from '../rule/rule-file.ts';
import type { LabelledCapture } from './labelled-data.ts';

/** Flows of one capture; a flood of a million is described by fewer. */
const FLOWS_PER_CAPTURE_MAX = 20_000;

export interface FlowRow {
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

/** Reads one capture. IP flows only: frames straight on Ethernet have no such features. */
export async function readFlowRows(capture: LabelledCapture, rules: Rules): Promise<FlowRow[]> {
  const rows: FlowRow[] = [];
  await analyzeFiles({
    files: [{ path: capture.path, sensor: '.', bytes: 0 }],
    rules,
    packet: (flow, view) => {
      if (flow !== null && capture.isAttack(view.origin.number))
        flow.memory['attacks'] = ((flow.memory['attacks'] as number | undefined) ?? 0) + 1;
    },
    flowEnded: (flow, values, engine) => {
      if (flow.protocol === -1 || rows.length >= FLOWS_PER_CAPTURE_MAX) return;
      const level1 = new Float32Array(LEVEL1_FEATURES.length);
      const level2 = new Float32Array(VECTORS.level2.length);
      fillVector('level1', flow, values, engine.windows, engine.clockUs, level1, 0);
      fillVector('level2', flow, values, engine.windows, engine.clockUs, level2, 0);
      rows.push({
        capture: capture.name,
        testbed: capture.testbed,
        attackType: capture.attackType,
        isAttack: flow.memory['attacks'] !== undefined,
        isInternal: engine.internal.has(flow.client) && engine.internal.has(flow.server),
        level1,
        level2,
      });
    },
  });
  return rows;
}
