/**
 * `verify`: proves an archive unaltered and complete. It follows the chain of manifests of every place, checks each signature and
 * number, and every segment against the hashes that were sealed; what was deleted must stand in the list of deletions.
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, readdirSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { Command } from 'commander';
import type { z } from 'zod';
import { parseSegmentName, sidecarName, segmentStem } from '../archive/segment-name.ts';
import { OperatingError, messageOf } from '../base/errors.ts';
import { manifestNumbers, readManifest, sha256Of, type SealedSegment } from '../catalog/manifest.ts';
import { readObjectNote } from '../objects/object-source.ts';
import { placesOf } from '../catalog/places.ts';
import { custodyKeyOf, type KeepConfig } from '../config/keep-fields.ts';
import { loadConfig } from '../config/load.ts';
import { DELETED_NAME } from '../keep/retention.ts';

/** The archive is not what was sealed. */
export const EXIT_NOT_PROVEN = 9;

interface VerifyFlags {
  readonly config: string;
  readonly archive?: string;
  readonly key?: string;
  readonly sensor: readonly string[];
  readonly head: readonly string[];
  readonly quick: boolean;
  readonly json: boolean;
}

/** What was found out about one place. */
export interface PlaceProof {
  readonly place: string;
  manifests: number;
  /** SHA-256 of the newest manifest; null without any. */
  head: string | null;
  segmentsProven: number;
  segmentsDeleted: number;
  /** In the object store, which is not asked. */
  segmentsElsewhere: number;
  /** Closed or still growing, and in no manifest yet. */
  segmentsUnsealed: number;
  /** Sealed, and neither here nor deleted by the rules: moved to an object store, or taken away. */
  readonly problems: string[];
}

/** The `verify` subcommand. */
export function verifyCommand(program: {
  readonly name: string;
  readonly schema: z.ZodType<KeepConfig>;
  readonly defaultConfig: string;
  readonly isSinglePlace: boolean;
}): Command {
  return new Command('verify')
    .summary('prove the archive unaltered and complete')
    .description(
      'Checks the chain of signed manifests, and every sealed segment against its hash. Tells what is missing, changed, or was\ndeleted by the rules. A chain whose end was cut off looks whole: compare its head with the hash in the log (--head).',
    )
    .option('-c, --config <file>', 'where the archive is', program.defaultConfig)
    .option('-a, --archive <directory>', 'the archive itself; needs --key')
    .option('--key <file>', 'the public key; by default the one beside the archive')
    .option(
      '--sensor <name>',
      'only this sensor',
      (value: string, before: readonly string[]) => [...before, value],
      [],
    )
    .option(
      '--head <sha256>',
      'a manifest that must be in the chain',
      (value: string, before: readonly string[]) => [...before, value],
      [],
    ) // prettier-ignore
    .option('--quick', 'check manifests and sidecars, do not read the packets', false)
    .option('--json', 'print everything as JSON', false)
    .addHelpText(
      'after',
      `\nExamples:\n  ${program.name} verify\n  ${program.name} verify --sensor plant-a-cell-3 --head 3f5a…\n  ${program.name} verify -a /mnt/copy --key custody.key.pub --json\n`,
    )
    .action(async (flags: VerifyFlags) => {
      const { root, key } = whereOf(program.schema, flags);
      const proofs: PlaceProof[] = [];
      const heads = new Set<string>();
      for (const { directory, sensor } of placesOf(root, program.isSinglePlace))
        if (flags.sensor.length === 0 || flags.sensor.includes(sensor))
          proofs.push(await provePlace(directory, sensor === '' ? '.' : sensor, key, flags.quick, heads));
      const missingHeads = flags.head.filter((head) => !heads.has(head));
      tell(proofs, missingHeads, flags.json);
      if (missingHeads.length > 0 || proofs.some(({ problems }) => problems.length > 0))
        process.exitCode = EXIT_NOT_PROVEN;
    });
}

function whereOf(schema: z.ZodType<KeepConfig>, flags: VerifyFlags): { root: string; key: KeyObject } {
  const config = flags.archive === undefined ? loadConfig(schema, flags.config).value : null;
  const root = flags.archive ?? config?.output_directories.pcap_raw_output_path ?? '';
  const path = flags.key ?? (config === null ? null : `${custodyKeyOf(config)}.pub`);
  if (path === null) throw new OperatingError('CONFIG_INVALID', 'name the public key with --key: an archive does not hold its own'); // prettier-ignore
  try {
    return { root, key: createPublicKey(readFileSync(path)) };
  } catch (error) {
    throw new OperatingError('CONFIG_INVALID', `the public key ${path} cannot be read: ${messageOf(error)}`, { path }, error); // prettier-ignore
  }
}

