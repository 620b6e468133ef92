/**
 * `train`, `evaluate` and `tune` as people run them, on a small labelled directory of three simulated plants: models that come out the same each time, that are judged by
 * what they never saw, that learn from what people said of their alerts, and that are refused when somebody touched them.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Alert } from '../../packages/analyzer/src/alert/alert-desk.ts';
import { analyzeFiles, type Analysis } from '../../packages/analyzer/src/analysis.ts';
import { inputFiles } from '../../packages/analyzer/src/merge/input-files.ts';
import { readModel, readModels } from '../../packages/analyzer/src/model/model-file.ts';
import { AlertStore } from '../../packages/analyzer/src/publish/alert-store.ts';
import { rulesSchema } from '../../packages/analyzer/src/rule/rule-file.ts';
import type { AttackName } from '../../packages/forwarder/src/simulate/labels.ts';
import { printed, runCommand, runInside, type Run } from '../support/analyzer-run.ts';
import { writePlant } from '../support/simulated-plant.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-train-'));
const at = (name: string): string => join(directory, name);
const ATTACKS: readonly AttackName[] = ['scan', 'brute-force', 'modbus-write'];
const TESTBEDS = ['north', 'south', 'west'];

interface Summary {
  readonly captures: number;
  readonly flows: number;
  readonly recall: number;
  readonly precision: number;
  readonly areaUnderRoc: number;
  readonly instances: number;
  readonly instancesWithAlert: number;
  readonly benignWithHighAlert: readonly string[];
  readonly perCapture: readonly { name: string; kind: string; truePositive: number; falseNegative: number }[];
}

/** A directory of labelled captures: of each testbed an ordinary day, and one with each attack. */
async function writeLabelled(name: string, testbeds: readonly string[], firstSeed: number): Promise<void> {
  mkdirSync(at(name));
  const manifest = ['path\tlabel\torigin_repo'];
  const labels = ['path\tclass\tattack_type\tpacket_label_file'];
  for (const [index, testbed] of testbeds.entries()) {
    const seed = firstSeed + 10 * index;
    await writePlant(at(`${name}/${testbed}.pcap`), { seed, seconds: 8 });
    manifest.push(`${testbed}.pcap\tbenign\t${testbed}`);
    for (const [number, attack] of ATTACKS.entries()) {
      const file = `${testbed}-${attack}`;
      const told = await writePlant(at(`${name}/${file}.pcap`), { seed: seed + number + 1, seconds: 8, attacks: [attack] }); // prettier-ignore
      const ranges = told.flatMap((label) => [...label.ranges]).sort(([a], [b]) => a - b);
      writeFileSync(at(`${name}/${file}.ranges.csv`), ranges.map((range) => `${range.join(',')}\n`).join(''));
      manifest.push(`${file}.pcap\tattack\t${testbed}`);
      labels.push(`${file}.pcap\tmixed\t${attack}\t${file}.ranges.csv`);
    }
  }
  writeFileSync(at(`${name}/MANIFEST.tsv`), `${manifest.join('\n')}\n`);
  writeFileSync(at(`${name}/LABELS.tsv`), `${labels.join('\n')}\n`);
}

const command = (...words: string[]): Promise<Run> => runInside(words);
const sound = async (...words: string[]): Promise<string> => printed(await runInside(words));

/** Everything about one capture with these models, as `analyze --models` does it. */
async function analyzed(
  capture: string,
  models: string,
  shadows?: string,
): Promise<Analysis & { scores: Record<string, number>[] }> {
  const scores: Record<string, number>[] = [];
  const analysis = await analyzeFiles({
    files: inputFiles([capture]),
    rules: rulesSchema.parse({}),
    models: models === '' ? [] : readModels(models),
    shadows: shadows === undefined ? [] : readModels(shadows),
    flowEnded: (flow) => scores.push(flow.scores),
  });
  return { ...analysis, scores };
}

const ofModel = ({ alerts }: Analysis): Alert[] => alerts.filter(({ rule }) => rule === 'model-level1');

/** A store with these alerts, labelled. */
function storeOf(name: string, labelled: readonly { alert: Alert; label: 'true' | 'false' }[]): string {
  const store = new AlertStore({ path: at(name) });
  store.put(labelled.map(({ alert }) => alert));
  for (const { alert, label } of labelled) store.label(alert.id, label);
  store.close();
  return at(name);
}

let trained: string;

