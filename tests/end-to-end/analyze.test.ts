/** `tapline-analyzer analyze` as people run it: on captures, on a simulated plant, on damaged and missing files, from a pipe, and stopped half-way. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { corpusPath, describeWithCorpus } from '../support/corpus.ts';
import { projectRoot } from '../support/project.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-analyze-'));
const plant = join(directory, 'plant.pcap');
const MAIN = join(projectRoot, 'packages/analyzer/src/main.ts');

interface Report {
  readonly packets: number;
  readonly files: number;
  readonly flows: { total: number; malicious: number };
  readonly withoutFlow: { malformed: number; other: number };
  readonly damaged: { path: string; reason: string }[];
  readonly hosts: { address: string; role: string }[];
  readonly protocols: { service: string }[];
  readonly alerts: { rule: string; source: string; slices: { file: string }[] }[];
}

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command to its end; `input` goes to its stdin. With `isHeld` that stays open, and SIGINT ends it when all has been taken. */
async function analyze(words: readonly string[], input?: Uint8Array, isHeld = false): Promise<Run> {
  const child = spawn(process.execPath, [MAIN, 'analyze', ...words], { stdio: ['pipe', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  child.stdin.on('error', () => undefined);
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  if (input !== undefined) await new Promise((resolve) => child.stdin.write(input, resolve));
  if (isHeld) {
    // All but what lies in the pipe has been taken; the moment is for that.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    child.kill('SIGINT');
  } else child.stdin.end();
  return { code: await ended, stdout, stderr };
}

function reportOf(stdout: string): Report {
  return JSON.parse(stdout) as Report;
}

/** The plant as JSON, as a page and as flows, at once. */
const page = join(directory, 'report.html');
const table = join(directory, 'flows.csv');
let base: Run;
let report: Report;

beforeAll(async () => {
  const words = ['simulate', '-o', plant, '--duration', '20s', '--cells', '1', '--attack', 'scan,brute-force', '--seed', '7']; // prettier-ignore
  execFileSync(process.execPath, [join(projectRoot, 'packages/forwarder/src/main.ts'), ...words]);
  base = await analyze(['--json', '--html', page, '--flows', 'csv', '--flows-file', table, plant]);
  report = reportOf(base.stdout);
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe.concurrent('of a simulated plant', () => {
  it('tells its protocols, its hosts and its attackers', () => {
    expect([base.code, base.stderr]).toEqual([0, '']);
    expect(report.packets).toBeGreaterThan(5000);
    expect(report.damaged).toEqual([]);
    expect(report.protocols.map(({ service }) => service)).toEqual(
      expect.arrayContaining(['modbus', 's7comm', 'dnp3', 'iec104', 'enip', 'opcua', 'goose']),
    );
    expect(report.alerts.map(({ rule }) => rule)).toEqual(
      expect.arrayContaining(['scan-vertical', 'brute-force']),
    );
    expect(report.flows.malicious).toBeGreaterThan(0);
    for (const { slices } of report.alerts) for (const { file } of slices) expect(file).toBe(plant);
  });

  it('writes one HTML page beside the report', async () => {
    const html = readFileSync(page, 'utf8');
    expect(html).toContain('Content-Security-Policy');
    expect(html).toContain('</html>');
    expect(html).toContain(report.packets.toLocaleString('en-US'));
    expect((await analyze(['--html', join(directory, 'no/such/place.html'), plant])).code).toBe(4);
  });

  it('writes every flow to a file, and then a text for people to stdout', async () => {
    const rows = (text: string): number => text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length; // prettier-ignore
    expect(report.flows.total).toBeGreaterThan(100);
    expect(rows(readFileSync(table, 'utf8')) - 1).toBe(report.flows.total);
    const file = join(directory, 'conn.log');
    const { code, stdout } = await analyze(['--flows', 'zeek', '--flows-file', file, plant]);
    expect(code).toBe(0);
    expect(rows(readFileSync(file, 'utf8'))).toBe(report.flows.total);
    expect(stdout).toContain('modbus');
    expect(stdout).not.toContain('\u001b[');
  });

  it('writes every flow to a pipe that is full at times', async () => {
    const { code, stdout } = await analyze(['--flows', 'json', plant]);
    const lines = stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown); // prettier-ignore
    expect([code, lines.length]).toEqual([0, report.flows.total]);
  });

  it('writes Parquet to a file, and to nothing else', async () => {
    const file = join(directory, 'flows.parquet');
    expect((await analyze(['--flows', 'parquet', '--flows-file', file, plant])).code).toBe(0);
    expect(readFileSync(file).toString('latin1', 0, 4)).toBe('PAR1');
    const refused = await analyze(['--flows', 'parquet', plant]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--flows-file');
  });

  it('is the same from a pipe, and from a directory', async () => {
    const piped = await analyze(['--json', '-'], readFileSync(plant));
    expect([piped.code, piped.stderr]).toEqual([0, '']);
    for (const other of [reportOf(piped.stdout), reportOf((await analyze(['--json', directory])).stdout)]) {
      expect([other.files, other.packets, other.flows, other.withoutFlow]).toEqual([1, report.packets, report.flows, report.withoutFlow]); // prettier-ignore
      expect(other.alerts.map(({ rule }) => rule)).toEqual(report.alerts.map(({ rule }) => rule));
    }
  });

  it('takes thresholds from a file, and says what is wrong with them', async () => {
    const [good, wrong] = [join(directory, 'good.yaml'), join(directory, 'wrong.yaml')];
    writeFileSync(good, 'scan_vertical:\n  enabled: false\n');
    const silent = reportOf((await analyze(['--json', '--rules', good, plant])).stdout);
    expect(silent.alerts.map(({ rule }) => rule)).not.toContain('scan-vertical');
    writeFileSync(wrong, 'scan_vertical:\n  ports: many\n');
    const refused = await analyze(['--rules', wrong, plant]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('scan_vertical');
  });

  it('stopped half-way, while it waits for a pipe, tells what it has read', async () => {
    const half = readFileSync(plant).subarray(0, 400_000);
    const { code, stdout, stderr } = await analyze(['--json', '-'], half, true);
    expect([code, stderr]).toEqual([0, expect.stringContaining('stopped before the end')]);
    expect(reportOf(stdout).packets).toBeGreaterThan(100);
    expect(reportOf(stdout).packets).toBeLessThan(report.packets);
    expect(reportOf(stdout).flows.total).toBeGreaterThan(0);
  });
});

describe.concurrent('of what is not there or not whole', () => {
  it('says which file is missing', async () => {
    const { code, stdout, stderr } = await analyze(['--json', '/no/such/file.pcap']);
    expect([code, stdout]).toEqual([3, '']);
    expect(stderr).toContain('/no/such/file.pcap');
  });

  it('reads up to the damage, reports it, and ends with 7', async () => {
    const damaged = join(directory, 'damaged.cut');
    writeFileSync(damaged, readFileSync(plant).subarray(0, 100_001));
    const { code, stdout } = await analyze(['--json', damaged]);
    expect(code).toBe(7);
    const partial = reportOf(stdout);
    expect(partial.packets).toBeGreaterThan(100);
    expect(partial.damaged).toEqual([{ path: damaged, reason: expect.any(String) as string }]);
  });

  it('reads the other files when one is no capture at all', async () => {
    const nonsense = join(directory, 'nonsense.txt');
    writeFileSync(nonsense, 'this is no capture');
    const { code, stdout } = await analyze(['--json', nonsense, plant]);
    expect(code).toBe(7);
    expect(reportOf(stdout).packets).toBeGreaterThan(5000);
  });
});

describeWithCorpus('of real captures', () => {
  it('finds the scan and its packets, and ends with 7 for the capture that was cut', async () => {
    const [sound, cut] = ['nmap_tahsin5.pcapng', 'docker_nmap_truncated.pcap'].map((name) => corpusPath(`attacks/scans/${name}`)) as [string, string]; // prettier-ignore
    const { code, stdout } = await analyze(['--json', sound, cut]);
    expect(code).toBe(7);
    const both = reportOf(stdout);
    expect(both.damaged.map(({ path }) => path)).toEqual([cut]);
    for (const source of ['192.168.0.1', '172.21.0.2'])
      expect(both.alerts).toContainEqual(expect.objectContaining({ rule: 'scan-vertical', source }));
  });
});
