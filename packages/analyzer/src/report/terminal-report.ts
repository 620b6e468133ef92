/** The report on the terminal: what happened first, then who is there and what they speak. */
import type { AlertLine, AnalysisReport, HostLine, ProtocolLine } from './analysis-report.ts';

const HOSTS_SHOWN = 30;
const ALERTS_SHOWN = 40;
const PROTOCOLS_SHOWN = 25;
const BOLD = 1;
const COLOURS: Readonly<Record<string, number>> = { critical: 35, high: 31, medium: 33, low: 36, info: 90 };

/** The whole report, with ANSI colours where `hasColour`. */
export function terminalReport(report: AnalysisReport, hasColour: boolean): string {
  const paint = (text: string, colour: number): string =>
    hasColour ? `\x1b[${colour}m${text}\x1b[0m` : text;
  return [
    summary(report),
    section(paint('Alerts', BOLD), report.alerts, ALERTS_SHOWN, 'none', (alert) => alertLines(alert, paint)),
    section(paint('Hosts', BOLD), report.hosts, HOSTS_SHOWN, 'none', hostLine),
    section(paint('Protocols', BOLD), report.protocols, PROTOCOLS_SHOWN, 'none', protocolLine),
    report.damaged.map(({ path, reason }) => `damaged: ${path}: ${reason}\n`).join(''),
  ].join('\n');
}

function summary(report: AnalysisReport): string {
  const { packets, bytes, flows, files } = report;
  const parts = [
    `${number(packets)} packets (${number(bytes)} bytes) in ${number(files)} file${files === 1 ? '' : 's'}`,
    packets === 0 ? '' : `${report.first} to ${report.last}`,
    `${number(flows.total)} flows, ${number(flows.malicious)} of them in an alert of medium severity or above`,
    report.withoutFlow.malformed > 0 ? `${number(report.withoutFlow.malformed)} malformed packets` : '',
    flows.evicted > 0 ? `${number(flows.evicted)} flows were cut short: more were open than are kept` : '',
  ];
  return parts
    .filter((part) => part !== '')
    .map((part) => `${part}\n`)
    .join('');
}

function section<T>(
  title: string,
  rows: readonly T[],
  shown: number,
  none: string,
  line: (row: T) => string,
): string {
  const more = rows.length > shown ? `  … and ${rows.length - shown} more (--json has all)\n` : '';
  return `${title}\n${rows.length === 0 ? `  ${none}\n` : rows.slice(0, shown).map(line).join('')}${more}`;
}

function alertLines(alert: AlertLine, paint: (text: string, colour: number) => string): string {
  const severity = paint(alert.severity.padEnd(8), COLOURS[alert.severity] ?? 0);
  const technique = alert.technique === '' ? '' : ` [${alert.technique}]`;
  return [
    `  ${severity} ${alert.title}${technique}${alert.count > 1 ? ` ×${number(alert.count)}` : ''}`,
    `           ${alert.evidence}`,
    `           ${alert.first}  ${alert.rule}  ${alert.id}${alert.sensor === '.' ? '' : `  sensor ${alert.sensor}`}`,
    ...(alert.export === '' ? [] : [`           ${alert.export}`]),
    '',
  ].join('\n');
}

function hostLine(host: HostLine): string {
  const who = [host.name, host.vendor].filter((part) => part !== '').join(', ');
  const offers = host.offers.length > 0 ? `  offers ${list(host.offers)}` : '';
  const uses = host.uses.length > 0 ? `  uses ${list(host.uses)}` : '';
  return `  ${host.address.padEnd(17)} ${host.role.padEnd(11)} level ${host.level}${who === '' ? '' : `  (${who})`}${offers}${uses}\n`;
}

function protocolLine(protocol: ProtocolLine): string {
  const operations = Object.entries(protocol.operations).sort(([, a], [, b]) => b - a);
  const shown = operations.slice(0, 5).map(([name, count]) => `${name} ${number(count)}`);
  return `  ${protocol.service.padEnd(17)} ${number(protocol.flows).padStart(9)} flows  ${number(protocol.pairs).padStart(7)} pairs${shown.length === 0 ? '' : `  ${shown.join(', ')}${operations.length > 5 ? ' …' : ''}`}\n`;
}

function list(names: readonly string[]): string {
  return names.slice(0, 4).join(', ') + (names.length > 4 ? ` +${names.length - 4}` : '');
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}
