/** Rows to learn from: every flow of labelled captures with all its features, where it comes from and what it is. */
import { analyzeFiles } from './analysis.ts';
import { VECTORS } from './feature/schema.ts';
import type { LabelledCapture } from './model/labelled-data.ts';
import { FlowInputs, type FlowRow } from './model/vectors.ts';
import type { Rules } from './rule/rule-file.ts';

/** Flows of one capture; a flood of a million is described by fewer. */
const FLOWS_PER_CAPTURE_MAX = 20_000;

/** Reads one capture, or of it the flows with these `uids`. IP flows only: frames straight on Ethernet have no such features. */
export async function readFlowRows(
  capture: LabelledCapture,
  rules: Rules,
  uids: ReadonlySet<string> | null = null,
): Promise<FlowRow[]> {
  const rows: FlowRow[] = [];
  const inputs = new FlowInputs();
  await analyzeFiles({
    files: (capture.paths ?? [capture.path]).map((path) => ({ path, sensor: '.', bytes: 0 })),
    rules,
    packet: (flow, view) => {
      if (flow !== null && capture.isAttack(view.origin.number))
        flow.memory['attacks'] = ((flow.memory['attacks'] as number | undefined) ?? 0) + 1;
    },
    flowEnded: (flow, values, engine) => {
      if (flow.protocol === -1 || rows.length >= FLOWS_PER_CAPTURE_MAX) return;
      if (uids !== null && !uids.has(flow.uid)) return;
      const level1 = new Float32Array(VECTORS.level1.length);
      const level2 = new Float32Array(VECTORS.level2.length);
      inputs.read(flow, values, engine.windows, engine.packetUs);
      inputs.write('level1', level1, 0);
      inputs.write('level2', level2, 0);
      rows.push({
        uid: flow.uid,
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
