/**
 * The report as one HTML page that needs nothing but itself: plots as inline SVG, no script, no font, no request to anywhere, so that it can be mailed out of a
 * plant and opened in one. Whatever came from packets is escaped; the page forbids itself everything by its own policy.
 */
import { SEVERITIES } from '../alert/finding.ts';
import type { AlertLine, AnalysisReport, HostLine } from './analysis-report.ts';

const ROWS_MAX = 500;
const LEVELS = ['0 Process', '1 Control', '2 Operation', '3 Plant servers', '4 Offices', '5 Outside'];

export function htmlReport(report: AnalysisReport): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tapline report</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head><body>
<h1>Tapline report</h1>
<p>${n(report.packets)} packets, ${n(report.bytes)} bytes in ${n(report.files)} files<br>${e(report.first)} – ${e(report.last)}<br>
${n(report.flows.total)} flows, <b>${n(report.flows.malicious)}</b> of them in an alert of medium severity or above</p>
${report.damaged.map(({ path, reason }) => `<p class="high">damaged: ${e(path)}: ${e(reason)}</p>`).join('')}
<h2>Packets over time</h2>${timeline(report)}
<h2>Alerts</h2>${severities(report)}${alerts(report.alerts)}
<h2>Hosts by Purdue level</h2>${levels(report.hosts)}${hosts(report.hosts)}
<h2>Protocols</h2>${bars(report.protocols.slice(0, 20).map(({ service, flows }) => [service, flows]))}${protocols(report)}
</body></html>
`;
}

function timeline(report: AnalysisReport): string {
  const { packets, stepSeconds } = report.timeline;
  if (packets.length === 0) return '<p>No packets.</p>';
  const width = 900;
  const height = 120;
  const top = packets.reduce((most, count) => Math.max(most, count), 1);
  const step = width / packets.length;
  const columns = packets
    .map((count, i) => {
      const h = (count / top) * height;
      return `<rect x="${(i * step).toFixed(1)}" y="${(height - h).toFixed(1)}" width="${Math.max(0.5, step - 0.5).toFixed(1)}" height="${h.toFixed(1)}"/>`;
    })
    .join('');
  const marks = report.alerts
    .filter((alert) => alert.severity !== 'info' && alert.severity !== 'low')
    .map((alert) => {
      const start = Date.parse(report.first) / 1000;
      const x = Math.min(width, Math.max(0, ((alert.firstUs / 1e6 - start) / stepSeconds) * step));
      return `<line class="${alert.severity}" x1="${x.toFixed(1)}" x2="${x.toFixed(1)}" y1="0" y2="${height}"><title>${e(alert.title)}</title></line>`;
    })
    .slice(0, ROWS_MAX)
    .join('');
  return `<svg viewBox="0 0 ${width} ${height + 16}" role="img" aria-label="packets over time">${columns}${marks}<text x="0" y="${height + 13}">${n(stepSeconds)} s a column, at most ${n(top)} packets; lines are alerts</text></svg>`;
}

function severities(report: AnalysisReport): string {
  return bars(
    [...SEVERITIES]
      .reverse()
      .map((severity) => [severity, report.alerts.filter((alert) => alert.severity === severity).length]),
  );
}

function bars(rows: readonly (readonly [string, number])[]): string {
  const top = rows.reduce((most, [, count]) => Math.max(most, count), 1);
  const lines = rows.map(
    ([name, count], i) =>
      `<text x="0" y="${i * 18 + 13}">${e(name)}</text><rect class="${e(name)}" x="150" y="${i * 18 + 3}" height="12" width="${((count / top) * 600).toFixed(1)}"/><text x="${(158 + (count / top) * 600).toFixed(1)}" y="${i * 18 + 13}">${n(count)}</text>`,
  );
  return `<svg viewBox="0 0 900 ${rows.length * 18 + 4}" role="img" aria-label="counts">${lines.join('')}</svg>`;
}

function alerts(rows: readonly AlertLine[]): string {
  if (rows.length === 0) return '<p>None.</p>';
  return `${rows
    .slice(0, ROWS_MAX)
    .map(
      (
        alert,
      ) => `<details><summary><span class="tag ${alert.severity}">${alert.severity}</span> ${e(alert.title)} ${alert.count > 1 ? `×${n(alert.count)}` : ''} <small>${e(alert.first)}</small></summary>
<p>${e(alert.evidence)}</p><table>${pairs([
        ['Rule', alert.rule],
        ['Id', alert.id],
        ['MITRE ATT&CK for ICS', alert.technique],
        ['From', alert.source],
        ['To', alert.destination],
        ['Last', alert.last],
        ['Community ID', alert.communityId],
        [
          'Packets',
          alert.slices.map((slice) => `${slice.file} ${slice.firstPacket}–${slice.lastPacket}`).join(', '),
        ],
      ])}</table>${alert.export === '' ? '' : `<pre>${e(alert.export)}</pre>`}</details>`,
    )
    .join('')}${more(rows.length)}`;
}

/** Who stands on which level, as a drawing. */
function levels(rows: readonly HostLine[]): string {
  const lines = LEVELS.map((name, level) => {
    const here = rows.filter((host) => host.level === level);
    const dots = here
      .slice(0, 60)
      .map(
        (host, i) =>
          `<circle cx="${160 + i * 12}" cy="${level * 26 + 14}" r="5"><title>${e(host.address)} ${e(host.role)}</title></circle>`,
      )
      .join('');
    return `<text x="0" y="${level * 26 + 18}">${name}</text>${dots}<text x="${166 + Math.min(60, here.length) * 12}" y="${level * 26 + 18}">${here.length}</text>`;
  });
  return `<svg viewBox="0 0 950 160" role="img" aria-label="hosts by level">${lines.join('')}</svg>`;
}

function hosts(rows: readonly HostLine[]): string {
  const body = rows
    .slice(0, ROWS_MAX)
    .map(
      (host) =>
        `<tr><td>${e(host.address)}</td><td>${e(host.role)}</td><td>${host.level}</td><td>${e(host.name)}</td><td>${e(host.vendor)}</td><td>${e(host.offers.join(', '))}</td><td>${e(host.uses.join(', '))}</td></tr>`,
    )
    .join('');
  return `<table><tr><th>Address</th><th>Role</th><th>Level</th><th>Name</th><th>Vendor</th><th>Offers</th><th>Uses</th></tr>${body}</table>${more(rows.length)}`;
}

function protocols(report: AnalysisReport): string {
  const body = report.protocols
    .slice(0, ROWS_MAX)
    .map((line) => {
      const operations = Object.entries(line.operations).sort(([, a], [, b]) => b - a);
      return `<tr><td>${e(line.service)}</td><td>${n(line.flows)}</td><td>${n(line.pairs)}</td><td>${e(operations.map(([name, count]) => `${name} ${count}`).join(', '))}</td></tr>`;
    })
    .join('');
  return `<table><tr><th>Protocol</th><th>Flows</th><th>Pairs</th><th>Operations</th></tr>${body}</table>`;
}

function pairs(rows: readonly (readonly [string, string])[]): string {
  return rows
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `<tr><th>${name.replace('&', '&amp;')}</th><td>${e(value)}</td></tr>`)
    .join('');
}

function more(count: number): string {
  return count > ROWS_MAX ? `<p>… and ${n(count - ROWS_MAX)} more: <code>--json</code> has all.</p>` : '';
}

function e(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

function n(value: number): string {
  return value.toLocaleString('en-US');
}

const STYLE =
  'body{font:14px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222;background:#fff}h1,h2{font-weight:600}svg{width:100%;height:auto;font-size:11px}' +
  'svg rect{fill:#5b8db8}svg circle{fill:#5b8db8}svg line{stroke:#d29a2c;stroke-width:1.5}table{border-collapse:collapse;font-size:12px;width:100%}td,th{border-bottom:1px solid #ddd;padding:2px 6px;text-align:left;' +
  'vertical-align:top;word-break:break-word}pre{background:#f4f4f4;padding:6px;white-space:pre-wrap}details{border-bottom:1px solid #eee;padding:3px 0}.tag{display:inline-block;min-width:5em;text-align:center;' +
  'border-radius:3px;color:#fff;font-size:12px;background:#888}.tag.critical,rect.critical{background:#7d2a8c;fill:#7d2a8c}.tag.high,rect.high{background:#c0392b;fill:#c0392b}svg line.high,svg line.critical{stroke:#c0392b}p.high{color:#c0392b}' +
  '.tag.medium,rect.medium{background:#d29a2c;fill:#d29a2c}.tag.low,rect.low{background:#3c8d93;fill:#3c8d93}';
