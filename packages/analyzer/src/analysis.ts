/**
 * The whole analyzer over files, without a daemon: the packets of all of them by time, an engine for each sensor, and what came of it. What
 * `analyze`, `learn`, `train` and `evaluate` stand on.
 */
import { messageOf } from '@tapline/shared/base/errors.ts';
import { readU32 } from '@tapline/shared/packet/record.ts';
import { mergeCaptures } from './merge/capture-merge.ts';
import { baselineOf, type Baseline } from './asset/baseline.ts';
import type { Alert } from './alert/alert-desk.ts';
import { Engine, type EngineEvents } from './engine.ts';
import type { InputFile } from './merge/input-files.ts';
import type { LoadedModel } from './model/model-file.ts';
import type { Rules } from './rule/rule-file.ts';
import { ScoringStation } from './scoring-station.ts';

export interface AnalysisOptions {
  readonly files: readonly InputFile[];
  readonly rules: Rules;
  readonly signal?: AbortSignal;
  flowEnded?: EngineEvents['flowEnded'];
  packet?: EngineEvents['packet'];
  /** So many packets were just added to the engine. */
  packets?(engine: Engine, packets: number): void;
  /** What is normal, by sensor. */
  readonly baseline?: Baseline;
  /** Models that score the flows. */
  readonly models?: readonly LoadedModel[];
  readonly shadows?: readonly LoadedModel[];
  /** `share` of the input, 0 to 1. */
  progress?(share: number, packets: number): void;
}

export interface Analysis {
  readonly engines: readonly Engine[];
  /** What the models did, by name. */
  readonly models: Readonly<Record<string, Record<string, number>>>;
  readonly alerts: readonly Alert[];
  /** Files that are damaged, and how. */
  readonly damaged: readonly { readonly path: string; readonly reason: string }[];
  readonly packets: number;
  readonly bytes: number;
  /** Packet time in seconds since 1970; 0 without packets. */
  readonly firstTs: number;
  readonly lastTs: number;
}

/** Reads everything. */
export async function analyzeFiles(options: AnalysisOptions): Promise<Analysis> {
  const engines = new Map<string, Engine>();
  const alerts = new Map<string, Alert>();
  const damaged: { path: string; reason: string }[] = [];
  /** Files with packets that met a fault; the first of each is told. */
  const failedIn = new Set<number>();
  const { files } = options;
  const fileName = (file: number): string => files[file]?.path ?? '';
  let packets = 0;
  let firstTs = Infinity;
  let lastTs = -Infinity;

  const { models = [], shadows = [] } = options;
  const hasModels = models.length + shadows.length > 0;
  const scoring = hasModels ? await ScoringStation.of({ models, shadows }, true) : null;

  const engineOf = (sensor: string): Engine => {
    const known = engines.get(sensor);
    if (known !== undefined) return known;
    const baseline = baselineOf(options.baseline, sensor);
    const engine = new Engine(
      {
        sensor,
        rules: options.rules,
        fileName,
        ...(baseline === undefined ? {} : { baseline }),
      },
      {
        alert: (alert) => alerts.set(alert.id, alert),
        failed: (error, { origin }) => {
          if (failedIn.has(origin.file)) return;
          failedIn.add(origin.file);
          damaged.push({ path: fileName(origin.file), reason: `packet ${origin.number} cannot be analysed, by a fault of this program (${messageOf(error)}); please report it` }); // prettier-ignore
        },
        packet: (flow, view) => {
          options.packet?.(flow, view);
          scoring?.packet(flow, view, engine);
        },
        flowEnded: (flow, values, owner) => {
          options.flowEnded?.(flow, values, owner);
          scoring?.flowEnded(flow, values, owner);
        },
      },
    );
    engines.set(sensor, engine);
    return engine;
  };

  const totalBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const runs = mergeCaptures(
    files.map(({ path }) => path),
    totalBytes,
    {
      damaged: (path, reason) => damaged.push({ path, reason }),
      progress: (share) => options.progress?.(share, packets),
    },
    options.signal,
  );
  for await (const run of runs) {
    const engine = engineOf(files[run.file]?.sensor ?? '.');
    const before = engine.counters.packets;
    engine.add(run);
    const added = engine.counters.packets - before;
    packets += added;
    options.packets?.(engine, added);
    firstTs = Math.min(firstTs, readU32(run.bytes, run.from) + readU32(run.bytes, run.from + 4) / 1e9);
    lastTs = Math.max(lastTs, engine.clockUs / 1e6);
    if (options.signal?.aborted === true) break;
    if (scoring?.isBusy === true) await scoring.settled();
  }
  for (const engine of engines.values()) engine.finish();
  await scoring?.settled();
  for (const engine of engines.values()) engine.desk.flush();
  await scoring?.close();
  options.progress?.(1, packets);
  return {
    engines: [...engines.values()],
    models: scoring?.modelBooks ?? {},
    alerts: [...alerts.values()].sort((a, b) => a.firstUs - b.firstUs),
    damaged,
    packets,
    bytes: [...engines.values()].reduce((sum, engine) => sum + engine.counters.bytes, 0),
    firstTs: packets === 0 ? 0 : firstTs,
    lastTs: packets === 0 ? 0 : lastTs,
  };
}
