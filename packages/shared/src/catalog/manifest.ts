/**
 * Manifests: the chain of custody. Every hour each place seals what was closed since the last time: a numbered manifest with the
 * hash of every segment and sidecar, the hash of the manifest before it, and a signature (Ed25519) beside it.
 *
 *   manifests/00000007.json   the manifest: what it says is signed byte for byte
 *   manifests/00000007.sig    64 bytes; `openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in ….json -sigfile ….sig`
 *
 * Who changes a segment, leaves one out or takes a manifest from the middle breaks a hash, a number or a signature. Who takes
 * the *last* manifests away leaves a shorter chain that is whole: against that the log names the newest hash every hour,
 * and `verify --head` compares.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { z } from 'zod';

export const MANIFESTS = 'manifests';
const FILE_MODE = 0o640;
const KEY_MODE = 0o600;
const DIGITS = 8;

const count = z.int().nonnegative();
const hash = z.string().regex(/^[0-9a-f]{64}$/);

const manifestSchema = z.object({
  version: z.literal(1),
  sensor: z.string(),
  archive: z.string(),
  /** From 1, without a hole. */
  number: count,
  /** SHA-256 of the manifest before this one; null for the first. */
  previous: hash.nullable(),
  sealedAt: z.string(),
  segments: z.array(
    z.object({ segment: z.string(), sha256: hash, sidecarSha256: hash, fileBytes: count, packets: count }),
  ),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type SealedSegment = Manifest['segments'][number];

export interface CustodyKey {
  readonly privateKey: KeyObject;
  /** PEM. */
  readonly publicPem: string;
}

/** Reads the key, or makes one; its public half stands beside it as `….pub`. Throws what the disk and the key throw. */
export function loadCustodyKey(path: string): CustodyKey {
  if (!existsSync(path)) {
    const { privateKey } = generateKeyPairSync('ed25519');
    writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: KEY_MODE, flag: 'wx' });
    chmodSync(path, KEY_MODE);
  }
  const privateKey = createPrivateKey(readFileSync(path));
  const publicPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString();
  if (!existsSync(`${path}.pub`)) writeFileSync(`${path}.pub`, publicPem, { mode: 0o644 });
  return { privateKey, publicPem };
}

/** Names of a place's manifests, in order. */
export function manifestNumbers(directory: string): number[] {
  const path = `${directory}/${MANIFESTS}`;
  if (!existsSync(path)) return [];
  return readdirSync(path)
    .map((name) => /^(\d{8,})\.json$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

/** Signs the next manifest of a place. Returns its hash. */
export function sealManifest(
  directory: string,
  about: { readonly sensor: string; readonly archive: string; readonly segments: readonly SealedSegment[] },
  key: CustodyKey,
): { number: number; sha256: string } {
  const last = manifestNumbers(directory).at(-1);
  const number = (last ?? 0) + 1;
  const previous = last === undefined ? null : sha256Of(readFileSync(pathOf(directory, last, 'json')));
  const manifest: Manifest = {
    version: 1,
    sensor: about.sensor,
    archive: about.archive,
    number,
    previous,
    sealedAt: new Date().toISOString(),
    segments: [...about.segments],
  };
  const bytes = Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`);
  mkdirSync(`${directory}/${MANIFESTS}`, { recursive: true, mode: 0o750 });
  // The signature first: a manifest without one would look forged.
  for (const [suffix, content] of [
    ['sig', sign(null, bytes, key.privateKey)],
    ['json', bytes],
  ] as const) {
    const path = pathOf(directory, number, suffix);
    writeFileSync(`${path}.new`, content, { mode: FILE_MODE });
    renameSync(`${path}.new`, path);
  }
  return { number, sha256: sha256Of(bytes) };
}

export type ReadManifest =
  | { readonly kind: 'good'; readonly manifest: Manifest; readonly sha256: string }
  | { readonly kind: 'bad'; readonly reason: string };

/** Reads a manifest and checks its form and signature. */
export function readManifest(directory: string, number: number, publicKey: KeyObject): ReadManifest {
  const path = pathOf(directory, number, 'json');
  const signaturePath = pathOf(directory, number, 'sig');
  const bytes = readFileSync(path);
  if (!existsSync(signaturePath)) return { kind: 'bad', reason: 'its signature is missing' };
  const signature = readFileSync(signaturePath);
  if (!verify(null, bytes, publicKey, signature))
    return { kind: 'bad', reason: 'its signature is not that of the key' };
  try {
    return {
      kind: 'good',
      manifest: manifestSchema.parse(JSON.parse(bytes.toString())),
      sha256: sha256Of(bytes),
    };
  } catch {
    return { kind: 'bad', reason: 'it is not a manifest' };
  }
}

/** The segments that any manifest of the place names, its signatures unchecked: to know what is sealed already. */
export function sealedSegments(directory: string): Set<string> {
  const names = new Set<string>();
  for (const number of manifestNumbers(directory)) {
    const parsed = manifestSchema.safeParse(jsonOf(pathOf(directory, number, 'json')));
    for (const { segment } of parsed.data?.segments ?? []) names.add(segment);
  }
  return names;
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function jsonOf(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}

function pathOf(directory: string, number: number, suffix: 'json' | 'sig'): string {
  return `${directory}/${MANIFESTS}/${String(number).padStart(DIGITS, '0')}.${suffix}`;
}
