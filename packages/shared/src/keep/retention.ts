/**
 * Deletes what the limits do not leave room for: by age, by what one sensor takes, by what all take, by the free space of the
 * disk; always what was closed longest ago first. Only finished segments (those with a sidecar) are ever touched, and never
 * one that is held.
 *
 * Age is counted from the closing of a segment, not from its packets: a sensor whose clock stands at 1970 does not lose
 * everything it sends. Each deletion is written to `deleted.jsonl` of its place before it happens, with the hash, so that
 * `verify` can tell what was deleted from what is missing.
 */
import {
  appendFileSync,
  existsSync,
  readFileSync,
  readdirSync,
  statSync,
  statfsSync,
  unlinkSync,
} from 'node:fs';
import { messageOf } from '../base/errors.ts';
import { indexName, parseSegmentName } from '../archive/segment-name.ts';
import { isHeld, readHolds, type Hold } from '../catalog/hold-list.ts';
import { decodeIndex, type SegmentIndex } from '../catalog/segment-index.ts';
import { parseSidecar, type Sidecar } from '../catalog/sidecar.ts';
import { OBJECT_SUFFIX } from '../objects/object-source.ts';
import type { Tell } from './hand-over.ts';
import type { KeeperCounters, RetentionOptions } from './keeper-protocol.ts';
import { placesOf } from '../catalog/places.ts';

export const DELETED_NAME = 'deleted.jsonl';
/** After so many deletions the free space is asked for again. */
const FREE_SPACE_STEP = 16;

const PACKET_SUFFIXES = ['.pcap', '.pcap.gz', '.pcap.zst'] as const;

export type DeletionReason = keyof KeeperCounters['deletedByReason'];

/** A finished segment with what belongs to it. */
interface Stored {
  readonly directory: string;
  readonly sensor: string;
  readonly stem: string;
  /** Of its packets, sidecar and index together. */
  readonly bytes: number;
  readonly closedAtMs: number;
  /** The object store has its packets, and they are here as well. */
  readonly isInStore: boolean;
}

export class Retention {
  readonly #options: RetentionOptions;
  readonly #roots: readonly string[];
  readonly #isSinglePlace: boolean;
  readonly #localKeepMs: number;
  readonly #counters: KeeperCounters;
  readonly #tell: Tell;
  /** Finished segments do not change: each is measured once. */
  readonly #known = new Map<string, Stored>();
  #isShortTold = false;

  constructor(
    options: {
      readonly retention: RetentionOptions;
      readonly roots: readonly string[];
      readonly isSinglePlace: boolean;
      readonly localKeepMs: number;
    },
    counters: KeeperCounters,
    tell: Tell,
  ) {
    this.#options = options.retention;
    this.#roots = options.roots;
    this.#isSinglePlace = options.isSinglePlace;
    this.#localKeepMs = options.localKeepMs;
    this.#counters = counters;
    this.#tell = tell;
  }

