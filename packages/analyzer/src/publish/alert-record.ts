/**
 * The public form of an alert: what every output is made of, and what `alerts --json`, the webhook and stdout show as it stands. Keys are added, never
 * renamed or given another meaning.
 */
import type { Alert } from '../alert/alert-desk.ts';
import type { FeatureShare, Severity } from '../alert/finding.ts';
import { isoTime } from '../report/analysis-report.ts';
import { exportCommand } from '../report/export-words.ts';
import { techniqueOf, type Technique } from './techniques.ts';

/** What a person said of an alert: `true` it was one, `false` it was a false alarm. */
export type Label = 'true' | 'false';

/** An alert as it is told; models say which features made them say so. */
export type ToldAlert = Alert;

/** Packets `firstPacket` to `lastPacket` (from 1) of a file; offsets are of their records, -1 where there are none. */
export interface RecordSlice {
  readonly file: string;
  readonly firstPacket: number;
  readonly lastPacket: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
}

export interface AlertRecord {
  readonly version: 1;
  /** 16 hexadecimal digits: the same for every telling of an alert. */
  readonly id: string;
  /** Number of the telling: 1, 2, 3 … without holes. */
  readonly sequence: number;
  readonly sensor: string;
  /** Packet time, ISO 8601, UTC, microseconds. */
  readonly first: string;
  readonly last: string;
  /** The same in microseconds since 1970. */
  readonly firstUs: number;
  readonly lastUs: number;
  /** Findings so far. */
  readonly count: number;
  readonly rule: string;
  readonly title: string;
  readonly severity: Severity;
  /** 0 to 1; the error of an autoencoder may be more. */
  readonly score: number;
  readonly technique: Technique | null;
  /** Addresses (IP or MAC); '' where there is nobody to name. */
  readonly source: string;
  readonly destination: string;
  /** Of the destination; -1 where there is none. */
  readonly port: number;
  /** In words: `modbus`, `tcp`. */
  readonly protocol: string;
  /** What carries it: `tcp`, `udp`, `icmp` …; '' where it is not known. */
  readonly transport: string;
  readonly community_id: string;
  readonly evidence: string;
  readonly features: readonly FeatureShare[];
  /** Ids of flows, as Zeek's `uid`. */
  readonly flows: readonly string[];
  readonly slices: readonly RecordSlice[];
  /** The command that shows the packets; '' where there are none. */
  readonly export: string;
  readonly label: Label | null;
  readonly note: string;
}

export interface RecordFacts {
  readonly sequence: number;
  readonly label: Label | null;
  readonly note: string;
}

const FEATURES_MAX = 8;
const TRANSPORTS: Readonly<Record<number, string>> = { 1: 'icmp', 2: 'igmp', 6: 'tcp', 17: 'udp', 47: 'gre', 58: 'icmp6', 132: 'sctp' }; // prettier-ignore
const TRANSPORT_NAMES: ReadonlySet<string> = new Set([...Object.values(TRANSPORTS), 'arp', 'ip']);
/** Services that are spoken over one transport only, or nearly so. */
const CARRIED_BY: Readonly<Record<string, string>> = {
  modbus: 'tcp',
  s7comm: 'tcp',
  's7comm-plus': 'tcp',
  dnp3: 'tcp',
  iec104: 'tcp',
  mms: 'tcp',
  opcua: 'tcp',
  mqtt: 'tcp',
  bacnet: 'udp',
  http: 'tcp',
  ftp: 'tcp',
  ssh: 'tcp',
  rdp: 'tcp',
  smb: 'tcp',
  telnet: 'tcp',
  tls: 'tcp',
  dcerpc: 'tcp',
  dns: 'udp',
  dhcp: 'udp',
};

export function alertRecord(alert: ToldAlert, facts: RecordFacts): AlertRecord {
  return {
    version: 1,
    id: alert.id,
    sequence: facts.sequence,
    sensor: alert.sensor,
    first: isoTime(alert.firstUs),
    last: isoTime(alert.lastUs),
    firstUs: Math.floor(alert.firstUs),
    lastUs: Math.floor(alert.lastUs),
    count: alert.count,
    rule: alert.rule,
    title: alert.title,
    severity: alert.severity,
    score: alert.score,
    technique: techniqueOf(alert.technique),
    source: alert.source,
    destination: alert.destination,
    port: alert.port,
    protocol: alert.protocol,
    transport: transportOf(alert),
    community_id: alert.communityId,
    evidence: alert.evidence,
    features: topFeatures(alert.features ?? []),
    flows: alert.flows,
    slices: alert.slices,
    export: exportCommand(alert),
    label: facts.label,
    note: facts.note,
  };
}

/** One line for people. */
export function recordText(record: AlertRecord): string {
  const { sequence, last, severity, rule, sensor, title, source, destination, port, count, id } = record;
  const target = destination === '' ? '' : ` -> ${destination}${port >= 0 ? ` port ${port}` : ''}`;
  const label = record.label === null ? '' : `  [${record.label}]`;
  const line = `${String(sequence).padStart(6)}  ${last.slice(0, 19)}Z  ${severity.padEnd(8)}  ${id}  ${rule.padEnd(22)}  ${sensor}  ${source === '' ? '*' : source}${target}  ${title}${count > 1 ? ` (x${count})` : ''}: ${record.evidence}${label}`;
  // Evidence carries names out of packets: a terminal must not obey them.
  return line.replaceAll(/\p{Cc}/gu, ' ');
}

function transportOf({ scope, protocol }: Alert): string {
  if (scope.protocol !== undefined && scope.protocol >= 0) return TRANSPORTS[scope.protocol] ?? `ip-${scope.protocol}`; // prettier-ignore
  if (TRANSPORT_NAMES.has(protocol)) return protocol;
  return CARRIED_BY[protocol] ?? '';
}

function topFeatures(features: readonly FeatureShare[]): FeatureShare[] {
  return [...features]
    .sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution))
    .slice(0, FEATURES_MAX);
}
