/** `tapline-analyzer train LEVEL --data DIR`: a level's model from labelled captures, with what it is worth on testbeds that it never saw. */
import { VECTORS } from './feature/schema.ts';
import { Command, Argument } from 'commander';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { Severity } from './alert/finding.ts';
import { BOOSTING_DEFAULTS } from './model/boosted-trees.ts';
import {
  confusionAt,
  f1,
  falsePositiveRate,
  precision,
  recall,
  rocCurve,
  rocSvg,
  type Scored,
} from './model/detection-metrics.ts';
import { feedbackRows } from './feedback.ts';
import { readLabelledData, type LabelledCapture } from './model/labelled-data.ts';
import { LEVELS, MODEL_NAMES, type ModelName } from './model/levels.ts';
import { writeModel } from './model/model-file.ts';
import { boostedGraph, rowsFor, trainLevel, type TrainedLevel } from './model/train-level.ts';
import { vectorOf, type FlowRow } from './model/vectors.ts';
import { readFlowRows } from './training-rows.ts';
import { AlertStore } from './publish/alert-store.ts';
import { writeReport } from './report/write-report.ts';
import { loadRules } from './rule/load-rules.ts';

interface TrainOptions {
  readonly data: readonly string[];
  readonly out: string;
  readonly without: readonly string[];
  readonly report?: string;
  readonly feedback?: string;
}

/** The `train` subcommand. */
export function trainCommand(): Command {
  return new Command('train')
    .summary('a model from labelled captures')
    .description(
      'Reads labelled captures, trains the model of a level (or of all of them) and writes it as ONNX with its manifest. Each testbed is scored by a model ' +
        'that never saw it; the threshold and the printed scores come from there.',
    )
    .addArgument(new Argument('<level>', 'which model').choices([...MODEL_NAMES, 'all']))
    .requiredOption('--data <directory...>', 'directories with MANIFEST.tsv and LABELS.tsv')
    .option('--out <directory>', 'where the models go', 'models')
    .option('--without <text...>', 'leave out captures and testbeds whose name contains one of these', [])
    .option(
      '--feedback <store>',
      'also the flows of labelled alerts in this store, as far as their packets are still there',
    )
    .option(
      '--report <file>',
      'write what each testbed gave, scored by a model that never saw it, as Markdown, with ROC curves as SVG beside it',
    )
    .addHelpText(
      'after',
      '\nExample:\n  tapline-analyzer train level1 --data /srv/captures --out /etc/tapline/models\n',
    )
    .action(async (level: ModelName | 'all', options: TrainOptions) => {
      const captures = options.data
        .flatMap(readLabelledData)
        .filter(
          ({ kind, name, testbed }) =>
            kind !== 'unlabelled' &&
            !options.without.some((text) => name.includes(text) || testbed.includes(text)),
        );
      if (!captures.some(({ kind }) => kind === 'benign') || captures.every(({ kind }) => kind === 'benign'))
        throw new OperatingError(
          'CONFIG_INVALID',
          'the data has no attack, or nothing benign: both are needed to tell them apart',
          {},
        );
      const rows = await readAll(captures);
      if (options.feedback !== undefined) rows.push(...(await feedback(options.feedback)));
      const report = (level === 'all' ? MODEL_NAMES : [level]).map((name) => train(name, rows, captures, options)); // prettier-ignore
      if (options.report !== undefined) writeReport(options.report, report.join('\n'));
    });
}

async function feedback(path: string): Promise<FlowRow[]> {
  const store = new AlertStore({ path, mustExist: true });
  try {
    const labels = store.labels().map(({ alert, label }) => ({ alert, isTrue: label === 'true' }));
    return await feedbackRows(labels, loadRules(undefined), ({ id }) => {
      console.error(`alert ${id}: its packets are no longer there`);
    });
  } finally {
    store.close();
  }
}

