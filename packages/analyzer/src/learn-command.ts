/** `tapline-analyzer learn --from ARCHIVE --for 7d`: what is normal in this plant, frozen as a baseline with its models. */
import { mkdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Command } from 'commander';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { EXIT_DAMAGED_INPUT } from '@tapline/shared/daemon/exit-code.ts';
import { parseSegmentName } from '@tapline/shared/archive/segment-name.ts';
import { analyzeFiles } from './analysis.ts';
import { severityRank } from './alert/finding.ts';
import { freeze, writeBaseline, type Baseline } from './asset/baseline.ts';
import { VECTORS } from './feature/schema.ts';
import { packetFeatures } from './feature/packet-features.ts';
import { inputFiles, type InputFile } from './merge/input-files.ts';
import { BASELINE_MODEL_NAMES, BASELINE_VECTORS } from './model/levels.ts';
import { writeModel } from './model/model-file.ts';
import { RowReservoir, trainBaseline } from './model/train-baseline.ts';
import { FlowInputs } from './model/vectors.ts';
import { isoTime } from './report/analysis-report.ts';
import { loadRules } from './rule/load-rules.ts';

interface LearnOptions {
  readonly from: readonly string[];
  readonly for?: string;
  readonly out: string;
  readonly rules?: string;
}

/** The `learn` subcommand. */
export function learnCommand(): Command {
  return new Command('learn')
    .summary('freezes what is normal in this plant')
    .description(
      'Reads the archive (or captures) of days on which nothing happened and writes a baseline: hosts, pairs, operations, ranges of values, rhythms, and three models ' +
        'of what flows and packets look like. Whatever raises an alert of medium severity meanwhile is shown: a baseline must not learn an attack.',
    )
    .requiredOption('--from <path...>', 'an archive, directories or captures')
    .option(
      '--for <time>',
      'only the last hours or days of an archive, such as 7d or 12h, by the names of its segments',
    )
    .option('--out <directory>', 'where baseline.json and the models go', 'baseline')
    .option('--rules <file>', 'thresholds of the rules that watch meanwhile')
    .addHelpText(
      'after',
      '\nExample:\n  tapline-analyzer learn --from /var/lib/tapline-collector/pcap --for 7d --out /etc/tapline/baseline\n',
    )
    .action(async (options: LearnOptions) => {
      await learn(options);
    });
}

async function learn(options: LearnOptions): Promise<void> {
  const files = latest(inputFiles(options.from), options.for);
  const flows = new RowReservoir('flow');
  const packets = new RowReservoir('packet');
  const inputs = new FlowInputs();
  const flowRow = new Float32Array(VECTORS.flow.length);
  const packetRow = new Float32Array(VECTORS.packet.length);
  const analysis = await analyzeFiles({
    files,
    rules: loadRules(options.rules),
    packet: (_flow, view) => {
      if (!view.isIp) return;
      packetFeatures(view, packetRow, 0);
      packets.add(packetRow);
    },
    flowEnded: (flow, values, engine) => {
      if (flow.protocol === -1) return;
      inputs.read(flow, values, engine.windows, engine.packetUs);
      inputs.write('flow', flowRow, 0);
      flows.add(flowRow);
    },
    progress: (share, count) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${Math.round(100 * share)} %, ${count} packets `);
    },
  });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  if (analysis.packets === 0)
    throw new OperatingError('CONFIG_INVALID', 'there is no packet to learn from', {});
  const baseline: Baseline = {
    baseline: 1,
    from: isoTime(analysis.firstTs * 1e6),
    to: isoTime(analysis.lastTs * 1e6),
    packets: analysis.packets,
    sensors: Object.fromEntries(
      analysis.engines.map((engine) => [engine.sensor, freeze(engine.inventory, engine.internal)]),
    ),
  };
  makeDirectory(options.out);
  writeBaseline(join(options.out, 'baseline.json'), baseline);
  const hosts = Object.values(baseline.sensors).reduce((sum, sensor) => sum + sensor.hosts.length, 0);
  const pairs = Object.values(baseline.sensors).reduce((sum, sensor) => sum + sensor.pairs.length, 0);
  process.stdout.write(`${analysis.packets} packets from ${baseline.from} to ${baseline.to}: ${hosts} hosts, ${pairs} pairs\n`); // prettier-ignore
  for (const name of BASELINE_MODEL_NAMES) learnModel(name, name === 'autoencoder-packet' ? packets : flows, options.out); // prettier-ignore
  const suspicious = analysis.alerts.filter(
    ({ severity }) => severityRank(severity) >= severityRank('medium'),
  );
  for (const alert of suspicious.slice(0, 20))
    console.error(
      `look at this before you trust the baseline: ${alert.severity} ${alert.title}: ${alert.evidence}`,
    );
  if (suspicious.length > 20) console.error(`… and ${suspicious.length - 20} more`);
  for (const { path, reason } of analysis.damaged)
    console.error(`${path}: ${reason}; learnt from what stands before the damage`);
  if (analysis.damaged.length > 0) process.exitCode = EXIT_DAMAGED_INPUT;
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new OperatingError('ARCHIVE_FAILED', `cannot write to ${path}: ${messageOf(error)}; name another directory with --out`, { path }, error); // prettier-ignore
  }
}

function learnModel(name: (typeof BASELINE_MODEL_NAMES)[number], rows: RowReservoir, out: string): void {
  const trained = trainBaseline(name, rows);
  if (trained === null) {
    // One of an earlier run would judge by another baseline.
    for (const end of ['json', 'onnx']) rmSync(join(out, `${name}.${end}`), { force: true });
    console.error(`${name}: too little to learn from (${rows.length} rows); learn from a longer time`);
    return;
  }
  writeModel(out, trained.graph, {
    name,
    title:
      name === 'autoencoder-packet'
        ? 'Packets unlike those of this plant'
        : 'A flow unlike those of this plant',
    technique: '',
    severity: 'low',
    vector: BASELINE_VECTORS[name],
    internal_only: false,
    threshold: trained.threshold,
    flows_told: 1,
    medians: [...trained.medians],
    scores: { learnt_rows: trained.learnt, tested_rows: trained.tested },
    data: [],
    seed: 42,
    made_by: 'tapline-analyzer learn',
  });
  process.stdout.write(`${name}: learnt from ${trained.learnt} rows, threshold ${trained.threshold.toFixed(4)} by the ${trained.tested} last ones\n`); // prettier-ignore
}

/** Segments of the last `period` before the newest one; everything without a period. */
function latest(files: InputFile[], period: string | undefined): InputFile[] {
  if (period === undefined) return files;
  const match = /^(\d+)([hd])$/.exec(period);
  if (match === null) throw new OperatingError('CONFIG_INVALID', `--for ${period}: write hours or days, such as 12h or 7d`, {}); // prettier-ignore
  const seconds = Number(match[1]) * (match[2] === 'h' ? 3600 : 86_400);
  const starts = files.map(({ path }) => parseSegmentName(basename(path))?.startSeconds ?? null);
  const newest = starts.reduce<number>((most, start) => Math.max(most, start ?? 0), 0);
  if (newest === 0) throw new OperatingError('CONFIG_INVALID', '--for needs an archive: the names of these files do not tell their time', {}); // prettier-ignore
  return files.filter((_, i) => (starts[i] ?? 0) > newest - seconds);
}
