/**
 * An autoencoder: what is normal is learnt by squeezing it through a narrow layer and putting it together again; what comes out badly is not normal.
 * Inputs are log1p, standardised and cut off at ±CLIP inside the graph itself, so that a model file needs nothing beside it.
 *
 *   x ─ log1p ─ (x − mean) / deviation ─ clip ─▶ Gemm tanh (hidden) ─▶ Gemm tanh (code) ─▶ Gemm tanh ─▶ Gemm ─▶ mean |difference| = score
 *
 * Trained with Adam on mini-batches, no library: a network this small takes seconds.
 */
import { Prng } from '@tapline/shared/base/prng.ts';
import type { OnnxGraph, OnnxNode, OnnxTensor } from './onnx-writer.ts';

const CLIP = 6;
const EPSILON = 1e-6;

export interface AutoencoderOptions {
  readonly hidden: number;
  readonly code: number;
  readonly epochs: number;
  readonly batch: number;
  readonly learningRate: number;
  readonly seed: number;
}

export const AUTOENCODER_DEFAULTS: AutoencoderOptions = {
  hidden: 32,
  code: 8,
  epochs: 40,
  batch: 64,
  learningRate: 2e-3,
  seed: 42,
};

/** A layer: `weights[input × outputs + output]`. */
interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  readonly isLinear: boolean;
  readonly weights: Float64Array;
  readonly bias: Float64Array;
}

export interface AutoencoderModel {
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
  readonly layers: readonly Layer[];
}

/** `values`: rows of `width` numbers ≥ 0, one after another. */
export function trainAutoencoder(
  values: Float32Array,
  width: number,
  options: AutoencoderOptions,
): AutoencoderModel {
  const count = Math.floor(values.length / width);
  const { mean, deviation } = moments(values, width, count);
  const inputs = new Float64Array(count * width);
  for (let i = 0; i < inputs.length; i++) {
    const column = i % width;
    inputs[i] = standardise(values[i] as number, mean[column] as number, deviation[column] as number);
  }
  const random = new Prng(options.seed);
  const sizes = [width, options.hidden, options.code, options.hidden, width];
  const layers = sizes
    .slice(1)
    .map((outputs, i) => createLayer(sizes[i] as number, outputs, i === sizes.length - 2, random));
  const optimiser = createAdam(layers);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let epoch = 0; epoch < options.epochs; epoch++) {
    for (let i = count - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    for (let at = 0; at < count; at += options.batch)
      trainBatch(layers, inputs, width, order.slice(at, at + options.batch), optimiser, options.learningRate);
  }
  return { mean, deviation, layers };
}

/** The score of one row: mean absolute difference after standardisation, as the graph computes it. */
export function scoreAutoencoder(model: AutoencoderModel, row: ArrayLike<number>, offset = 0): number {
  const width = model.mean.length;
  const input = new Float64Array(width);
  for (let i = 0; i < width; i++)
    input[i] = standardise(row[offset + i] as number, model.mean[i] as number, model.deviation[i] as number);
  const output = model.layers.reduce<Float64Array>((x, layer) => forward(layer, x), input);
  let sum = 0;
  for (let i = 0; i < width; i++) sum += Math.abs((output[i] as number) - (input[i] as number));
  return sum / width;
}

/** The graph: `input` [N, width] → `score` [N, 1]. */
export function autoencoderGraph(model: AutoencoderModel): OnnxGraph {
  const width = model.mean.length;
  const initializers: OnnxTensor[] = [
    { name: 'one', dims: [1], values: [1] },
    { name: 'mean', dims: [width], values: model.mean },
    { name: 'deviation', dims: [width], values: model.deviation },
    { name: 'low', dims: [], values: [-CLIP] },
    { name: 'high', dims: [], values: [CLIP] },
  ];
  const nodes: OnnxNode[] = [
    { op: 'Add', inputs: ['input', 'one'], outputs: ['shifted'] },
    { op: 'Log', inputs: ['shifted'], outputs: ['logged'] },
    { op: 'Sub', inputs: ['logged', 'mean'], outputs: ['centred'] },
    { op: 'Div', inputs: ['centred', 'deviation'], outputs: ['scaled'] },
    { op: 'Clip', inputs: ['scaled', 'low', 'high'], outputs: ['x0'] },
  ];
  model.layers.forEach((layer, i) => {
    initializers.push({ name: `w${i}`, dims: [layer.inputs, layer.outputs], values: layer.weights });
    initializers.push({ name: `b${i}`, dims: [layer.outputs], values: layer.bias });
    const output = layer.isLinear ? `x${i + 1}` : `h${i}`;
    nodes.push({ op: 'Gemm', inputs: [`x${i}`, `w${i}`, `b${i}`], outputs: [output] });
    if (!layer.isLinear) nodes.push({ op: 'Tanh', inputs: [output], outputs: [`x${i + 1}`] });
  });
  nodes.push(
    { op: 'Sub', inputs: [`x${model.layers.length}`, 'x0'], outputs: ['difference'] },
    { op: 'Abs', inputs: ['difference'], outputs: ['absolute'] },
    { op: 'ReduceMean', inputs: ['absolute'], outputs: ['score'], attributes: { axes: { ints: [1] }, keepdims: { int: 1 } } }, // prettier-ignore
  );
  return {
    name: 'autoencoder',
    nodes,
    initializers,
    input: { name: 'input', width },
    output: { name: 'score', width: 1 },
  };
}

