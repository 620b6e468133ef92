/**
 * `tapline-analyzer evaluate WHAT --data DIR`: how good a model, or all of it together, is on labelled captures: precision, recall, F1, false alarms per
 * hour, what was found of each kind of attack, and the ROC curve. A model's own training data is left out: what it has seen proves nothing.
 */
import { Argument, Command } from 'commander';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { analyzeFiles } from './analysis.ts';
import { severityRank } from './alert/finding.ts';
import { flowRecord, type FlowRecord } from './flow/flow-record.ts';
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
import { readLabelledData, type LabelledCapture } from './model/labelled-data.ts';
import { MODEL_NAMES } from './model/levels.ts';
import { readModels, type LoadedModel } from './model/model-file.ts';
import { SHIPPED_MODELS } from './model/shipped-models.ts';
import { giveVerdicts } from './report/verdicts.ts';
import { writeReport } from './report/write-report.ts';
import { loadRules } from './rule/load-rules.ts';

interface EvaluateOptions {
  readonly data: readonly string[];
  readonly models: string;
  readonly rules?: string;
  readonly without: readonly string[];
  readonly seen: boolean;
  readonly roc?: string;
  readonly json: boolean;
}

const CAPTURE_SECONDS_MAX = 36 * 3600;

/** What became of one capture. */
export interface CaptureResult {
  readonly name: string;
  readonly testbed: string;
  readonly kind: LabelledCapture['kind'];
  readonly attackType: string;
  /** With `isAttack`, and `score` 1 for a flow that was told (detection), or the model's. */
  readonly flows: readonly Scored[];
  /** Alerts of any severity, of medium and above, and of high and above. */
  readonly alerts: number;
  readonly alertsMedium: number;
  readonly alertsHigh: number;
  readonly seconds: number;
}

/** The `evaluate` subcommand. */
export function evaluateCommand(): Command {
  return new Command('evaluate')
    .summary('how good the detection, or one model, is on labelled captures')
    .description(
      'Runs the analyzer over labelled captures and compares what it says with what is known. `detection` is everything together, as `analyze` does it; a level is ' +
        'its model alone. Captures that a model was trained with are left out, unless --seen.',
    )
    .addArgument(
      new Argument('<what>', 'detection, rules or a model').choices(['detection', 'rules', ...MODEL_NAMES]),
    )
    .requiredOption('--data <directory...>', 'directories with MANIFEST.tsv and LABELS.tsv')
    .option('--models <directory>', 'the models', SHIPPED_MODELS)
    .option('--rules <file>', 'thresholds (default: those of the shipped rules.yaml)')
    .option('--without <text...>', 'leave out captures and testbeds whose name contains one of these', [])
    .option('--seen', 'also what the models were trained with; says nothing about other networks', false)
    .option('--roc <file>', 'write the ROC curve as SVG')
    .option('--json', 'print every capture as JSON', false)
    .addHelpText('after', '\nExample:\n  tapline-analyzer evaluate detection --data /srv/held-out\n')
    .action(async (what: string, options: EvaluateOptions) => {
      await evaluate(what, options);
    });
}

