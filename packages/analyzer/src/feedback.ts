/**
 * Labelled alerts as rows to learn from: the flows that an alert was about, read again from the files that it names. What was called false is benign, what was called
 * true is an attack of the alert's rule.
 */
import { existsSync } from 'node:fs';
import type { Alert } from './alert/alert-desk.ts';
import type { Rules } from './rule/rule-file.ts';
import type { FlowRow } from './model/vectors.ts';
import { readFlowRows } from './training-rows.ts';

export interface LabelledAlert {
  readonly alert: Alert;
  readonly isTrue: boolean;
}

/** Rows of all alerts whose files are still there; `missing` is told of the others. */
export async function feedbackRows(
  labels: readonly LabelledAlert[],
  rules: Rules,
  missing: (alert: Alert) => void,
): Promise<FlowRow[]> {
  const rows: FlowRow[] = [];
  for (const { alert, isTrue } of labels) {
    const paths = alert.slices.map(({ file }) => file).filter((file) => existsSync(file));
    if (paths.length === 0) {
      missing(alert);
      continue;
    }
    const capture = {
      path: paths[0] as string,
      paths,
      name: `alert ${alert.id}`,
      testbed: 'feedback',
      kind: isTrue ? ('attack' as const) : ('benign' as const),
      attackType: isTrue ? alert.rule : 'benign',
      isAttack: () => isTrue,
      sha256: '',
    };
    rows.push(...(await readFlowRows(capture, rules, new Set(alert.flows))));
  }
  return rows;
}
