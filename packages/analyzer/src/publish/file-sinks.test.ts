import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { RULE_NUMBERS } from './signatures.ts';
import { eveAlert, eveSink, eveStats, flowId } from './eve-sink.ts';
import type { Health } from './health.ts';
import {
  NEW_YEAR_US,
  recordEvents,
  removeTemporaryDirectories,
  sampleRecord,
  sampleRecords,
  temporaryDirectory,
  until,
} from './publish-test-support.ts';
import { stdoutSink } from './stdout-sink.ts';
import { zeekNotice, zeekSink } from './zeek-sink.ts';

afterEach(removeTemporaryDirectories);

type Json = Record<string, unknown>;
const linesOf = (path: string): Json[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Json);
const sequencesOf = (path: string): unknown[] =>
  linesOf(path).map((line) => (line['tapline'] as Json)['sequence']);

const HEALTH: Health = {
  agent: 'soc-1',
  hostname: 'probe',
  version: '0.1.0',
  sentAtUs: NEW_YEAR_US,
  uptimeMs: 61_000,
  packets: 1000,
  alerts: 3,
  lastSequence: 3,
  cpuPercent: 12.5,
  rssBytes: 1e8,
  intervalMs: 30_000,
  queues: [{ name: 'eve', queued: 0, dropped: 0 }],
};

describe('EVE', () => {
  it('has the keys and forms that Suricata writes', () => {
    const line = eveAlert(sampleRecord(1));
    expect(line.endsWith('}\n')).toBe(true);
    expect(JSON.parse(line)).toMatchObject({
      timestamp: '2026-01-01T00:00:01.123956+0000',
      event_type: 'alert',
      src_ip: '10.0.0.7',
      dest_ip: '10.0.0.9',
      dest_port: 502,
      proto: 'TCP',
      community_id: '1:LQU9qZlK+B5F3KDmev6m5PMibrg=',
      alert: {
        action: 'allowed',
        gid: 1,
        signature_id: 9_000_001,
        rev: 1,
        signature: 'TAPLINE Port scan of one host',
        category: 'Remote System Discovery',
        severity: 1,
        metadata: { mitre_technique_id: ['T0846'], tapline_rule: ['scan-vertical'] },
      },
      pcap_filename: '/var/lib/tapline-collector/pcap/plant-a/10.0.0.7_20260101_00.pcap',
      pcap_cnt: 3,
      tapline: {
        id: '0000000000000001',
        sequence: 1,
        export: expect.stringContaining('tapline-collector export') as unknown,
      },
    });
    expect(JSON.parse(line)).not.toHaveProperty('src_port');
  });

  it('leaves out what is not known: addresses, ports, techniques, packets', () => {
    const line = JSON.parse(eveAlert(sampleRecord(1, { source: '', destination: '00:11:22:33:44:55', port: -1, technique: '', slices: [], communityId: '', protocol: 'arp', scope: { fromUs: 0, toUs: 0 } }))) as Json; // prettier-ignore
    for (const key of ['src_ip', 'dest_ip', 'dest_port', 'pcap_filename', 'community_id'])
      expect(line).not.toHaveProperty(key);
    expect(line).toMatchObject({
      proto: 'ARP',
      ether: { dest_mac: '00:11:22:33:44:55' },
      alert: { category: 'scan-vertical' },
    });
  });

  it('severity counts down from 1, and the flow’s number is 63 bits that stay', () => {
    const severities = (['info', 'low', 'medium', 'high', 'critical'] as const).map((severity) => (JSON.parse(eveAlert(sampleRecord(1, { severity }))) as { alert: { severity: number } }).alert.severity); // prettier-ignore
    expect(severities).toEqual([3, 3, 2, 1, 1]);
    const id = flowId(sampleRecord(1));
    expect(flowId(sampleRecord(2))).toBe(id);
    expect(BigInt(id) < 2n ** 63n).toBe(true);
    expect(eveAlert(sampleRecord(1))).toContain(`"flow_id":${id},`);
    expect(flowId(sampleRecord(1, { communityId: '', flows: [] }))).not.toBe(id);
  });

  it('signature numbers are given once and for all', () => {
    expect(RULE_NUMBERS.get('scan-vertical')).toBe(9_000_001);
    expect(RULE_NUMBERS.get('ot-new-writer')).toBe(9_000_026);
    expect(new Set(RULE_NUMBERS.values()).size).toBe(RULE_NUMBERS.size);
  });

  it('stats say how the daemon is', () => {
    expect(JSON.parse(eveStats(HEALTH))).toMatchObject({ timestamp: '2026-01-01T00:00:00.123000+0000', event_type: 'stats', stats: { uptime: 61, tapline: { agent: 'soc-1', queues: { eve: { queued: 0 } } } } }); // prettier-ignore
  });

  it('is appended to, and begun anew when the file was moved away, and on demand', async () => {
    const path = join(temporaryDirectory(), 'below', 'eve.json');
    const events = recordEvents();
    const sink = eveSink({ path, stats: true }, events);
    sink.publish(sampleRecords(2));
    await until(() => sink.queued === 0, 'the first lines');
    renameSync(path, `${path}.1`);
    sink.publish(sampleRecords(1, 3));
    await until(() => sink.queued === 0, 'the third line');
    sink.reopen?.();
    sink.publish(sampleRecords(1, 4));
    sink.health?.(HEALTH);
    await sink.close(1000);
    expect(sequencesOf(`${path}.1`)).toEqual([1, 2]);
    expect(linesOf(path).map((line) => line['event_type'])).toContain('stats');
    expect(linesOf(path).filter((line) => line['event_type'] === 'alert')).toHaveLength(2);
    expect(sink.counters).toEqual({ published: 4, dropped: 0, failed: 0 });
    expect(events.log).toEqual([]);
  });

  it('half a line that a crash left does not spoil the next one', async () => {
    const path = join(temporaryDirectory(), 'eve.json');
    writeFileSync(path, eveAlert(sampleRecord(1)));
    appendFileSync(path, '{"timestamp":"2026-');
    const sink = eveSink({ path, stats: false }, recordEvents());
    sink.publish(sampleRecords(1, 2));
    await sink.close(1000);
    const lines = readFileSync(path, 'utf8').split('\n');
    expect(lines).toHaveLength(4);
    expect(JSON.parse(lines[2] ?? '')).toMatchObject({ tapline: { sequence: 2 } });
  });

  it('what cannot be written waits, and comes when it can', async () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'eve.json');
    mkdirSync(path);
    const events = recordEvents();
    const sink = eveSink({ path, stats: false }, events);
    sink.publish(sampleRecords(2));
    await until(() => sink.counters.failed > 0, 'a failure');
    expect(sink.oldestPending).toBe(1);
    renameSync(path, join(directory, 'away'));
    sink.reopen?.();
    await until(() => sink.queued === 0, 'the lines');
    await sink.close(1000);
    expect(sequencesOf(path)).toEqual([1, 2]);
    expect(events.log.map(([kind]) => kind)).toEqual(['failed', 'recovered']);
  });
});

