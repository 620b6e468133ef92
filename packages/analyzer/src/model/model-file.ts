/**
 * A model as it lies in a directory: `NAME.onnx`, and `NAME.json`, its manifest, which says what it is fed with, what it learnt from, how good it is and
 * where its threshold lies. A model whose bytes or whose features are not those of its manifest is refused: a threshold means nothing without them.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { z } from 'zod';
import { SEVERITIES } from '../alert/finding.ts';
import { SCHEMA_VERSION, VECTORS, schemaHash, type VectorName } from '../feature/schema.ts';
import { encodeOnnx, type OnnxGraph } from './onnx-writer.ts';

/** Larger ones are not made by `train`, and would not be looked at by anybody. */
const MODEL_BYTES_MAX = 16 * 1024 * 1024;
const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;

const manifestSchema = z.strictObject({
  manifest: z.literal(1),
  name: z.string().regex(/^[a-z0-9-]{1,40}$/),
  title: z.string().max(120),
  technique: z.string().max(10),
  severity: z.enum(SEVERITIES),
  vector: z.enum(Object.keys(VECTORS) as [VectorName, ...VectorName[]]),
  schema_version: z.number().int(),
  schema_sha256: z.string().length(64),
  onnx_sha256: z.string().length(64),
  internal_only: z.boolean(),
  threshold: z.number(),
  flows_told: z.number().int().min(1).max(100_000).default(1),
  /** Median of each input among benign rows: what a contribution is measured against. */
  medians: z.array(z.number()).max(1024),
  /** Scores of held-out testbeds at the threshold. */
  scores: z.record(z.string(), z.number().nullable()),
  data: z.array(
    z.strictObject({ name: z.string(), sha256: z.string(), testbed: z.string(), flows: z.number(), attacks: z.number() }),
  ),
  seed: z.number(),
  made_by: z.string(),
}); // prettier-ignore

export type ModelManifest = z.infer<typeof manifestSchema>;

export interface LoadedModel {
  readonly manifest: ModelManifest;
  readonly onnx: Uint8Array;
}

/** Writes the model, whole or not at all: the manifest last. */
export function writeModel(
  directory: string,
  graph: OnnxGraph,
  about: Omit<ModelManifest, 'manifest' | 'onnx_sha256' | 'schema_version' | 'schema_sha256'>,
): LoadedModel {
  const onnx = encodeOnnx(graph);
  const manifest: ModelManifest = {
    manifest: 1,
    ...about,
    schema_version: SCHEMA_VERSION,
    schema_sha256: schemaHash(about.vector),
    onnx_sha256: sha256(onnx),
  };
  try {
    mkdirSync(directory, { recursive: true });
    replace(join(directory, `${about.name}.onnx`), onnx);
    replace(join(directory, `${about.name}.json`), Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`));
  } catch (error) {
    throw new OperatingError('ARCHIVE_FAILED', `cannot write a model to ${directory}: ${messageOf(error)}`, { directory }, error); // prettier-ignore
  }
  return { manifest, onnx };
}

/** Gives a model another threshold; everything else in its manifest stays. Throws as `readModel` and `writeModel` do. */
export function rewriteThreshold(directory: string, name: string, threshold: number): void {
  const { manifest } = readModel(directory, name);
  try {
    replace(
      join(directory, `${name}.json`),
      Buffer.from(`${JSON.stringify({ ...manifest, threshold }, null, 1)}\n`),
    );
  } catch (error) {
    throw new OperatingError('ARCHIVE_FAILED', `cannot write to ${directory}: ${messageOf(error)}`, { directory }, error); // prettier-ignore
  }
}

/** Reads and checks one model. Throws CONFIG_INVALID with what is wrong and what to do. */
export function readModel(directory: string, name: string): LoadedModel {
  const path = join(directory, `${name}.json`);
  const manifest = parseManifest(path);
  const onnxPath = join(directory, `${name}.onnx`);
  const onnx = readBounded(onnxPath, MODEL_BYTES_MAX);
  const refuse = (reason: string, remedy: string): never => {
    throw new OperatingError('CONFIG_INVALID', `${onnxPath} is refused: ${reason}; ${remedy}`, { file: onnxPath }); // prettier-ignore
  };
  if (sha256(onnx) !== manifest.onnx_sha256) refuse('its SHA-256 is not the one in its manifest', 'copy both files again, or train it anew'); // prettier-ignore
  if (manifest.schema_version !== SCHEMA_VERSION || manifest.schema_sha256 !== schemaHash(manifest.vector))
    refuse(`it was trained with other features (${manifest.vector})`, 'train it with this version: tapline-analyzer train'); // prettier-ignore
  if (manifest.medians.length !== VECTORS[manifest.vector].length) refuse('its manifest has the wrong number of medians', 'train it anew'); // prettier-ignore
  return { manifest, onnx };
}

/** Every model of a directory, by name, but for files `others`. A directory that is not there has none. */
export function readModels(directory: string, others: readonly string[] = []): LoadedModel[] {
  const stat = statSync(directory, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  if (!stat.isDirectory()) throw new OperatingError('CONFIG_INVALID', `${directory} is a file: models lie in a directory, each as NAME.onnx and NAME.json`, { file: directory }); // prettier-ignore
  return readdirSync(directory)
    .filter((file) => file.endsWith('.json'))
    .filter((file) => !others.includes(file.slice(0, -'.json'.length)))
    .sort()
    .map((file) => readModel(directory, file.slice(0, -'.json'.length)));
}

function parseManifest(path: string): ModelManifest {
  try {
    return manifestSchema.parse(JSON.parse(Buffer.from(readBounded(path, MANIFEST_BYTES_MAX)).toString()));
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    throw new OperatingError('CONFIG_INVALID', `${path} is no manifest of a model: ${messageOf(error)}`, { file: path }, error); // prettier-ignore
  }
}

function readBounded(path: string, bytesMax: number): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new OperatingError('CONFIG_INVALID', `cannot read ${path}: ${messageOf(error)}`, { file: path }, error); // prettier-ignore
  }
  if (bytes.byteLength > bytesMax)
    throw new OperatingError('CONFIG_INVALID', `${path} is larger than ${bytesMax} bytes`, { file: path });
  return bytes;
}

function replace(path: string, bytes: Uint8Array): void {
  writeFileSync(`${path}.new`, bytes);
  renameSync(`${path}.new`, path);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