  get isNeeded(): boolean {
    const { ageMsMax, sensorBytesMax, totalBytesMax, freeShareMin, freeBytesMin } = this.#options;
    if (this.#localKeepMs < Infinity) return true;
    return [ageMsMax, sensorBytesMax, totalBytesMax, freeShareMin, freeBytesMin].some(
      (limit) => limit !== undefined,
    );
  }

  /** One round. What cannot be deleted is told, and tried again in the next. */
  enforce(nowMs = Date.now()): void {
    let holds: Hold[];
    try {
      holds = this.#roots.flatMap((root) => readHolds(root));
    } catch (error) {
      this.#tell('error', { problem: messageOf(error) }, 'The holds cannot be read; nothing is deleted.');
      return;
    }
    const stored = this.#take().sort((a, b) => a.closedAtMs - b.closedAtMs || (a.stem < b.stem ? -1 : 1));
    const round = new Round(stored, holds, (segment, reason) => this.#delete(segment, reason));
    round.evictWhile(
      (segment) => segment.closedAtMs < nowMs - this.#localKeepMs,
      (segment) => this.#evict(segment),
    );
    const { ageMsMax, sensorBytesMax = Infinity, totalBytesMax = Infinity } = this.#options;
    if (ageMsMax !== undefined) round.deleteWhile('age', (segment) => segment.closedAtMs < nowMs - ageMsMax);
    // Before anything is lost: what can be had from the store makes room first.
    const evict = (segment: Stored): number => this.#evict(segment);
    round.evictWhile(
      ({ sensor }) => round.bytesOf(sensor) > sensorBytesMax || round.bytes > totalBytesMax,
      evict,
    );
    if (this.#missingSpace() > 0) round.evictWhile(() => this.#missingSpace() > 0, evict);
    if (sensorBytesMax < Infinity)
      round.deleteWhile('sensor-size', ({ sensor }) => round.bytesOf(sensor) > sensorBytesMax);
    if (totalBytesMax < Infinity) round.deleteWhile('total-size', () => round.bytes > totalBytesMax);
    let sinceAsked = 0;
    let missing = this.#missingSpace();
    round.deleteWhile('free-space', ({ bytes }) => {
      if (missing <= 0) return false;
      missing -= bytes;
      // Others write, too, and links keep their blocks: after some deletions the system is asked again.
      if (++sinceAsked % FREE_SPACE_STEP === 0) missing = this.#missingSpace();
      return true;
    });
    this.#counters.segmentsHeldNow = round.held;
    this.#counters.archiveBytesNow = round.bytes;
    this.#tellShortage(this.#missingSpace());
  }

  /** Bytes that the file systems lack of the free space they should have. */
  #missingSpace(): number {
    const { freeShareMin = 0, freeBytesMin = 0, freeShareBytesMax = Infinity } = this.#options;
    if (freeShareMin === 0 && freeBytesMin === 0) return 0;
    return Math.max(
      ...this.#roots
        .filter((root) => existsSync(root))
        .map((root) => {
          const { bavail, blocks, bsize } = statfsSync(root);
          const share = Math.min(freeShareMin * blocks * bsize, freeShareBytesMax);
          return Math.max(freeBytesMin, share) - bavail * bsize;
        }),
      0,
    );
  }

  #tellShortage(missing: number): void {
    const isShort = missing > 0;
    if (isShort && !this.#isShortTold)
      this.#tell(
        'error',
        { missingBytes: missing, held: this.#counters.segmentsHeldNow },
        'The disk has less free space than it should, and there is nothing left to delete.',
      );
    this.#isShortTold = isShort;
  }

  /** Everything that could be deleted. */
  #take(): Stored[] {
    const found = new Map<string, Stored>();
    for (const root of this.#roots)
      for (const { directory, sensor } of placesOf(root, this.#isSinglePlace)) {
        const names = new Set(readdirSync(directory));
        for (const name of names) {
          if (!name.endsWith('.json') || parseSegmentName(`${name.slice(0, -5)}.pcap`) === null) continue;
          const stem = name.slice(0, -'.json'.length);
          const key = `${directory}/${stem}`;
          const known = this.#known.get(key);
          // What was brought to the store since changes how it may go.
          const isKnown = known !== undefined && known.isInStore === isInStoreNow(stem, names);
          const stored = isKnown ? known : measure(directory, sensor, stem, names);
          if (stored !== null) found.set(key, stored);
        }
      }
    this.#known.clear();
    for (const [key, stored] of found) this.#known.set(key, stored);
    return [...found.values()];
  }

  /** Deletes the packets of a segment that the object store has; what tells of it stays. Returns the bytes that are left. */
  #evict({ directory, sensor, stem, bytes, closedAtMs }: Stored): number {
    try {
      for (const suffix of PACKET_SUFFIXES)
        if (existsSync(`${directory}/${stem}${suffix}`)) unlinkSync(`${directory}/${stem}${suffix}`);
    } catch (error) {
      this.#tell('error', { directory, segment: stem, problem: messageOf(error) }, 'A segment cannot be deleted.'); // prettier-ignore
      return bytes;
    }
    this.#counters.segmentsEvicted++;
    const left = measure(directory, sensor, stem, new Set(readdirSync(directory)));
    this.#known.set(`${directory}/${stem}`, { directory, sensor, stem, bytes: left?.bytes ?? 0, closedAtMs, isInStore: false }); // prettier-ignore
    return left?.bytes ?? 0;
  }

  #delete(segment: Stored, reason: DeletionReason): boolean {
    const { directory, stem, bytes } = segment;
    const sidecar = sidecarOf(segment);
    try {
      const note = { at: new Date().toISOString(), segment: `${stem}.pcap`, sha256: sidecar?.sha256 ?? null, packets: sidecar?.packets ?? null, bytes, reason }; // prettier-ignore
      appendFileSync(`${directory}/${DELETED_NAME}`, `${JSON.stringify(note)}\n`, { mode: 0o640 });
      // The sidecar last: what a kill leaves is found and deleted again.
      for (const suffix of [...PACKET_SUFFIXES, '.idx', OBJECT_SUFFIX, '.json'])
        if (existsSync(`${directory}/${stem}${suffix}`)) unlinkSync(`${directory}/${stem}${suffix}`);
    } catch (error) {
      this.#tell(
        'error',
        { directory, segment: stem, problem: messageOf(error) },
        'A segment cannot be deleted.',
      );
      return false;
    }
    this.#known.delete(`${directory}/${stem}`);
    this.#counters.segmentsDeleted++;
    this.#counters.bytesDeleted += bytes;
    this.#counters.deletedByReason[reason]++;
    this.#tell('info', { sensor: segment.sensor, segment: stem, bytes, packets: sidecar?.packets, reason }, 'A segment was deleted.'); // prettier-ignore
    return true;
  }
}