async function evaluate(what: string, options: EvaluateOptions): Promise<void> {
  const models = what === 'rules' ? [] : readModels(options.models);
  const asked =
    what === 'rules' || what === 'detection'
      ? models
      : models.filter(({ manifest }) => manifest.name === what);
  if (asked.length === 0 && what !== 'rules')
    throw new OperatingError('CONFIG_INVALID', `no model ${what} in ${options.models}: train it, or name another directory`, {}); // prettier-ignore
  const seen = new Set(asked.flatMap(({ manifest }) => manifest.data.map(({ sha256 }) => sha256)));
  const captures = options.data
    .flatMap(readLabelledData)
    .filter(
      ({ name, testbed }) => !options.without.some((text) => name.includes(text) || testbed.includes(text)),
    )
    .filter(({ sha256 }) => options.seen || !seen.has(sha256));
  if (captures.length === 0)
    throw new OperatingError('CONFIG_INVALID', 'every capture was used for training: take others, or --seen to see what it remembers', {}); // prettier-ignore
  const results: CaptureResult[] = [];
  for (const [index, capture] of captures.entries()) {
    results.push(await evaluateCapture(capture, what, asked, options.rules));
    if (process.stderr.isTTY) process.stderr.write(`\r${index + 1} of ${captures.length} captures `);
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const threshold = what === 'rules' || what === 'detection' ? 0.5 : (asked[0]?.manifest.threshold ?? 0.5);
  if (options.roc !== undefined) {
    const { points, area } = rocCurve(results.flatMap(({ flows }) => [...flows]));
    writeReport(options.roc, rocSvg(what, points, area));
  }
  const text = options.json
    ? `${JSON.stringify(summaryOf(results, threshold), null, 2)}\n`
    : evaluationText(results, threshold);
  process.stdout.write(text);
}

/** Runs one capture. `what`: `detection` and `rules` score a flow by its verdict, a model's name by that model. */
export async function evaluateCapture(
  capture: LabelledCapture,
  what: string,
  models: readonly LoadedModel[],
  rules: string | undefined,
): Promise<CaptureResult> {
  const records: { record: FlowRecord; isAttack: boolean }[] = [];
  const analysis = await analyzeFiles({
    files: [{ path: capture.path, sensor: '.', bytes: 0 }],
    rules: loadRules(rules),
    models,
    packet: (flow, view) => {
      if (flow !== null && capture.isAttack(view.origin.number)) flow.memory['attack'] = true;
    },
    flowEnded: (flow, values, engine) => {
      records.push({
        record: flowRecord(flow, values, engine.sensor),
        isAttack: flow.memory['attack'] === true,
      });
    },
  });
  giveVerdicts(records.map(({ record }) => record), analysis.alerts); // prettier-ignore
  const isWhole = what === 'detection' || what === 'rules';
  const flows =
    capture.kind === 'unlabelled'
      ? []
      : records.map(({ record, isAttack }) => ({
          isAttack,
          score: isWhole ? Number(record.verdict === 'malicious') : (record.scores[what] ?? 0),
        }));
  const count = (from: 'info' | 'medium' | 'high'): number =>
    analysis.alerts.filter(({ severity }) => severityRank(severity) >= severityRank(from)).length;
  return {
    name: capture.name,
    testbed: capture.testbed,
    kind: capture.kind,
    attackType: capture.attackType,
    flows,
    alerts: count('info'),
    alertsMedium: count('medium'),
    alertsHigh: count('high'),
    seconds: Math.max(0, analysis.lastTs - analysis.firstTs),
  };
}

/** Everything in numbers. */
export function summaryOf(results: readonly CaptureResult[], threshold: number) {
  const all = results.flatMap(({ flows }) => [...flows]);
  const confusion = confusionAt(all, threshold);
  const benign = results.filter(({ kind }) => kind === 'benign');
  const attacks = results.filter(({ kind }) => kind !== 'benign');
  // A capture with a broken clock spans years; nobody records more than a day and a half into one file.
  const hours = benign.reduce((sum, { seconds }) => sum + Math.min(seconds, CAPTURE_SECONDS_MAX), 0) / 3600;
  return {
    captures: results.length,
    flows: all.length,
    ...confusion,
    precision: precision(confusion),
    recall: recall(confusion),
    f1: f1(confusion),
    falsePositiveRate: falsePositiveRate(confusion),
    areaUnderRoc: rocCurve(all).area,
    instances: attacks.length,
    instancesWithAlert: attacks.filter(({ alerts }) => alerts > 0).length,
    instancesWithMediumAlert: attacks.filter(({ alertsMedium }) => alertsMedium > 0).length,
    benignCaptures: benign.length,
    benignWithHighAlert: benign.filter(({ alertsHigh }) => alertsHigh > 0).map(({ name }) => name),
    falseAlarmsPerHour:
      benign.reduce((sum, { alertsMedium }) => sum + alertsMedium, 0) / Math.max(1e-9, hours),
    benignHours: hours,
    perCapture: results.map(({ flows, ...rest }) => ({ ...rest, ...confusionAt(flows, threshold) })),
  };
}

/** The same for people: one line for each kind of attack, then the sums. */
export function evaluationText(results: readonly CaptureResult[], threshold: number): string {
  const summary = summaryOf(results, threshold);
  const kinds = new Map<string, CaptureResult[]>();
  for (const result of results)
    kinds.set(result.attackType, [...(kinds.get(result.attackType) ?? []), result]);
  const lines = [...kinds].sort(([a], [b]) => a.localeCompare(b)).map(([kind, list]) => {
    const confusion = confusionAt(list.flatMap(({ flows }) => [...flows]), threshold);
    const attacks = confusion.truePositive + confusion.falseNegative;
    const benign = confusion.falsePositive + confusion.trueNegative;
    const told = list.filter(({ alerts }) => alerts > 0).length;
    return `${kind.padEnd(44)} ${`${told}/${list.length}`.padStart(9)} ${`${confusion.truePositive}/${attacks}`.padStart(15)} ${`${confusion.falsePositive}/${benign}`.padStart(13)}\n`;
  }); // prettier-ignore
  return [
    `${'kind of capture'.padEnd(44)} ${'told'.padStart(9)} ${'attack flows'.padStart(15)} ${'benign flows'.padStart(13)}\n`,
    ...lines,
    `\n${summary.captures} captures, ${summary.flows} flows: precision ${percent(summary.precision)}, recall ${percent(summary.recall)}, F1 ${percent(summary.f1)}, false positives ${percent(summary.falsePositiveRate)} by flow, area under ROC ${summary.areaUnderRoc.toFixed(3)}\n`,
    `${summary.instancesWithAlert} of ${summary.instances} attack captures raise an alert, ${summary.instancesWithMediumAlert} one of medium severity or above; ${summary.benignWithHighAlert.length} of ${summary.benignCaptures} benign captures raise one of severity high; ${summary.falseAlarmsPerHour.toFixed(2)} false alarms (medium and above) an hour of benign traffic\n`,
  ].join('');
}

function percent(value: number): string {
  return Number.isFinite(value) ? `${(100 * value).toFixed(2)} %` : '–';
}
