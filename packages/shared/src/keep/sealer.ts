/**
 * Seals what was finished into manifests: every interval on the clock, and at the end. What a run before this one finished and
 * did not seal is found when its place is opened, and belongs into the next.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { messageOf } from '../base/errors.ts';
import { parseSegmentName, sidecarName } from '../archive/segment-name.ts';
import {
  loadCustodyKey,
  sealManifest,
  sealedSegments,
  sha256Of,
  type CustodyKey,
  type SealedSegment,
} from '../catalog/manifest.ts';
import { parseSidecar } from '../catalog/sidecar.ts';
import type { Tell } from './hand-over.ts';
import type { KeeperCounters, Place } from './keeper-protocol.ts';

export class Sealer {
  readonly #keyPath: string;
  readonly #counters: KeeperCounters;
  readonly #tell: Tell;
  readonly #unsealed = new Map<
    string,
    { readonly place: Place; readonly segments: Map<string, SealedSegment> }
  >();
  #key: CustodyKey | null = null;

  constructor(keyPath: string, counters: KeeperCounters, tell: Tell) {
    this.#keyPath = keyPath;
    this.#counters = counters;
    this.#tell = tell;
  }

  /** A segment was finished; its sidecar is on the disk. */
  add(place: Place, segment: string): void {
    const sealed = sealedOf(place.directory, segment);
    if (sealed === null) return;
    let unsealed = this.#unsealed.get(place.directory);
    if (unsealed === undefined)
      this.#unsealed.set(place.directory, (unsealed = { place, segments: new Map() }));
    unsealed.segments.set(segment, sealed);
  }

  /** Finds what was finished before and is in no manifest. */
  adopt(place: Place): void {
    const { directory } = place;
    if (!existsSync(directory)) return;
    const sidecars = readdirSync(directory)
      .filter((name) => name.endsWith('.json'))
      .map((name) => `${name.slice(0, -'.json'.length)}.pcap`)
      .filter((name) => parseSegmentName(name) !== null);
    if (sidecars.length === 0) return;
    const sealed = sealedSegments(directory);
    for (const segment of sidecars) if (!sealed.has(segment)) this.add(place, segment);
  }

  /** Writes the manifests that are due. One that cannot be written is due again. */
  seal(): void {
    for (const [directory, { place, segments }] of this.#unsealed) {
      // Deleted again before the hour was over: `deleted.jsonl` tells of it.
      const present = [...segments.values()].filter(({ segment }) =>
        existsSync(`${directory}/${sidecarName(segment)}`),
      );
      if (present.length === 0) {
        this.#unsealed.delete(directory);
        continue;
      }
      try {
        this.#key ??= loadCustodyKey(this.#keyPath);
        const { sensor, archive } = place;
        const { number, sha256 } = sealManifest(directory, { sensor, archive, segments: present }, this.#key);
        this.#unsealed.delete(directory);
        this.#counters.manifestsSigned++;
        this.#tell('info', { sensor, archive, manifest: number, segments: present.length, sha256 }, 'A manifest was sealed.'); // prettier-ignore
      } catch (error) {
        this.#tell('error', { directory, problem: messageOf(error) }, 'A manifest cannot be sealed; it is tried again.'); // prettier-ignore
      }
    }
  }
}

/** `null` when the sidecar is gone again, or none. */
function sealedOf(directory: string, segment: string): SealedSegment | null {
  const path = `${directory}/${sidecarName(segment)}`;
  if (!existsSync(path)) return null;
  const bytes = readFileSync(path);
  const sidecar = parseSidecar(bytes.toString());
  if (sidecar === null) return null;
  const { sha256, fileBytes, packets } = sidecar;
  return { segment, sha256, sidecarSha256: sha256Of(bytes), fileBytes, packets };
}
