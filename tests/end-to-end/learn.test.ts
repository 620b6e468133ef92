/** `tapline-analyzer learn`, and what a plant's own baseline then says: nothing about its ordinary days, and something about every attack that the simulator knows. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Alert } from '../../packages/analyzer/src/alert/alert-desk.ts';
import { analyzeFiles } from '../../packages/analyzer/src/analysis.ts';
import { readBaseline } from '../../packages/analyzer/src/asset/baseline.ts';
import { inputFiles } from '../../packages/analyzer/src/merge/input-files.ts';
import { readModels } from '../../packages/analyzer/src/model/model-file.ts';
import { SHIPPED_MODELS } from '../../packages/analyzer/src/model/shipped-models.ts';
import { loadRules } from '../../packages/analyzer/src/rule/load-rules.ts';
import { ATTACK_NAMES } from '../../packages/forwarder/src/simulate/labels.ts';
import { printed, runCommand, runInside, type Run } from '../support/analyzer-run.ts';
import { writePlant } from '../support/simulated-plant.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-learn-'));
const at = (name: string): string => join(directory, name);
/** The plant's seed: the attacks are on the plant that was learnt. */
const PLANT = 3;
let learnt: Run;
/** What the day that was learnt raises. */
let quiet: readonly Alert[];
let compare: (capture: string) => Promise<readonly Alert[]>;