/** Reads all captures, with a count on the terminal. */
export async function readAll(captures: readonly LabelledCapture[]): Promise<FlowRow[]> {
  const rules = loadRules(undefined);
  const rows: FlowRow[] = [];
  for (const [index, capture] of captures.entries()) {
    rows.push(...(await readFlowRows(capture, rules)));
    if (process.stderr.isTTY)
      process.stderr.write(`\r${index + 1} of ${captures.length} captures, ${rows.length} flows `);
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return rows;
}

function train(
  name: ModelName,
  rows: readonly FlowRow[],
  captures: readonly LabelledCapture[],
  { out, report }: TrainOptions,
): string {
  const level = LEVELS[name];
  const trained = trainLevel(name, rows, (done, total) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${name}: ${done} of ${total} testbeds held out `);
  });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const used = rowsFor(level, rows);
  const { manifest, onnx } = writeModel(out, boostedGraph(trained.model, level), {
    name,
    title: level.title,
    technique: level.technique,
    severity: earnedSeverity(level.severity, scores(trained)),
    vector: level.vector,
    internal_only: level.isInternal,
    threshold: trained.threshold,
    flows_told: level.flowsTold,
    medians: medians(used, level.vector as 'level1'),
    scores: scores(trained),
    data: dataOf(used, captures),
    seed: BOOSTING_DEFAULTS.seed,
    made_by: 'tapline-analyzer train',
  });
  const { precision: p, recall: r, f1: f, false_positive_rate: fpr, auc } = manifest.scores;
  process.stdout.write(
    `${name}: ${onnx.byteLength} bytes, threshold ${trained.threshold.toFixed(4)}; on testbeds that it never saw: precision ${percent(p)}, recall ${percent(r)}, F1 ${percent(f)}, false positives ${percent(fpr)}, area under ROC ${(auc ?? 0).toFixed(3)}; severity ${manifest.severity}\n`,
  );
  if (report !== undefined) {
    const { points, area } = rocCurve(trained.heldOut);
    writeReport(`${report.replace(/\.md$/, '')}-${name}.svg`, rocSvg(name, points, area));
  }
  return heldOutTable(name, trained);
}

/**
 * How loud a model may be is what it has shown on testbeds that it never saw: one that is right nineteen times of twenty may alarm as its level wants, one that is
 * right four times of five may say so quietly, any other only informs.
 */
export function earnedSeverity(
  wanted: Severity,
  { precision: shown }: Record<string, number | null>,
): Severity {
  if (shown === null || shown === undefined || shown < 0.8) return 'info';
  return shown >= 0.95 ? wanted : 'low';
}

/** One line a testbed: how many of its attack flows were told, and how many of its benign ones, by a model that was trained without it. */
function heldOutTable(name: ModelName, trained: TrainedLevel): string {
  const testbeds = new Map<string, Scored[]>();
  for (const { row, score, isAttack } of trained.heldOut)
    testbeds.set(row.testbed, [...(testbeds.get(row.testbed) ?? []), { score, isAttack }]);
  const lines = [...testbeds]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([testbed, rows]) => {
      const { truePositive, falsePositive, trueNegative, falseNegative } = confusionAt(
        rows,
        trained.threshold,
      );
      const attacks = truePositive + falseNegative;
      const benign = falsePositive + trueNegative;
      return `| ${testbed} | ${attacks === 0 ? '–' : `${truePositive} of ${attacks}`} | ${benign === 0 ? '–' : `${falsePositive} of ${benign}`} |`;
    });
  const { precision: p, recall: r, f1: f, false_positive_rate: fpr, auc } = scores(trained);
  return [
    `### ${name}`,
    '',
    `All testbeds together: precision ${percent(p)}, recall ${percent(r)}, F1 ${percent(f)}, false positives ${percent(fpr)}, area under ROC ${(auc ?? 0).toFixed(3)}.`,
    '',
    '| testbed, left out of the training | attack flows told | benign flows told |',
    '|---|---|---|',
    ...lines,
    '',
  ].join('\n');
}

/** What held-out testbeds say. */
export function scores(trained: Pick<TrainedLevel, 'heldOut' | 'threshold'>): Record<string, number | null> {
  const confusion = confusionAt(trained.heldOut, trained.threshold);
  const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
  return {
    precision: finite(precision(confusion)),
    recall: finite(recall(confusion)),
    f1: finite(f1(confusion)),
    false_positive_rate: finite(falsePositiveRate(confusion)),
    auc: rocCurve(trained.heldOut).area,
    flows: trained.heldOut.length,
  };
}

function medians(rows: readonly FlowRow[], vector: 'level1'): number[] {
  const benign = rows.filter(({ isAttack }) => !isAttack).map((row) => vectorOf(row, vector));
  return VECTORS[vector].map((_, i) => {
    const column = benign.map((values) => values[i] as number).sort((a, b) => a - b);
    return column[column.length >> 1] ?? 0;
  });
}

function dataOf(rows: readonly FlowRow[], captures: readonly LabelledCapture[]) {
  return captures.flatMap(({ name, sha256, testbed }) => {
    const mine = rows.filter((row) => row.capture === name);
    if (mine.length === 0) return [];
    return [
      { name, sha256, testbed, flows: mine.length, attacks: mine.filter(({ isAttack }) => isAttack).length },
    ];
  });
}

function percent(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : `${(100 * value).toFixed(1)} %`;
}
