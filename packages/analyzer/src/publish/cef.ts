/**
 * ArcSight's Common Event Format, and the RFC 5424 line around it.
 *
 *   <PRI>1 TIME HOST tapline-analyzer PID RULE - CEF:0|Tapline|tapline-analyzer|VERSION|RULE|TITLE|0-10|key=value …
 *
 * In the header `\` and `|` are escaped and line ends become spaces; in values `\`, `=` and line ends are escaped.
 */
import type { Severity } from '../alert/finding.ts';
import type { AlertRecord } from './alert-record.ts';
import { ipOf, macOf } from './eve-sink.ts';

const CEF_SEVERITIES: Readonly<Record<Severity, number>> = { info: 1, low: 3, medium: 5, high: 8, critical: 10 }; // prettier-ignore
/** RFC 5424: 2 critical, 3 error, 4 warning, 5 notice, 6 informational. */
const SYSLOG_SEVERITIES: Readonly<Record<Severity, number>> = { critical: 2, high: 3, medium: 4, low: 5, info: 6 }; // prettier-ignore
/** Receivers must take 2 KiB and should take 8 KiB (RFC 5424, 6.1): these together stay below. */
const TITLE_MAX = 256;
const EVIDENCE_MAX = 1500;
const TEXT_MAX = 512;

export const FACILITIES = ['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp', 'ntp', 'audit', 'alert', 'clock', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'] as const; // prettier-ignore
export type Facility = (typeof FACILITIES)[number];

export interface SyslogOrigin {
  readonly facility: Facility;
  readonly hostname: string;
  readonly version: string;
  readonly processId: number;
}

/** The message without its frame. */
export function syslogMessage(record: AlertRecord, origin: SyslogOrigin): string {
  const priority = FACILITIES.indexOf(origin.facility) * 8 + SYSLOG_SEVERITIES[record.severity];
  const host = printable(origin.hostname, 255);
  return `<${priority}>1 ${record.last} ${host} tapline-analyzer ${origin.processId} ${printable(record.rule, 32)} - ${cef(record, origin.version)}`;
}

export function cef(record: AlertRecord, version: string): string {
  const { rule, title, severity } = record;
  const header = ['Tapline', 'tapline-analyzer', version, rule, title.slice(0, TITLE_MAX)].map(escapeHeader);
  return `CEF:0|${header.join('|')}|${CEF_SEVERITIES[severity]}|${extension(record)}`;
}

function extension(record: AlertRecord): string {
  const pairs: [string, string | number][] = [
    ['rt', Math.floor(record.lastUs / 1000)],
    ['start', Math.floor(record.firstUs / 1000)],
    ['end', Math.floor(record.lastUs / 1000)],
    ['externalId', record.id],
    ['dvchost', record.sensor],
    ['cat', record.technique?.name ?? ''],
    ...address('src', 'c6a2', 'Source IPv6 Address', record.source),
    ['smac', macOf(record.source)],
    ...address('dst', 'c6a3', 'Destination IPv6 Address', record.destination),
    ['dmac', macOf(record.destination)],
    ['dpt', record.port >= 0 ? record.port : ''],
    ['proto', record.transport.toUpperCase()],
    ['app', record.protocol],
    ['cnt', record.count],
    ['msg', record.evidence.slice(0, EVIDENCE_MAX)],
    ...labelled('cs1', 'mitre_technique_id', record.technique?.id ?? ''),
    ...labelled('cs2', 'community_id', record.community_id),
    ...labelled('cs3', 'export', record.export.slice(0, TEXT_MAX)),
    ...labelled('cs4', 'capture_file', record.slices[0]?.file.slice(0, TEXT_MAX) ?? ''),
    ...labelled('cs5', 'uid', record.flows[0] ?? ''),
    ...labelled('cn1', 'sequence', record.sequence),
    ...labelled('cfp1', 'score', record.score),
  ];
  return pairs.filter(([, value]) => value !== '').map(([key, value]) => `${key}=${escapeValue(String(value))}`).join(' '); // prettier-ignore
}

/** CEF has `src` and `dst` for IPv4 only. */
function address(key: string, key6: string, label: string, value: string): [string, string][] {
  const ip = ipOf(value);
  if (!ip.includes(':')) return [[key, ip]];
  return [[key6, ip], [`${key6}Label`, label]]; // prettier-ignore
}

function labelled(key: string, label: string, value: string | number): [string, string | number][] {
  return value === '' ? [] : [[key, value], [`${key}Label`, label]]; // prettier-ignore
}

function escapeHeader(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ').replaceAll(/[\\|]/g, '\\$&');
}

function escapeValue(text: string): string {
  return text
    .replaceAll(/[\\=]/g, '\\$&')
    .replaceAll('\r', '\\r')
    .replaceAll('\n', '\\n')
    .replaceAll(/\p{Cc}/gu, ' ');
}

/** PRINTUSASCII of RFC 5424; `-` for nothing. */
function printable(text: string, max: number): string {
  return text.replaceAll(/[^!-~]/g, '').slice(0, max) || '-';
}