beforeAll(async () => {
  await writeLabelled('data', TESTBEDS, 100);
  await writeLabelled('unseen', ['east'], 200);
  trained = await sound('train', 'level1', '--data', at('data'), '--out', at('models'), '--report', at('report.md')); // prettier-ignore
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('train', () => {
  it('says what the model is worth on testbeds that it never saw', () => {
    expect(trained).toMatch(/^level1: \d+ bytes, threshold 0\.\d+; on testbeds that it never saw: precision .*; severity \w+\n$/); // prettier-ignore
    const { manifest } = readModel(at('models'), 'level1');
    expect(manifest.scores['recall']).toBeGreaterThan(0.8);
    expect(manifest.data).toHaveLength(TESTBEDS.length * (1 + ATTACKS.length));
    expect(new Set(manifest.data.map(({ sha256 }) => sha256)).size).toBe(manifest.data.length);
    const report = readFileSync(at('report.md'), 'utf8');
    for (const testbed of TESTBEDS) expect(report).toContain(`| ${testbed} |`);
  });

  it('twice gives the same bytes', async () => {
    await sound('train', 'level1', '--data', at('data'), '--out', at('twice'));
    for (const name of ['level1.onnx', 'level1.json'])
      expect(readFileSync(at(`twice/${name}`)).equals(readFileSync(at(`models/${name}`))), name).toBe(true);
  });

  it('leaves out what it is told to, and refuses to learn without both kinds', async () => {
    const run = await command('train', 'level1', '--data', at('data'), '--out', at('none'), '--without', ...ATTACKS); // prettier-ignore
    expect([run.code, run.stderr]).toEqual([2, expect.stringContaining('the data has no attack, or nothing benign')]); // prettier-ignore
    const nowhere = await command('train', 'level1', '--data', directory, '--out', at('none'));
    expect([nowhere.code, nowhere.stderr]).toEqual([2, expect.stringContaining('MANIFEST.tsv is not there')]);
  });

  it('takes the flows that people spoke about, as far as their packets are still there', async () => {
    const capture = at('unseen/east.pcap');
    const all = await analyzed(at('unseen/east-brute-force.pcap'), at('models'));
    const alert = ofModel(all)[0] as Alert;
    const quiet = { ...alert, id: '00000000000000aa', flows: [], slices: [] };
    const benign = (await analyzed(capture, '')).alerts.find(({ flows }) => flows.length > 0) as Alert;
    const store = storeOf('feedback.db', [
      { alert, label: 'true' },
      { alert: benign, label: 'false' },
      { alert: quiet, label: 'false' },
    ]);
    const run = await command('train', 'level1', '--data', at('data'), '--out', at('fed'), '--feedback', store, '--report', at('fed.md')); // prettier-ignore
    expect([run.code, run.stderr]).toEqual([0, `alert ${quiet.id}: its packets are no longer there\n`]);
    const row = /^\| feedback \| (\d+) of (\d+) \| (\d+) of (\d+) \|$/m.exec(
      readFileSync(at('fed.md'), 'utf8'),
    );
    // So many flows as the alerts name, of each kind.
    expect([Number(row?.[2]), Number(row?.[4])]).toEqual([alert.flows.length, benign.flows.length]);
    expect(readFileSync(at('fed/level1.onnx')).equals(readFileSync(at('models/level1.onnx')))).toBe(false);
  });

  it('needs a place to write its report to', async () => {
    const run = await command('train', 'level1', '--data', at('data'), '--out', at('twice'), '--report', at('no/such/place.md')); // prettier-ignore
    expect([run.code, run.stderr]).toEqual([4, expect.stringContaining('cannot write')]);
  });
});

describe('evaluate', () => {
  it('refuses what the model was trained with, and takes it when it is asked to', async () => {
    const run = await command('evaluate', 'level1', '--data', at('data'), '--models', at('models'));
    expect([run.code, run.stdout, run.stderr]).toEqual([2, '', expect.stringContaining('every capture was used for training')]); // prettier-ignore
    const seen = JSON.parse(await sound('evaluate', 'level1', '--data', at('data'), '--models', at('models'), '--seen', '--json')) as Summary; // prettier-ignore
    expect(seen.captures).toBe(TESTBEDS.length * (1 + ATTACKS.length));
    expect(seen.recall).toBeGreaterThan(0.9);
  });

  it('judges the model by a testbed that it never saw, with its curve', async () => {
    const text = await sound('evaluate', 'level1', '--data', at('data'), at('unseen'), '--models', at('models'), '--json', '--roc', at('roc.svg')); // prettier-ignore
    const summary = JSON.parse(text) as Summary;
    // Of both directories only the unseen one is left.
    expect(summary.perCapture.map(({ name }) => name)).toEqual(['east.pcap', ...ATTACKS.map((attack) => `east-${attack}.pcap`)]); // prettier-ignore
    expect(summary.areaUnderRoc).toBeGreaterThan(0.9);
    expect(summary.recall).toBeGreaterThan(0.8);
    const svg = readFileSync(at('roc.svg'), 'utf8');
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"[^]*<\/svg>\n$/);
    expect(svg).toContain(`level1 – area ${summary.areaUnderRoc.toFixed(3)}`);
  });

  it('judges everything together as `analyze` does it', async () => {
    const words = ['evaluate', 'detection', '--data', at('unseen'), '--models', at('models')];
    const summary = JSON.parse(await sound(...words, '--json')) as Summary;
    expect([summary.captures, summary.instances, summary.instancesWithAlert]).toEqual([4, 3, 3]);
    expect(summary.benignWithHighAlert).toEqual([]);
    const text = await sound(...words);
    for (const attack of ATTACKS) expect(text).toMatch(new RegExp(`^${attack} +1/1 `, 'm'));
    expect(text).toContain('0 of 1 benign captures raise one of severity high');
  });

  it('of a model that is not there, or to a place that is not, fails with the reason', async () => {
    for (const [words, code, said] of [
      [['level3', '--models', at('models')], 2, 'no model level3'],
      [['rules', '--models', at('models'), '--without', 'brute', 'scan', 'modbus', '--roc', at('no/such.svg')], 4, 'cannot write'], // prettier-ignore
    ] as const) {
      const run = await command('evaluate', ...words, '--data', at('unseen'));
      expect([run.code, run.stderr]).toEqual([code, expect.stringContaining(said)]);
    }
  });
});

describe('tune', () => {
  it('raises the threshold over what was false, and then the alert is silent', async () => {
    cpSync(at('models'), at('tuned'), { recursive: true });
    const capture = at('unseen/east-brute-force.pcap');
    const before = ofModel(await analyzed(capture, at('tuned')));
    expect(before.length).toBeGreaterThan(0);
    const store = storeOf('alerts.db', before.map((alert) => ({ alert, label: 'false' }))); // prettier-ignore
    const words = ['tune', '--store', store, '--models', at('tuned')];
    const old = readFileSync(at('tuned/level1.json'));

    const dry = await sound(...words, '--dry-run');
    expect(dry).toMatch(new RegExp(`^level1: ${before.length} labels, threshold 0\\.\\d+ → 0\\.\\d+\\n$`));
    expect(readFileSync(at('tuned/level1.json'))).toEqual(old);

    expect(await sound(...words)).toBe(dry);
    const { manifest } = readModel(at('tuned'), 'level1');
    const loudest = Math.max(...before.map(({ score }) => score));
    expect(manifest.threshold).toBeGreaterThan(loudest);
    const silent = JSON.parse(await sound('analyze', '--json', '--models', at('tuned'), capture)) as { alerts: Alert[] }; // prettier-ignore
    expect(silent.alerts.filter(({ rule }) => rule === 'model-level1')).toEqual([]);
    // The rules go on speaking, and another time there is nothing to change.
    expect(silent.alerts.map(({ rule }) => rule)).toContain('brute-force');
    expect(await sound(...words)).toContain('stays');
  });

  it('never silences what was true, and needs a store and models', async () => {
    const alerts = ofModel(await analyzed(at('unseen/east-scan.pcap'), at('models')));
    const store = storeOf('true.db', alerts.map((alert) => ({ alert, label: 'true' }))); // prettier-ignore
    expect(await sound('tune', '--store', store, '--models', at('models'))).toContain('stays');
    for (const [words, code, said] of [
      [['--store', at('missing.db'), '--models', at('models')], 4, '--store FILE'],
      [['--store', store, '--models', at('empty')], 2, 'copy the shipped ones there first'],
      [['--store', store, '--models', store], 2, 'models lie in a directory'],
    ] as const) {
      const run = await command('tune', ...words);
      expect([run.code, run.stderr]).toEqual([code, expect.stringContaining(said)]);
    }
  });
});

describe('a model', () => {
  it('that somebody touched is refused, with what to do', async () => {
    cpSync(at('models'), at('touched'), { recursive: true });
    const path = at('touched/level1.onnx');
    const bytes = readFileSync(path);
    bytes[bytes.byteLength >> 1] = (bytes[bytes.byteLength >> 1] as number) ^ 1;
    writeFileSync(path, bytes);
    for (const words of [
      ['analyze', at('unseen/east.pcap')],
      ['evaluate', 'level1', '--data', at('unseen')],
    ]) {
      const run = await runCommand('analyzer', [...words, '--models', at('touched')]);
      expect([run.code, run.stdout]).toEqual([2, '']);
      expect(run.stderr).toContain(`${path} is refused: its SHA-256 is not the one in its manifest; copy both files again`); // prettier-ignore
    }
  });

  it('in the shadow scores as the others do, and alerts nobody', async () => {
    const capture = at('unseen/east-brute-force.pcap');
    const loud = await analyzed(capture, at('models'));
    const shadow = await analyzed(capture, '', at('models'));
    expect(ofModel(loud).length).toBeGreaterThan(0);
    expect(shadow.alerts.filter(({ rule }) => rule.startsWith('model-'))).toEqual([]);
    expect(shadow.models['level1-shadow']).toEqual(loud.models['level1']);
    expect(shadow.models['level1-shadow']?.['told']).toBeGreaterThan(0);
    expect(shadow.scores.map((scores) => scores['level1-shadow'])).toEqual(loud.scores.map((scores) => scores['level1'])); // prettier-ignore
    // Both at once: the one that counts alerts as before.
    const both = await analyzed(capture, at('models'), at('models'));
    expect(ofModel(both).map(({ id }) => id)).toEqual(ofModel(loud).map(({ id }) => id));
  });
});