/** The arithmetic of one round, over segments in the order in which they may go. */
class Round {
  bytes = 0;
  /** Held ones that would have gone. */
  held = 0;
  readonly #left: Stored[];
  readonly #holds: readonly Hold[];
  readonly #delete: (segment: Stored, reason: DeletionReason) => boolean;
  readonly #bySensor = new Map<string, number>();
  readonly #heldKeys = new Set<Stored>();

  constructor(
    stored: Stored[],
    holds: readonly Hold[],
    deleteOne: (segment: Stored, reason: DeletionReason) => boolean,
  ) {
    this.#left = stored;
    this.#holds = holds;
    this.#delete = deleteOne;
    for (const { sensor, bytes } of stored) {
      this.bytes += bytes;
      this.#bySensor.set(sensor, this.bytesOf(sensor) + bytes);
    }
  }

  bytesOf(sensor: string): number {
    return this.#bySensor.get(sensor) ?? 0;
  }

  /** Takes the packets of what the store has away, where `isDue`. Held or not: they can be had from there. */
  evictWhile(isDue: (segment: Stored) => boolean, evict: (segment: Stored) => number): void {
    for (const [index, segment] of this.#left.entries()) {
      if (!segment.isInStore || !isDue(segment)) continue;
      const left = evict(segment);
      this.bytes -= segment.bytes - left;
      this.#bySensor.set(segment.sensor, this.bytesOf(segment.sensor) - segment.bytes + left);
      this.#left[index] = { ...segment, bytes: left, isInStore: false };
    }
  }

  /** Goes through what is left once, oldest first, and deletes what `isDue` and is not held. */
  deleteWhile(reason: DeletionReason, isDue: (segment: Stored) => boolean): void {
    const left: Stored[] = [];
    for (const segment of this.#left)
      if (!isDue(segment) || this.#isHeld(segment) || !this.#delete(segment, reason)) left.push(segment);
      else {
        this.bytes -= segment.bytes;
        this.#bySensor.set(segment.sensor, this.bytesOf(segment.sensor) - segment.bytes);
      }
    this.#left.length = 0;
    this.#left.push(...left);
  }

  #isHeld(segment: Stored): boolean {
    if (this.#holds.length === 0) return false;
    const sidecar = sidecarOf(segment);
    const isKept =
      sidecar === null || this.#holds.some((hold) => isHeld(hold, sidecar, () => indexOf(segment)));
    if (isKept && !this.#heldKeys.has(segment)) {
      this.#heldKeys.add(segment);
      this.held++;
    }
    return isKept;
  }
}

function measure(directory: string, sensor: string, stem: string, names: ReadonlySet<string>): Stored | null {
  let bytes = 0;
  let closedAtMs = 0;
  for (const suffix of [...PACKET_SUFFIXES, '.idx', OBJECT_SUFFIX, '.json']) {
    if (!names.has(stem + suffix)) continue;
    const status = statSync(`${directory}/${stem}${suffix}`, { throwIfNoEntry: false });
    bytes += status?.size ?? 0;
    if (suffix === '.json') closedAtMs = status?.mtimeMs ?? 0;
  }
  const hasPackets = PACKET_SUFFIXES.some((suffix) => names.has(stem + suffix));
  const isInStore = hasPackets && names.has(stem + OBJECT_SUFFIX);
  return bytes === 0 ? null : { directory, sensor, stem, bytes, closedAtMs, isInStore };
}

function sidecarOf({ directory, stem }: Stored): Sidecar | null {
  try {
    return parseSidecar(readFileSync(`${directory}/${stem}.json`, 'utf8'));
  } catch {
    return null;
  }
}

function indexOf({ directory, stem }: Stored): SegmentIndex | null {
  try {
    return decodeIndex(readFileSync(`${directory}/${indexName(`${stem}.pcap`)}`));
  } catch {
    return null;
  }
}

function isInStoreNow(stem: string, names: ReadonlySet<string>): boolean {
  return names.has(stem + OBJECT_SUFFIX) && PACKET_SUFFIXES.some((suffix) => names.has(stem + suffix));
}