beforeAll(async () => {
  printed(await runCommand('forwarder', ['simulate', '-o', at('quiet.pcap'), '--seed', String(PLANT), '--cells', '1', '--duration', '100s'])); // prettier-ignore
  learnt = await runCommand('analyzer', ['learn', '--from', at('quiet.pcap'), '--out', at('baseline')]);
  // As the command does it, without a process for each capture.
  const baseline = readBaseline(at('baseline/baseline.json'));
  const models = [...readModels(SHIPPED_MODELS), ...readModels(at('baseline'), ['baseline'])];
  compare = async (capture) => (await analyzeFiles({ files: inputFiles([capture]), rules: loadRules(undefined), models, baseline })).alerts; // prettier-ignore
  quiet = await compare(at('quiet.pcap'));
  await writePlant(at('scan.pcap'), { seed: PLANT, seconds: 20, attacks: ['scan'] });
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('learn', () => {
  it('freezes the plant, and trains three models of it', () => {
    expect([learnt.code, learnt.stderr]).toEqual([0, '']);
    expect(learnt.stdout).toMatch(/^\d+ packets from 2026-01-05T06:00:00\S+ to 2026-01-05T06:01:39\S+: 3\d hosts, \d\d pairs\n/); // prettier-ignore
    for (const model of ['autoencoder-flow', 'autoencoder-packet', 'isolation-forest']) {
      expect(learnt.stdout).toContain(`${model}: learnt from`);
      expect(existsSync(at(`baseline/${model}.onnx`))).toBe(true);
    }
  });

  it('knows what each host is for', () => {
    const { hosts } = readBaseline(at('baseline/baseline.json')).sensors['.'] ?? { hosts: [] };
    const roles = new Map(hosts.map(({ address, role }) => [address, role]));
    // Controllers of every make, the devices on Ethernet, and the relays.
    for (const last of ['101', '102', '110', '120', '121', '130', '140', '150'])
      expect(roles.get(`10.1.0.${last}`), last).toBe('plc');
    for (const relay of ['00:0c:02:01:00:a1', '00:0c:02:01:00:a2']) expect(roles.get(relay)).toBe('plc');
    expect(roles.get('10.1.0.10')).toBe('hmi');
    expect(roles.get('10.0.0.13')).toBe('hmi');
    expect(roles.get('10.0.0.11')).toBe('server');
    expect(roles.get('10.0.0.50')).toBe('client');
    expect([...roles.values()]).not.toContain('external');
  });

  it('gives the same baseline and the same models from the same packets', async () => {
    await writePlant(at('minute.pcap'), { seed: 5, seconds: 15 });
    for (const out of ['one', 'two']) printed(await runInside(['learn', '--from', at('minute.pcap'), '--out', at(out)])); // prettier-ignore
    for (const name of [
      'baseline.json',
      'autoencoder-flow.onnx',
      'autoencoder-flow.json',
      'autoencoder-packet.onnx',
      'isolation-forest.onnx',
    ])
      // prettier-ignore
      expect(readFileSync(at(`one/${name}`)).equals(readFileSync(at(`two/${name}`))), name).toBe(true);
  });

  it('of too little says so, and leaves no model of another time beside the new baseline', async () => {
    cpSync(at('baseline'), at('short'), { recursive: true });
    await writePlant(at('short.pcap'), { seed: PLANT, seconds: 20, packetsMax: 10 });
    const { code, stderr } = await runInside(['learn', '--from', at('short.pcap'), '--out', at('short')]); // prettier-ignore
    expect([code, stderr]).toEqual([
      0,
      expect.stringContaining('isolation-forest: too little to learn from'),
    ]);
    expect(existsSync(at('short/isolation-forest.onnx'))).toBe(false);
    expect(existsSync(at('short/isolation-forest.json'))).toBe(false);
  });

  it('shows what it should not learn', async () => {
    const { code, stderr } = await runInside(['learn', '--from', at('scan.pcap'), '--out', at('bad')]); // prettier-ignore
    expect([code, stderr]).toEqual([0, expect.stringMatching(/look at this before you trust the baseline: high .*scan/)]); // prettier-ignore
  });

  it('of a damaged capture tells the damage, and ends with 7', async () => {
    writeFileSync(at('cut.pcap'), readFileSync(at('quiet.pcap')).subarray(0, 300_001));
    const { code, stderr } = await runInside(['learn', '--from', at('cut.pcap'), '--out', at('cut')]); // prettier-ignore
    expect([code, stderr]).toEqual([7, expect.stringContaining('learnt from what stands before the damage')]);
    expect(existsSync(at('cut/baseline.json'))).toBe(true);
  });

  it('takes the last hours of an archive by the names of its segments, and refuses what it does not understand', async () => {
    const learn = (...words: string[]): Promise<Run> => runInside(['learn', '--out', at('some'), ...words]); // prettier-ignore
    for (const [words, code, said] of [
      [['--from', at('quiet.pcap'), '--for', '1h'], 2, '--for needs an archive'],
      [['--from', at('quiet.pcap'), '--for', 'ages'], 2, 'write hours or days'],
      [['--from', at('nothing.pcap')], 3, 'no such file'],
      [['--from', at('short.pcap'), '--out', at('short.pcap/below')], 4, 'name another directory with --out'],
    ] as const) {
      const run = await learn(...words);
      expect([run.code, run.stderr], words.join(' ')).toEqual([code, expect.stringContaining(said)]);
    }
  });
});

describe('compared with the baseline', () => {
  const deviations = (alerts: readonly Alert[]): string[] => alerts.filter(({ rule }) => rule.startsWith('baseline-')).map(({ rule, evidence }) => `${rule}: ${evidence}`); // prettier-ignore

  it('the same day is silent', () => {
    expect(quiet.length).toBeGreaterThan(0);
    expect(deviations(quiet)).toEqual([]);
  });

  it('the plant on another day raises nothing that is high', async () => {
    const words = ['simulate', '-o', at('another.pcap'), '--cells', '1', '--seed', '2', '--duration', '40s', '--start', '2026-01-06T06:00:00Z']; // prettier-ignore
    printed(await runCommand('forwarder', words));
    const text = printed(await runInside(['analyze', '--json', '--baseline', at('baseline'), at('another.pcap')])); // prettier-ignore
    const { alerts } = JSON.parse(text) as { alerts: { severity: string }[] };
    expect(alerts.filter(({ severity }) => severity === 'high' || severity === 'critical')).toEqual([]);
    expect(alerts.length).toBeGreaterThan(0);
  });

  it.each(ATTACK_NAMES)('%s is told', async (attack) => {
    const capture = at(`attack-${attack}.pcap`);
    await writePlant(capture, { seed: PLANT, seconds: 20, attacks: [attack] });
    const alerts = await compare(capture);
    const usual = new Set(quiet.map(({ rule }) => rule));
    const rules = [...new Set(alerts.map(({ rule }) => rule))].filter((rule) => !usual.has(rule)).sort();
    console.log(`${attack}: ${rules.join(', ')}`);
    expect(rules).not.toEqual([]);
    expect(alerts.some(({ rule, severity }) => rules.includes(rule) && severity !== 'low' && severity !== 'info')).toBe(true); // prettier-ignore
    expect(deviations(alerts).length, 'the baseline has something to say too').toBeGreaterThan(0);
  });

  it('a directory without a baseline, and one with a broken one, are refused', async () => {
    mkdirSync(at('broken'));
    writeFileSync(at('broken/baseline.json'), '{"baseline": 1}');
    for (const name of ['nowhere', 'broken']) {
      const { code, stderr } = await runInside(['analyze', '--baseline', at(name), at('quiet.pcap')]); // prettier-ignore
      expect([code, stderr]).toEqual([2, expect.stringContaining('learn it with tapline-analyzer learn')]);
    }
  });
});
