/** Models as they are written are what ONNX Runtime reads: its scores are compared with the slow twins that training uses. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@tapline/shared/base/prng.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VECTORS } from '../feature/schema.ts';
import { AUTOENCODER_DEFAULTS, autoencoderGraph, scoreAutoencoder, trainAutoencoder } from './autoencoder.ts';
import { BOOSTING_DEFAULTS, trainBoostedTrees } from './boosted-trees.ts';
import { confusionAt, rocCurve, thresholdFor } from './detection-metrics.ts';
import {
  ISOLATION_DEFAULTS,
  isolationGraph,
  scoreIsolationForest,
  trainIsolationForest,
} from './isolation-forest.ts';
import { LEVELS, MODEL_NAMES } from './levels.ts';
import { readModel, readModels, writeModel } from './model-file.ts';
import { encodeOnnx } from './onnx-writer.ts';
import { Scorer } from './scorer.ts';
import { SHIPPED_MODELS } from './shipped-models.ts';
import { boostedGraph } from './train-level.ts';
import { predictTree } from './tree-ensemble.ts';

let scorer: Scorer;
let directory = '';
beforeAll(() => {
  scorer = new Scorer();
  directory = mkdtempSync(join(tmpdir(), 'tapline-models-'));
});
afterAll(async () => {
  await scorer.close();
  rmSync(directory, { recursive: true });
});

/** Rows of `width` numbers from 0 to 10,000, the smaller ones more often. */
function rows(count: number, width: number, seed: number): Float32Array {
  const random = new Prng(seed);
  return Float32Array.from({ length: count * width }, () => Math.floor(10 ** (4 * random.float())));
}

async function onnxScores(onnx: Uint8Array, values: Float32Array, width: number): Promise<Float32Array> {
  const model = await scorer.load('test', onnx);
  return (await scorer.score(model, values.slice(), width)) as Float32Array;
}

describe('what is written as ONNX scores like its twin:', () => {
  it('boosted trees, to six digits, on rows that they never saw', async () => {
    const { width, values } = { width: VECTORS.level1.length, values: rows(600, VECTORS.level1.length, 1) };
    const labels = Uint8Array.from({ length: 600 }, (_, i) =>
      Number((values[i * width + 3] as number) > 500),
    );
    const weights = new Float32Array(600).fill(1);
    const model = trainBoostedTrees({ values, width, labels, weights }, { ...BOOSTING_DEFAULTS, rounds: 20 });
    const fresh = rows(200, width, 2);
    const scores = await onnxScores(encodeOnnx(boostedGraph(model, LEVELS.level1)), fresh, width);
    let right = 0;
    for (let i = 0; i < 200; i++) {
      const logOdds = model.trees.reduce(
        (sum, tree) => sum + predictTree(tree, fresh, i * width),
        model.base,
      );
      expect(scores[i]).toBeCloseTo(1 / (1 + Math.exp(-logOdds)), 5);
      if ((scores[i] as number) > 0.5 === (fresh[i * width + 3] as number) > 500) right++;
    }
    expect(right).toBeGreaterThan(190);
  });

  it('an autoencoder, which finds what does not belong', async () => {
    const width = VECTORS.packet.length;
    const random = new Prng(3);
    const normal = Float32Array.from({ length: 800 * width }, (_, i) => [64, 60 + random.below(5), 502, 40_000, 0, 0, 0, 1, 1, 0][i % width] as number); // prettier-ignore
    const model = trainAutoencoder(normal, width, {
      ...AUTOENCODER_DEFAULTS,
      hidden: 12,
      code: 4,
      epochs: 10,
    });
    const strange = Float32Array.from([255, 1500, 31_337, 4444, 1, 1, 1, 1, 1, 1]);
    const values = new Float32Array(2 * width);
    values.set(normal.subarray(0, width));
    values.set(strange, width);
    const scores = await onnxScores(encodeOnnx(autoencoderGraph(model)), values, width);
    expect(scores[0]).toBeCloseTo(scoreAutoencoder(model, normal), 4);
    expect(scores[1]).toBeCloseTo(scoreAutoencoder(model, strange), 4);
    expect(scores[1]).toBeGreaterThan(5 * (scores[0] as number));
  });

  it('an isolation forest, which finds who stands alone', async () => {
    const width = VECTORS.flow.length;
    // Four rows in a hundred are far away: a forest knows only what it has seen how to part.
    const normal = Float32Array.from({ length: 400 * width }, (_, i) =>
      Math.floor(i / width) % 25 === 24 ? 100_000 : 100 + ((i * 7) % 13),
    );
    const model = trainIsolationForest(normal, width, ISOLATION_DEFAULTS);
    const values = new Float32Array(2 * width).fill(1e6);
    values.set(normal.subarray(0, width));
    const scores = await onnxScores(encodeOnnx(isolationGraph(model)), values, width);
    expect(scores[0]).toBeCloseTo(scoreIsolationForest(model, normal), 4);
    expect(scores[1]).toBeCloseTo(scoreIsolationForest(model, values, width), 4);
    expect(scores[1]).toBeGreaterThan((scores[0] as number) + 0.1);
  });
});

