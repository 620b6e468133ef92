/** For tests: an engine that is fed by hand or with a capture, and everything that came out of it. */
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { corpusPath } from '../../../tests/support/corpus.ts';
import type { Alert } from './alert/alert-desk.ts';
import { analyzeFiles, type Analysis } from './analysis.ts';
import type { SensorBaseline } from './asset/baseline.ts';
import { Engine, type EngineEvents } from './engine.ts';
import type { FlowBudget } from './flow/flow-budget.ts';
import { flowRecord, type FlowRecord } from './flow/flow-record.ts';
import type { FlowOptions } from './flow/flow-table.ts';
import { inputFiles } from './merge/input-files.ts';
import { recordsOf, type Packet } from './packet/frame-testing.ts';
import { rulesSchema, type Rules } from './rule/rule-file.ts';

/** 2026-01-05T06:00:00Z: packet times in tests are microseconds after it. */
export const START_US = 1_767_592_800_000_000;

export interface RigOptions {
  readonly rules?: object;
  readonly flows?: Partial<FlowOptions>;
  readonly baseline?: SensorBaseline;
  readonly flowBudget?: FlowBudget;
  readonly flowEnded?: EngineEvents['flowEnded'];
}

/** An engine and its ears. */
export class Rig {
  readonly engine: Engine;
  readonly flows: FlowRecord[] = [];
  readonly alerts = new Map<string, Alert>();
  #number = 1;

  constructor(options: RigOptions = {}) {
    this.engine = new Engine(
      {
        sensor: 'test',
        rules: rulesOf(options.rules),
        fileName: (file) => `file-${file}.pcap`,
        ...(options.baseline === undefined ? {} : { baseline: options.baseline }),
        ...(options.flows === undefined ? {} : { flows: options.flows }),
        ...(options.flowBudget === undefined ? {} : { flowBudget: options.flowBudget }),
      },
      {
        alert: (alert) => this.alerts.set(alert.id, alert),
        flowEnded: (flow, values, engine) => {
          this.flows.push(flowRecord(flow, values, engine.sensor));
          options.flowEnded?.(flow, values, engine);
        },
      },
    );
  }

  /** Takes packets whose times are microseconds after START_US. */
  add(packets: readonly Packet[], linkType = LINKTYPE_ETHERNET): this {
    const bytes = recordsOf(packets.map((packet) => ({ ...packet, timeUs: START_US + packet.timeUs })));
    this.engine.add({
      file: 0,
      bytes,
      from: 0,
      to: bytes.byteLength,
      linkType,
      number: this.#number,
      offset: -1,
    });
    this.#number += packets.length;
    return this;
  }

  finish(): this {
    this.engine.finish();
    return this;
  }

  /** Names of the rules that spoke, each once, sorted. */
  get rules(): string[] {
    return rulesIn(this.alerts.values());
  }

  alert(rule: string): Alert | undefined {
    return [...this.alerts.values()].find((alert) => alert.rule === rule);
  }
}

export function rulesOf(changes: object = {}): Rules {
  return rulesSchema.parse(changes);
}

export function rulesIn(alerts: Iterable<Alert>): string[] {
  return [...new Set([...alerts].map(({ rule }) => rule))].sort();
}

export interface CorpusAnalysis extends Analysis {
  readonly flows: readonly FlowRecord[];
}

/** Everything that the analyzer finds in one file of the corpus, or in a file anywhere. */
export async function analyzeCapture(
  name: string,
  options: { readonly rules?: object } = {},
): Promise<CorpusAnalysis> {
  const flows: FlowRecord[] = [];
  const analysis = await analyzeFiles({
    files: inputFiles([name.startsWith('/') ? name : corpusPath(name)]),
    rules: rulesOf(options.rules),
    flowEnded: (flow, values, engine) => flows.push(flowRecord(flow, values, engine.sensor)),
  });
  // A fault is survived, in a plant; here it is one.
  for (const { path, reason } of analysis.damaged)
    if (reason.includes('fault of this program')) throw new Error(`${path}: ${reason}`);
  return { ...analysis, flows };
}
