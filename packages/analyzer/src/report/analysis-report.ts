/** What an analysis found, as one plain value: the JSON of `analyze --json`, and what the terminal and the HTML page are made of. */
import type { Analysis } from '../analysis.ts';
import type { Alert } from '../alert/alert-desk.ts';
import { severityRank } from '../alert/finding.ts';
import { OT_SERVICES, type Host } from '../asset/inventory.ts';
import { isGroupAddress } from '../asset/networks.ts';
import { guessRole } from '../asset/roles.ts';
import { vendorOf } from '../asset/vendor.ts';
import type { Engine } from '../engine.ts';
import { exportCommand } from './export-words.ts';

const UNANSWERED = '(unanswered)';

export interface HostLine {
  readonly sensor: string;
  readonly address: string;
  readonly macs: readonly string[];
  readonly vendor: string;
  readonly name: string;
  readonly role: string;
  /** Purdue level. */
  readonly level: number;
  readonly offers: readonly string[];
  readonly uses: readonly string[];
  readonly operations: Readonly<Record<string, number>>;
}

export interface ProtocolLine {
  readonly service: string;
  readonly isOt: boolean;
  flows: number;
  pairs: number;
  /** Operations by name, requests only. */
  readonly operations: Record<string, number>;
}

export interface AlertLine extends Alert {
  /** ISO 8601, UTC, microseconds. */
  readonly first: string;
  readonly last: string;
  /** Opens the packets in Wireshark. */
  readonly export: string;
}

export interface AnalysisReport {
  readonly version: 1;
  readonly files: number;
  readonly packets: number;
  readonly bytes: number;
  readonly first: string;
  readonly last: string;
  readonly flows: { readonly total: number; readonly malicious: number; readonly evicted: number };
  /** Packets by reason why they are of no flow. */
  readonly withoutFlow: { readonly malformed: number; readonly other: number };
  readonly damaged: Analysis['damaged'];
  readonly hosts: readonly HostLine[];
  readonly protocols: readonly ProtocolLine[];
  readonly alerts: readonly AlertLine[];
  /** Packets and malicious flows by time, in equal steps. */
  readonly timeline: { readonly stepSeconds: number; readonly packets: readonly number[] };
}

export interface ReportInput {
  readonly analysis: Analysis;
  readonly files: readonly string[];
  readonly flows: { readonly total: number; readonly malicious: number };
  readonly timeline: AnalysisReport['timeline'];
}

export function analysisReport(input: ReportInput): AnalysisReport {
  const { analysis } = input;
  const sum = (count: (engine: Engine) => number): number =>
    analysis.engines.reduce((total, engine) => total + count(engine), 0);
  return {
    version: 1,
    files: input.files.length,
    packets: analysis.packets,
    bytes: analysis.bytes,
    first: isoTime(analysis.firstTs * 1e6),
    last: isoTime(analysis.lastTs * 1e6),
    flows: { ...input.flows, evicted: sum((engine) => engine.flows.counters.evicted) },
    withoutFlow: {
      malformed: sum((engine) => engine.flows.counters.malformed),
      other: sum((engine) => engine.flows.counters.withoutFlow),
    },
    damaged: analysis.damaged,
    hosts: analysis.engines.flatMap(hostLines),
    protocols: protocolLines(analysis.engines),
    alerts: [...analysis.alerts]
      .sort((a, b) => severityRank(b.severity) - severityRank(a.severity) || a.firstUs - b.firstUs)
      .map((alert) => ({
        ...alert,
        first: isoTime(alert.firstUs),
        last: isoTime(alert.lastUs),
        export: exportCommand(alert),
      })),
    timeline: input.timeline,
  };
}

/** `2026-01-02T03:04:05.678901Z`. */
export function isoTime(us: number): string {
  const whole = Math.floor(us / 1e6);
  const micros = Math.floor(us - whole * 1e6);
  return `${new Date(whole * 1000).toISOString().slice(0, 19)}.${String(micros).padStart(6, '0')}Z`;
}

function hostLines(engine: Engine): HostLine[] {
  const lines = [...engine.inventory.state.hosts.values()]
    .filter((host) => !isGroupAddress(host.address))
    .map((host) => hostLine(engine, host));
  return lines.sort((a, b) => a.level - b.level || compareAddresses(a.address, b.address));
}

function hostLine(engine: Engine, host: Host): HostLine {
  const { role, level } = guessRole(host, engine.internal);
  return {
    sensor: engine.sensor,
    address: host.address,
    macs: host.macs,
    vendor: vendorOf(host.macs[0] ?? (host.address.length === 17 ? host.address : '')),
    name: host.names['hostname'] ?? host.names['station-name'] ?? host.names['ntlm-workstation'] ?? '',
    role,
    level,
    offers: byCount(host.offers),
    uses: byCount(host.uses),
    operations: host.asked,
  };
}

function protocolLines(engines: readonly Engine[]): ProtocolLine[] {
  const lines = new Map<string, ProtocolLine>();
  for (const engine of engines)
    for (const pair of engine.inventory.state.pairs.values()) {
      // What was tried and never answered is not spoken here; scans would fill the list.
      const service = pair.answered > 0 || pair.operations.size > 0 ? pair.service : UNANSWERED;
      let line = lines.get(service);
      if (line === undefined) {
        line = { service, isOt: OT_SERVICES.has(service), flows: 0, pairs: 0, operations: {} };
        lines.set(service, line);
      }
      line.flows += pair.flows;
      line.pairs++;
      for (const { name, count } of pair.operations.values())
        if (count > 0) line.operations[name] = (line.operations[name] ?? 0) + count;
    }
  return [...lines.values()].sort((a, b) => Number(b.isOt) - Number(a.isOt) || b.flows - a.flows);
}

function byCount(counts: Readonly<Record<string, number>>): string[] {
  return Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .map(([name]) => name);
}

/** Numbers by their value: 10.0.0.9 before 10.0.0.10. */
function compareAddresses(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