/** Follows the chain of one place. */
export async function provePlace(
  directory: string,
  place: string,
  key: KeyObject,
  isQuick: boolean,
  heads: Set<string> = new Set(),
): Promise<PlaceProof> {
  const proof: PlaceProof = {
    place,
    manifests: 0,
    head: null,
    segmentsProven: 0,
    segmentsDeleted: 0,
    segmentsElsewhere: 0,
    segmentsUnsealed: 0,
    problems: [],
  };
  const deleted = deletedSegments(directory);
  const sealed = new Set<string>();
  for (const number of manifestNumbers(directory)) {
    const expected = proof.manifests + 1;
    const read = readManifest(directory, number, key);
    proof.manifests++;
    if (number !== expected) proof.problems.push(`manifest ${expected} is missing`);
    proof.manifests = number;
    if (read.kind === 'bad') {
      proof.problems.push(`manifest ${number}: ${read.reason}`);
      proof.head = null;
      continue;
    }
    const { manifest, sha256 } = read;
    const isFirstGood = proof.head === null;
    if (manifest.number !== number)
      proof.problems.push(`manifest ${number} says that it is ${manifest.number}`);
    if (isFirstGood ? number === 1 && manifest.previous !== null : manifest.previous !== proof.head)
      proof.problems.push(`manifest ${number} does not follow the one before it`);
    proof.head = sha256;
    heads.add(sha256);
    for (const segment of manifest.segments) {
      sealed.add(segment.segment);
      await proveSegment(directory, segment, deleted, isQuick, proof);
    }
  }
  for (const name of readdirSync(directory))
    if (isSegmentFile(name) && !sealed.has(`${segmentStem(name)}.pcap`)) proof.segmentsUnsealed++;
  return proof;
}

async function proveSegment(
  directory: string,
  sealed: SealedSegment,
  deleted: ReadonlySet<string>,
  isQuick: boolean,
  proof: PlaceProof,
): Promise<void> {
  const { segment, sha256 } = sealed;
  // Deleted by the rules; another segment may bear the name by now.
  if (deleted.has(`${segment} ${sha256}`)) {
    proof.segmentsDeleted++;
    return;
  }
  const sidecarPath = `${directory}/${sidecarName(segment)}`;
  const path = ['', '.gz', '.zst']
    .map((suffix) => `${directory}/${segment}${suffix}`)
    .find((one) => existsSync(one));
  if (path === undefined && !existsSync(sidecarPath)) {
    proof.problems.push(`${segment} is missing, and no deletion of it is noted`);
    return;
  }
  if (!existsSync(sidecarPath)) proof.problems.push(`${segment}: its sidecar is missing`);
  else if (sha256Of(readFileSync(sidecarPath)) !== sealed.sidecarSha256)
    proof.problems.push(`${segment}: its sidecar was changed`);
  if (path === undefined) {
    if (readObjectNote(directory, segmentStem(segment)) !== null) proof.segmentsElsewhere++;
    else proof.problems.push(`${segment}: its packets are not here, only its sidecar`);
  } else if (!isQuick && (await hashOf(path)) !== sha256) proof.problems.push(`${segment} was changed`);
  else proof.segmentsProven++;
}

/** Of the plain bytes; empty for a packed file that is damaged. */
async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    if (path.endsWith('.gz')) await pipeline(createReadStream(path), createGunzip(), hash);
    else if (path.endsWith('.zst')) await pipeline(createReadStream(path), createZstdDecompress(), hash);
    else await pipeline(createReadStream(path), hash);
    return hash.digest('hex');
  } catch {
    return '';
  }
}

/** `name hash` of every segment that was deleted by the rules. */
function deletedSegments(directory: string): Set<string> {
  const path = `${directory}/${DELETED_NAME}`;
  const deleted = new Set<string>();
  if (!existsSync(path)) return deleted;
  for (const line of readFileSync(path, 'utf8').split('\n'))
    try {
      const { segment, sha256 } = JSON.parse(line) as { segment?: unknown; sha256?: unknown };
      if (typeof segment === 'string' && typeof sha256 === 'string') deleted.add(`${segment} ${sha256}`);
    } catch {
      // The last line of a kill, or what somebody else wrote: it proves nothing.
    }
  return deleted;
}

function isSegmentFile(name: string): boolean {
  return parseSegmentName(name) !== null;
}

function tell(proofs: readonly PlaceProof[], missingHeads: readonly string[], isJson: boolean): void {
  if (isJson) {
    process.stdout.write(`${JSON.stringify({ places: proofs, missingHeads }, null, 2)}\n`);
    return;
  }
  for (const proof of proofs) {
    const {
      place,
      manifests,
      head,
      segmentsProven,
      segmentsDeleted,
      segmentsElsewhere,
      segmentsUnsealed,
      problems,
    } = proof;
    process.stdout.write(
      `${problems.length === 0 ? 'good' : 'BAD '}  ${place}  ${manifests} manifests, ${segmentsProven} segments proven, ${segmentsDeleted} deleted by the rules, ${segmentsElsewhere} in the object store, ${segmentsUnsealed} not sealed yet; head ${head ?? '–'}\n`,
    );
    for (const problem of problems) process.stdout.write(`        ${problem}\n`);
  }
  for (const head of missingHeads) process.stdout.write(`BAD   no chain holds the manifest ${head}\n`);
}
