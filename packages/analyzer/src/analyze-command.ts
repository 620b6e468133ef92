/** `tapline-analyzer analyze FILE|DIR…`: the whole analyzer over captures, without a daemon, and a report of what was found. */
import { join } from 'node:path';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { EXIT_DAMAGED_INPUT } from '@tapline/shared/daemon/exit-code.ts';
import cliProgress from 'cli-progress';
import { Command, Option } from 'commander';
import { analyzeFiles, type Analysis } from './analysis.ts';
import { FLOW_FORMATS, type FlowFormat } from './flow/flow-export.ts';
import { flowRecord, type FlowRecord } from './flow/flow-record.ts';
import { inputFiles } from './merge/input-files.ts';
import { readBaseline } from './asset/baseline.ts';
import { readModels } from './model/model-file.ts';
import { SHIPPED_MODELS } from './model/shipped-models.ts';
import { analysisReport } from './report/analysis-report.ts';
import { FlowFile } from './report/flow-file.ts';
import { htmlReport } from './report/html-report.ts';
import { terminalReport } from './report/terminal-report.ts';
import { Timeline } from './report/timeline.ts';
import { giveVerdicts } from './report/verdicts.ts';
import { writeReport } from './report/write-report.ts';
import { loadRules } from './rule/load-rules.ts';

/** About 1 KiB each: flows beyond this get their verdicts by the alerts that are known by then. */
const FLOWS_HELD_MAX = 400_000;

interface AnalyzeOptions {
  readonly json: boolean;
  readonly html?: string;
  readonly flows?: FlowFormat;
  readonly flowsFile?: string;
  readonly rules?: string;
  readonly models: string | false;
  readonly baseline?: string;
  readonly progress: boolean;
}

/** The `analyze` subcommand. Exit code 7 when a file is damaged; what stands before the damage is analysed. */
export function analyzeCommand(): Command {
  return new Command('analyze')
    .summary('flows, protocols, hosts and alerts of captures, at once')
    .description(
      'Reads captures (PCAP, pcapng, packed or not), directories of them or an archive, in order of time, and reports what they hold: alerts with their ' +
        'evidence and packets, hosts with their roles, protocols with their operations.',
    )
    .argument('<path...>', 'captures and directories; - is stdin, tcp://host:57012 a PCAP-over-IP server')
    .option('--json', 'print the report as JSON', false)
    .option('--html <file>', 'also write the report as one HTML page')
    .addOption(new Option('--flows <format>', 'write flows').choices([...FLOW_FORMATS]))
    .option('--flows-file <file>', 'where to (default: stdout, and then no report there)')
    .option('--rules <file>', 'thresholds (default: those of the shipped rules.yaml)')
    .option('--models <directory>', 'models that score the flows', SHIPPED_MODELS)
    .option('--no-models', 'rules alone')
    .option('--baseline <directory>', 'what learn has frozen: deviations are told')
    .option('--no-progress', 'no progress bar')
    .addHelpText(
      'after',
      '\nExamples:\n  tapline-analyzer analyze capture.pcap\n  tapline-analyzer analyze --html report.html /var/lib/tapline-collector/pcap\n  tapline-analyzer analyze --flows zeek --flows-file conn.log capture.pcapng.gz\n',
    )
    .action(async (paths: readonly string[], options: AnalyzeOptions) => {
      await analyze(paths, options);
    });
}

async function analyze(paths: readonly string[], options: AnalyzeOptions): Promise<void> {
  if (options.flows === 'parquet' && options.flowsFile === undefined)
    throw new OperatingError('CONFIG_INVALID', '--flows parquet needs --flows-file: it is no text', {});
  const rules = loadRules(options.rules);
  const models = options.models === false ? [] : readModels(options.models);
  const baseline =
    options.baseline === undefined ? undefined : readBaseline(join(options.baseline, 'baseline.json'));
  if (options.baseline !== undefined) models.push(...readModels(options.baseline, ['baseline']));
  const files = inputFiles(paths);
  const flows = options.flows === undefined ? null : new FlowFile(options.flows, options.flowsFile);
  const bar = progressBar(options);
  const timeline = new Timeline();
  const held: FlowRecord[] = [];
  let total = 0;
  let malicious = 0;

  const release = (alerts: Analysis['alerts']): void => {
    giveVerdicts(held, alerts);
    for (const record of held) {
      if (record.verdict === 'malicious') malicious++;
      flows?.write(record);
    }
    held.length = 0;
  };
  const stop = new AbortController();
  const onSignal = (): void => {
    stop.abort();
  };
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  let analysis: Analysis;
  try {
    analysis = await analyzeFiles({
      files,
      rules,
      models,
      ...(baseline === undefined ? {} : { baseline }),
      signal: stop.signal,
      flowEnded: (flow, values, engine) => {
        total++;
        held.push(flowRecord(flow, values, engine.sensor));
        if (held.length >= FLOWS_HELD_MAX) release(engine.desk.alerts);
      },
      packets: (engine, packets) => {
        timeline.add(engine.clockUs, packets);
      },
      progress: (share, packets) => {
        bar?.update(Math.round(share * 1000), { packets: packets.toLocaleString('en-US') });
      },
    });
  } finally {
    bar?.stop();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
  release(analysis.alerts);
  await flows?.close();
  const report = analysisReport({ analysis, files: files.map(({ path }) => path), flows: { total, malicious }, timeline: timeline.result() }); // prettier-ignore
  if (options.html !== undefined) writeReport(options.html, htmlReport(report));
  if (options.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else if (flows === null || options.flowsFile !== undefined)
    process.stdout.write(terminalReport(report, process.stdout.isTTY));
  if (stop.signal.aborted) console.error('stopped before the end; the report is about what was read');
  if (analysis.damaged.length > 0) process.exitCode = EXIT_DAMAGED_INPUT;
}

function progressBar(options: AnalyzeOptions): cliProgress.SingleBar | null {
  if (!options.progress || !process.stderr.isTTY) return null;
  const bar = new cliProgress.SingleBar(
    { format: '{bar} {percentage}%  {packets} packets  {eta_formatted} left', stream: process.stderr, hideCursor: true }, // prettier-ignore
    cliProgress.Presets.shades_classic,
  );
  bar.start(1000, 0, { packets: '0' });
  return bar;
}