describe('Zeek', () => {
  it('writes lines of notice.log', async () => {
    expect(JSON.parse(zeekNotice(sampleRecord(1, { rule: 'ot-new-writer' })))).toMatchObject({
      _path: 'notice',
      ts: 1767225601.123956,
      uid: 'CabcdEfghIjklmno1',
      'id.orig_h': '10.0.0.7',
      'id.resp_h': '10.0.0.9',
      'id.resp_p': 502,
      proto: 'tcp',
      note: 'Tapline::Ot_New_Writer',
      src: '10.0.0.7',
      dst: '10.0.0.9',
      p: 502,
      n: 1,
      actions: ['Notice::ACTION_LOG'],
      severity: 'high',
    });
    const path = join(temporaryDirectory(), 'notice.log');
    const sink = zeekSink({ path }, recordEvents());
    sink.publish(sampleRecords(3));
    await sink.close(1000);
    expect(linesOf(path).map((line) => line['tapline_sequence'])).toEqual([1, 2, 3]);
  });
});

describe('standard output', () => {
  it('gets JSON lines or lines of text, in which nothing can control a terminal', async () => {
    const stream = new PassThrough();
    const json = stdoutSink({ format: 'json' }, recordEvents(), stream);
    json.publish([sampleRecord(1)]);
    await json.close(1000);
    expect(JSON.parse(String(stream.read()))).toEqual(sampleRecord(1));
    const text = stdoutSink({ format: 'text' }, recordEvents(), stream);
    text.publish([sampleRecord(2, { evidence: 'a\x1b[2Jb\nc' })]);
    await text.close(1000);
    const line = String(stream.read());
    expect(line).toMatch(/^ {5}2 {2}2026-01-01T00:00:02Z {2}high {6}0000000000000002 {2}scan-vertical .*a \[2Jb c\n$/);
  }); // prettier-ignore

  it('a reader that does not read fills the queue and no more: the oldest go, and are counted', async () => {
    const events = recordEvents();
    const sink = stdoutSink({ format: 'json' }, events, new Writable({ write: () => undefined }));
    sink.publish(sampleRecords(12_500));
    expect(sink.queued).toBe(10_000);
    expect(sink.oldestPending).toBe(2501);
    expect(sink.counters.dropped).toBe(2500);
    const before = performance.now();
    await sink.close(100);
    expect(performance.now() - before).toBeLessThan(1000);
    expect(sink.oldestPending).toBe(2501);
    expect(events.log).toEqual([
      ['dropped', { sink: 'stdout', tellings: 2500, reason: 'the queue is full' }],
    ]);
  });
});
