/**
 * Flows as files: CSV and JSON lines with everything that is known of a flow, its features included where they are asked for, and Zeek's conn.log as
 * TSV and as JSON lines, so that what reads Zeek's logs reads these.
 */
import type { FlowRecord } from './flow-record.ts';

export const FLOW_FORMATS = ['csv', 'json', 'parquet', 'zeek', 'zeek-json'] as const;
export type FlowFormat = (typeof FLOW_FORMATS)[number];

/** A column of the table: its name, its kind, and its value. */
export interface FlowColumn {
  readonly name: string;
  readonly kind: 'string' | 'number' | 'integer';
  readonly value: (record: FlowRecord) => string | number;
}

export const FLOW_COLUMNS_TOLD: readonly FlowColumn[] = [
  { name: 'ts', kind: 'number', value: (r) => r.ts },
  { name: 'uid', kind: 'string', value: (r) => r.uid },
  { name: 'sensor', kind: 'string', value: (r) => r.sensor },
  { name: 'client', kind: 'string', value: (r) => r.client },
  { name: 'client_port', kind: 'integer', value: (r) => r.clientPort },
  { name: 'server', kind: 'string', value: (r) => r.server },
  { name: 'server_port', kind: 'integer', value: (r) => r.serverPort },
  { name: 'protocol', kind: 'string', value: transport },
  { name: 'vlan', kind: 'integer', value: (r) => r.vlan },
  { name: 'service', kind: 'string', value: (r) => r.service },
  { name: 'duration', kind: 'number', value: (r) => r.duration },
  { name: 'client_bytes', kind: 'integer', value: (r) => r.clientBytes },
  { name: 'server_bytes', kind: 'integer', value: (r) => r.serverBytes },
  { name: 'client_packets', kind: 'integer', value: (r) => r.clientPackets },
  { name: 'server_packets', kind: 'integer', value: (r) => r.serverPackets },
  { name: 'conn_state', kind: 'string', value: (r) => r.connState },
  { name: 'history', kind: 'string', value: (r) => r.history },
  { name: 'community_id', kind: 'string', value: (r) => r.communityId },
  { name: 'ending', kind: 'string', value: (r) => r.ending },
  { name: 'exceptions', kind: 'integer', value: (r) => r.exceptions },
  { name: 'violations', kind: 'integer', value: (r) => r.violations },
  { name: 'verdict', kind: 'string', value: (r) => r.verdict },
  { name: 'alerts', kind: 'string', value: (r) => r.alerts.join(' ') },
];

/** What a text file of the format begins with. */
export function flowHeader(format: FlowFormat, nowMs: number): string {
  if (format === 'csv') return `${FLOW_COLUMNS_TOLD.map(({ name }) => name).join(',')}\n`;
  if (format !== 'zeek') return '';
  return [
    '#separator \\x09',
    '#set_separator\t,',
    '#empty_field\t(empty)',
    '#unset_field\t-',
    '#path\tconn',
    `#open\t${zeekTime(nowMs)}`,
    `#fields\t${ZEEK.map(({ name }) => name).join('\t')}`,
    `#types\t${ZEEK.map(({ type }) => type).join('\t')}`,
    '',
  ].join('\n');
}

/** One flow as a line of the format. */
export function flowLine(format: FlowFormat, record: FlowRecord): string {
  if (format === 'csv') return `${FLOW_COLUMNS_TOLD.map((column) => csv(column.value(record))).join(',')}\n`;
  if (format === 'zeek') return `${ZEEK.map(({ value }) => zeekText(value(record))).join('\t')}\n`;
  if (format === 'zeek-json') {
    const entries = ZEEK.map(({ name, value }) => [name, value(record)] as const);
    return `${JSON.stringify(Object.fromEntries(entries.filter(([, value]) => value !== null)))}\n`;
  }
  const told = Object.fromEntries(FLOW_COLUMNS_TOLD.map((column) => [column.name, column.value(record)]));
  return `${JSON.stringify({ ...told, alerts: record.alerts, facts: record.facts, scores: record.scores })}\n`;
}

/** What a text file of the format ends with. */
export function flowFooter(format: FlowFormat, nowMs: number): string {
  return format === 'zeek' ? `#close\t${zeekTime(nowMs)}\n` : '';
}

type ZeekValue = string | number | boolean | null;

/** conn.log's fields in its order. Protocols straight on Ethernet are in it too, their MAC addresses as hosts. */
const ZEEK: readonly { name: string; type: string; value: (r: FlowRecord) => ZeekValue }[] = [
  { name: 'ts', type: 'time', value: (r) => Number(r.ts.toFixed(6)) },
  { name: 'uid', type: 'string', value: (r) => r.uid },
  { name: 'id.orig_h', type: 'addr', value: (r) => r.client },
  { name: 'id.orig_p', type: 'port', value: (r) => Math.max(0, r.clientPort) },
  { name: 'id.resp_h', type: 'addr', value: (r) => r.server },
  { name: 'id.resp_p', type: 'port', value: (r) => Math.max(0, r.serverPort) },
  { name: 'proto', type: 'enum', value: (r) => ({ 6: 'tcp', 17: 'udp', 1: 'icmp', 58: 'icmp' })[r.protocol] ?? 'unknown_transport' },
  { name: 'service', type: 'string', value: (r) => r.service || null },
  { name: 'duration', type: 'interval', value: (r) => (r.clientPackets + r.serverPackets > 1 ? Number(r.duration.toFixed(6)) : null) },
  { name: 'orig_bytes', type: 'count', value: (r) => r.clientBytes },
  { name: 'resp_bytes', type: 'count', value: (r) => r.serverBytes },
  { name: 'conn_state', type: 'string', value: (r) => r.connState },
  { name: 'missed_bytes', type: 'count', value: (r) => r.missedBytes },
  { name: 'history', type: 'string', value: (r) => r.history || null },
  { name: 'orig_pkts', type: 'count', value: (r) => r.clientPackets },
  { name: 'orig_ip_bytes', type: 'count', value: (r) => r.clientIpBytes },
  { name: 'resp_pkts', type: 'count', value: (r) => r.serverPackets },
  { name: 'resp_ip_bytes', type: 'count', value: (r) => r.serverIpBytes },
  { name: 'vlan', type: 'int', value: (r) => (r.vlan === -1 ? null : r.vlan) },
  { name: 'community_id', type: 'string', value: (r) => r.communityId || null },
]; // prettier-ignore

function transport(record: FlowRecord): string {
  const { protocol } = record;
  if (protocol === -1) return `0x${record.etherType.toString(16).padStart(4, '0')}`;
  return { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6', 132: 'sctp' }[protocol] ?? `ip-${protocol}`;
}

function csv(value: string | number): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function zeekText(value: ZeekValue): string {
  if (value === null) return '-';
  if (value === '') return '(empty)';
  if (typeof value !== 'string')
    return typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(6) : String(value);
  // A text that looks like "nothing" is not nothing.
  if (value === '-' || value === '(empty)') return `\\x${value.charCodeAt(0).toString(16)}${value.slice(1)}`;
  // Tabs and line ends would break the line; Zeek writes them as \xNN.
  return value.replaceAll(
    /[\t\n\r\\]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

function zeekTime(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[T:]/g, '-');
}