describe('a model on disk', () => {
  const about = {
    name: 'level1',
    title: 'Looks like an attack',
    technique: '',
    severity: 'low' as const,
    vector: 'level1' as const,
    internal_only: false,
    threshold: 0.5,
    flows_told: 1,
    medians: VECTORS.level1.map(() => 0),
    scores: {},
    data: [],
    seed: 1,
    made_by: 'a test',
  };
  const graph = boostedGraph({ trees: [[{ feature: -1, threshold: 0, left: 0, right: 0, value: 1 }]], base: 0 }, LEVELS.level1); // prettier-ignore

  it('is read back as it was written', () => {
    const written = writeModel(directory, graph, about);
    expect(readModel(directory, 'level1')).toEqual({
      manifest: written.manifest,
      onnx: Buffer.from(written.onnx),
    });
  });

  it('whose bytes are not those of its manifest is refused', () => {
    writeModel(directory, graph, about);
    const path = join(directory, 'level1.onnx');
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    writeFileSync(path, bytes);
    expect(() => readModel(directory, 'level1')).toThrow(/SHA-256 is not the one in its manifest/);
  });

  it('that was trained with other features is refused', () => {
    const { manifest } = writeModel(directory, graph, about);
    writeFileSync(
      join(directory, 'level1.json'),
      JSON.stringify({ ...manifest, schema_sha256: '0'.repeat(64) }),
    );
    expect(() => readModel(directory, 'level1')).toThrow(/trained with other features/);
  });

  it('whose manifest is anything else is refused with its name', () => {
    for (const text of ['', '{', '[]', '{"manifest":2}', 'null']) {
      writeFileSync(join(directory, 'level1.json'), text);
      expect(() => readModel(directory, 'level1')).toThrow(/level1\.json is no manifest/);
    }
  });

  it('of the shipped ones: all levels are there, fit together into 2 MB, and ONNX Runtime takes them', async () => {
    const models = readModels(SHIPPED_MODELS);
    expect(models.map(({ manifest }) => manifest.name)).toEqual([...MODEL_NAMES].sort());
    const bytes = models.reduce(
      (sum, { manifest, onnx }) => sum + onnx.byteLength + JSON.stringify(manifest).length,
      0,
    );
    expect(bytes).toBeLessThan(2_000_000);
    for (const { manifest, onnx } of models) {
      const width = VECTORS[manifest.vector].length;
      const [score] = await onnxScores(onnx, new Float32Array(width), width);
      expect(score).toBeGreaterThanOrEqual(0);
      expect(score).toBeLessThanOrEqual(1);
    }
  });
});

it('bytes that are no model are told, and do not end the worker', async () => {
  await expect(scorer.load('broken', new Uint8Array([1, 2, 3]))).rejects.toThrow(
    /model broken cannot be loaded/,
  );
  const model = await scorer.load('good', encodeOnnx(isolationGraph({ trees: [[{ feature: -1, threshold: 0, left: 0, right: 0, value: 1 }]], width: 2, expected: 1 }))); // prettier-ignore
  expect(await scorer.score(model, Float32Array.from([1, 2]), 2)).toEqual(Float32Array.from([0.5]));
});

describe('the measures', () => {
  const scored = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4].map((score, i) => ({ score, isAttack: i % 2 === 0 }));

  it('count by hand', () => {
    expect(confusionAt(scored, 0.65)).toEqual({ truePositive: 2, falsePositive: 1, trueNegative: 2, falseNegative: 1 }); // prettier-ignore
    // Of nine pairs of an attack and a benign row, six are in the right order.
    expect(rocCurve(scored).area).toBeCloseTo(6 / 9, 10);
  });

  it('give equal scores no order', () => {
    expect(rocCurve([{ score: 1, isAttack: true }, { score: 1, isAttack: false }]).area).toBeCloseTo(0.5, 10); // prettier-ignore
  });

  it('find the threshold for a rate of false alarms', () => {
    const benign = Array.from({ length: 1000 }, (_, i) => ({ score: i / 1000, isAttack: false }));
    const threshold = thresholdFor(benign, 0.01);
    expect(confusionAt(benign, threshold).falsePositive).toBe(10);
  });
});