function standardise(value: number, mean: number, deviation: number): number {
  const scaled = (Math.log1p(Math.max(0, value)) - mean) / deviation;
  return Math.min(CLIP, Math.max(-CLIP, scaled));
}

function moments(
  values: Float32Array,
  width: number,
  count: number,
): { mean: Float64Array; deviation: Float64Array } {
  const mean = new Float64Array(width);
  const deviation = new Float64Array(width);
  for (let column = 0; column < width; column++) {
    let sum = 0;
    let squares = 0;
    for (let row = 0; row < count; row++) {
      const value = Math.log1p(Math.max(0, values[row * width + column] as number));
      sum += value;
      squares += value * value;
    }
    mean[column] = sum / Math.max(1, count);
    // What never changed may change a little: a whole step of 0.1 in the logarithm is one deviation.
    const variance = squares / Math.max(1, count) - (mean[column] as number) ** 2;
    deviation[column] = Math.max(0.1, Math.sqrt(Math.max(0, variance)));
  }
  return { mean, deviation };
}

function createLayer(inputs: number, outputs: number, isLinear: boolean, random: Prng): Layer {
  const limit = Math.sqrt(6 / (inputs + outputs));
  const weights = Float64Array.from({ length: inputs * outputs }, () => (2 * random.float() - 1) * limit);
  return { inputs, outputs, isLinear, weights, bias: new Float64Array(outputs) };
}

function forward(layer: Layer, input: Float64Array): Float64Array {
  const { outputs, weights, bias } = layer;
  const output = Float64Array.from(bias);
  for (let i = 0; i < layer.inputs; i++) {
    const x = input[i] as number;
    if (x === 0) continue;
    const at = i * outputs;
    for (let o = 0; o < outputs; o++) output[o] = (output[o] as number) + x * (weights[at + o] as number);
  }
  if (!layer.isLinear) for (let o = 0; o < outputs; o++) output[o] = Math.tanh(output[o] as number);
  return output;
}

interface Adam {
  step: number;
  readonly gradients: readonly { readonly weights: Float64Array; readonly bias: Float64Array }[];
  readonly moments: readonly { readonly m: Float64Array; readonly v: Float64Array }[];
}

function createAdam(layers: readonly Layer[]): Adam {
  return {
    step: 0,
    gradients: layers.map(({ weights, bias }) => ({
      weights: new Float64Array(weights.length),
      bias: new Float64Array(bias.length),
    })),
    moments: layers.flatMap(({ weights, bias }) =>
      [weights, bias].map(({ length }) => ({ m: new Float64Array(length), v: new Float64Array(length) })),
    ),
  };
}

function trainBatch(
  layers: readonly Layer[],
  inputs: Float64Array,
  width: number,
  rows: readonly number[],
  adam: Adam,
  learningRate: number,
): void {
  for (const { weights, bias } of adam.gradients) {
    weights.fill(0);
    bias.fill(0);
  }
  for (const row of rows)
    backward(layers, inputs.subarray(row * width, row * width + width), adam, rows.length);
  adam.step++;
  layers.forEach((layer, i) => {
    const gradient = adam.gradients[i];
    if (gradient === undefined) return;
    descend(layer.weights, gradient.weights, adam, 2 * i, learningRate);
    descend(layer.bias, gradient.bias, adam, 2 * i + 1, learningRate);
  });
}

/** Squared error, back through the layers. */
function backward(layers: readonly Layer[], input: Float64Array, adam: Adam, rows: number): void {
  const activations: Float64Array[] = [input];
  for (const layer of layers) activations.push(forward(layer, activations.at(-1) as Float64Array));
  const output = activations.at(-1) as Float64Array;
  let delta = Float64Array.from(output, (value, i) => (value - (input[i] as number)) / rows);
  for (let l = layers.length - 1; l >= 0; l--) {
    const layer = layers[l] as Layer;
    const gradient = adam.gradients[l];
    const x = activations[l] as Float64Array;
    const y = activations[l + 1] as Float64Array;
    if (gradient === undefined) return;
    if (!layer.isLinear) for (let o = 0; o < layer.outputs; o++) delta[o] = (delta[o] as number) * (1 - (y[o] as number) ** 2); // prettier-ignore
    const before = new Float64Array(layer.inputs);
    for (let i = 0; i < layer.inputs; i++) {
      const at = i * layer.outputs;
      const value = x[i] as number;
      let sum = 0;
      for (let o = 0; o < layer.outputs; o++) {
        const d = delta[o] as number;
        gradient.weights[at + o] = (gradient.weights[at + o] as number) + value * d;
        sum += d * (layer.weights[at + o] as number);
      }
      before[i] = sum;
    }
    for (let o = 0; o < layer.outputs; o++) gradient.bias[o] = (gradient.bias[o] as number) + (delta[o] as number); // prettier-ignore
    delta = before;
  }
}

function descend(
  values: Float64Array,
  gradient: Float64Array,
  adam: Adam,
  index: number,
  rate: number,
): void {
  const { m, v } = adam.moments[index] as { m: Float64Array; v: Float64Array };
  const correct1 = 1 - 0.9 ** adam.step;
  const correct2 = 1 - 0.999 ** adam.step;
  for (let i = 0; i < values.length; i++) {
    const g = gradient[i] as number;
    m[i] = 0.9 * (m[i] as number) + 0.1 * g;
    v[i] = 0.999 * (v[i] as number) + 0.001 * g * g;
    values[i] = (values[i] as number) - (rate * ((m[i] as number) / correct1)) / (Math.sqrt((v[i] as number) / correct2) + EPSILON); // prettier-ignore
  }
}
