/**
 * What leaves the row: alerts to their outlet, flows to their file. What must stay true:
 * - an alert is told as it stands when it is told, once for all it grew by since: it is a copy, the desk goes on changing its own;
 * - flows that were taken (`takeFlows`) are the checkpoint's, and go to their file when that is on the disk.
 */
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { Log } from '@tapline/shared/observe/log.ts';
import type { Alert } from './alert/alert-desk.ts';
import { SEVERITIES } from './alert/finding.ts';
import type { AlertOutlet } from './alert-outlet.ts';
import { flowRecord } from './flow/flow-record.ts';
import type { Flow } from './flow/flow.ts';
import { writeFlowTexts, type FlowLog, type FlowText } from './flow-log.ts';
import type { RowState } from './row-state.ts';

export class RowOutput {
  /** New ones so far. */
  readonly alertsBySeverity: Record<string, number> = Object.fromEntries(SEVERITIES.map((name) => [name, 0]));
  readonly #outlet: AlertOutlet;
  readonly #flowLog: FlowLog | null;
  readonly #log: Log;
  /** By id. */
  #pendingAlerts = new Map<string, Alert>();

  constructor(outlet: AlertOutlet, flowLog: FlowLog | null, log: Log) {
    this.#outlet = outlet;
    this.#flowLog = flowLog;
    this.#log = log;
  }

  get hasAlerts(): boolean {
    return this.#pendingAlerts.size > 0;
  }

  /** Of the flows that wait for `takeFlows`. */
  get flowCharacters(): number {
    return this.#flowLog?.pendingCharacters ?? 0;
  }

  get flowCounters(): FlowLog['counters'] | null {
    return this.#flowLog?.counters ?? null;
  }

  /** Takes an alert that is new or has grown; lent. */
  alert(alert: Alert, isNew: boolean): void {
    if (isNew) this.alertsBySeverity[alert.severity] = (this.alertsBySeverity[alert.severity] ?? 0) + 1;
    this.#pendingAlerts.set(alert.id, structuredClone(alert));
  }

  /** Takes alerts of the house, which count with none of a sensor's. */
  houseAlerts(alerts: readonly Alert[]): void {
    for (const alert of alerts) this.#pendingAlerts.set(alert.id, alert);
  }

  /** Resolves when they are in safe hands. */
  async tellAlerts(): Promise<void> {
    if (this.#pendingAlerts.size === 0) return;
    const alerts = [...this.#pendingAlerts.values()];
    this.#pendingAlerts = new Map();
    await this.#outlet.told(alerts);
  }

  /** Takes a flow that has ended; `values`: the slab, lent. */
  flow(flow: Flow, values: Float64Array, sensor: string): void {
    this.#flowLog?.write(flowRecord(flow, values, sensor));
  }

  /** What is to be written; it counts as written from now on. */
  takeFlows(): readonly FlowText[] {
    return this.#flowLog?.take() ?? [];
  }

  writeFlows(texts: readonly FlowText[]): void {
    try {
      writeFlowTexts(texts);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#log.error({ problem: error.message }, 'Flows could not be written to their file.');
    }
  }

  /** Goes on where a checkpoint stopped, and writes what was to be written with it. */
  restore({ alertsBySeverity, flowsWritten, flowTexts }: RowState): void {
    Object.assign(this.alertsBySeverity, alertsBySeverity);
    if (this.#flowLog !== null) this.#flowLog.counters.flowsWritten = flowsWritten;
    this.writeFlows(flowTexts);
  }
}
