/** The HTML report: nothing that came from packets is markup, and the page reaches for nothing outside itself. */
import { describe, expect, it } from 'vitest';
import { SEVERITIES } from '../alert/finding.ts';
import type { AnalysisReport } from './analysis-report.ts';
import { exportCommand } from './export-words.ts';
import { htmlReport } from './html-report.ts';
import { alertOf } from './report-testing.ts';

const HOSTILE = `"><script>alert('x')</script><img src=x onerror=y>&amp;'`;

function report(text: string, changes: Partial<AnalysisReport> = {}): AnalysisReport {
  const alert = alertOf({
    title: text,
    evidence: text,
    source: text,
    destination: text,
    rule: text,
    technique: text,
    communityId: text,
    slices: [{ file: text, firstPacket: 1, lastPacket: 2, firstOffset: 24, lastOffset: 100 }],
  });
  return {
    version: 1,
    files: 1,
    packets: 1234,
    bytes: 5678,
    first: '2026-01-05T06:00:00.000000Z',
    last: '2026-01-05T07:00:00.000000Z',
    flows: { total: 10, malicious: 3, evicted: 0 },
    withoutFlow: { malformed: 0, other: 0 },
    damaged: [{ path: text, reason: text }],
    hosts: [
      {
        sensor: '.',
        address: text,
        macs: [text],
        vendor: text,
        name: text,
        role: text,
        level: 1,
        offers: [text],
        uses: [text],
        operations: { [text]: 1 },
      },
    ],
    protocols: [{ service: text, isOt: true, flows: 1, pairs: 1, operations: { [text]: 2 } }],
    alerts: [{ ...alert, first: text, last: text, export: text }],
    timeline: { stepSeconds: 1, packets: [1, 5, 3] },
    ...changes,
  };
}

describe('the HTML report', () => {
  it('shows hostile names as text', () => {
    const page = htmlReport(report(HOSTILE));
    const harmless = htmlReport(report('plain'));
    // The same elements whatever the names are: nothing of them became one.
    const tags = (html: string): string[] => [...html.matchAll(/<\/?[a-z0-9]+/gi)].map(([tag]) => tag);
    expect(tags(page)).toEqual(tags(harmless));
    expect(page).not.toMatch(/<script|<img/i);
    expect(page).toContain('&lt;script&gt;');
    expect(page).toContain('&amp;amp;');
    // Attributes are closed by their own quote only.
    expect(page).not.toMatch(/class="[^"]*"&gt;/);
    expect((page.match(/"/g) ?? []).length).toBe((harmless.match(/"/g) ?? []).length);
  });

  it('forbids itself everything, and refers to nothing outside', () => {
    const page = htmlReport(report('plain'));
    expect(page).toContain(`http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"`); // prettier-ignore
    expect(page).not.toMatch(/https?:|\bsrc=|\bhref=|url\(|@import|<link|<iframe|<form|javascript:/i);
    expect(page.startsWith('<!doctype html>')).toBe(true);
  });

  it('stays small when there is much, and says how much it leaves out', () => {
    const one = report('plain');
    const alerts = Array.from({ length: 3000 }, () => one.alerts).flat();
    const hosts = Array.from({ length: 3000 }, () => one.hosts).flat();
    const page = htmlReport(report('plain', { alerts, hosts }));
    expect(page.length).toBeLessThan(1_500_000);
    expect(page).toContain('2,500 more');
  });

  it('is whole without packets and without alerts', () => {
    const page = htmlReport(report('plain', { alerts: [], hosts: [], protocols: [], timeline: { stepSeconds: 1, packets: [] } })); // prettier-ignore
    expect(page).toContain('No packets');
    expect(page).toContain('</html>');
    expect(page).not.toContain('NaN');
  });

  it('knows every severity', () => {
    for (const severity of SEVERITIES) {
      const [line] = report('plain').alerts;
      if (line === undefined) continue;
      expect(htmlReport(report('plain', { alerts: [{ ...line, severity }] }))).toContain(
        `class="tag ${severity}"`,
      );
    }
  });
});

describe('the command that opens the packets', () => {
  const slice = { firstPacket: 1, lastPacket: 2, firstOffset: 24, lastOffset: 100 };

  it('is for a file a filter of Wireshark, with IP addresses of either version and no MAC addresses', () => {
    const slices = [{ ...slice, file: '/tmp/a.pcap' }];
    expect(exportCommand(alertOf({ slices }))).toMatch(
      /^wireshark -r \/tmp\/a\.pcap -Y 'frame\.time_epoch >= 1767592795\.000000 && frame\.time_epoch <= 1767592807\.000000 && ip\.addr == 10\.0\.0\.1 && ip\.addr == 10\.0\.0\.2'$/,
    );
    // As long as a MAC address, and none.
    expect(exportCommand(alertOf({ slices, source: 'fe80::1234:5678:9', destination: '' }))).toContain('ipv6.addr == fe80::1234:5678:9'); // prettier-ignore
    expect(exportCommand(alertOf({ slices, source: '02:00:00:00:00:01', destination: '' }))).not.toContain('addr'); // prettier-ignore
  });

  it('quotes a name that a shell would read otherwise', () => {
    const file = `/tmp/a b'; rm -rf x.pcap`;
    expect(exportCommand(alertOf({ slices: [{ ...slice, file }] }))).toContain(
      `'/tmp/a b'\\''; rm -rf x.pcap'`,
    );
  });

  it('is none without packets', () => {
    expect(exportCommand(alertOf())).toBe('');
  });
});
