/**
 * The models' inputs: a flow's features in the order of a vector, and a flow with all of them as a row to learn from. All vectors of a row are filled in one reading, so that training
 * and testing every level reads the captures once.
 */
import { flowFeatures, FLOW_FEATURES } from '../feature/flow-features.ts';
import { LEVEL1_FEATURES, level1Features } from '../feature/level1-features.ts';
import { LEVEL3_FLOW_FEATURES, type VectorName } from '../feature/schema.ts';
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

const LEVEL3_AT = LEVEL3_FLOW_FEATURES.map((name) => FLOW_FEATURES.findIndex((feature) => feature.name === name)); // prettier-ignore

/** The features of one flow after another, computed once for all vectors that are wanted of it. */
export class FlowInputs {
  readonly #level1 = new Float64Array(LEVEL1_FEATURES.length);
  readonly #level2 = new Float64Array(FLOW_FEATURES.length + WINDOW_FEATURES.length);

  /** Computes them of a settled flow, whose numbers are in `values`. */
  read(flow: Flow, values: Float64Array, windows: WindowState, nowUs: number): void {
    level1Features(values, flow.row, flow.serverPort, this.#level1, 0);
    flowFeatures(values, flow.row, this.#level2, 0);
    windowFeatures(windows, flow, nowUs, this.#level2, FLOW_FEATURES.length);
  }

  /** Writes a vector of them into `out[offset …)`. */
  write(vector: Exclude<VectorName, 'packet'>, out: Float32Array, offset: number): void {
    if (vector === 'level1') return out.set(this.#level1, offset);
    if (vector === 'level2') return out.set(this.#level2, offset);
    if (vector === 'flow') return out.set(this.#level2.subarray(0, FLOW_FEATURES.length), offset);
    for (let i = 0; i < LEVEL3_AT.length; i++)
      out[offset + i] = this.#level2[LEVEL3_AT[i] as number] as number;
    out.set(this.#level2.subarray(FLOW_FEATURES.length), offset + LEVEL3_AT.length);
  }
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
