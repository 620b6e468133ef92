/**
 * Brings finished segments into the object store: packets and index first and the sidecar last, so that whoever sees a sidecar there
 * sees everything. What was brought is noted beside it (`.object`), which is all that a next start needs to know; a store
 * that is away is tried again for ever, and packets stay here as long.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { indexName, segmentStem, sidecarName } from '../archive/segment-name.ts';
import { messageOf } from '../base/errors.ts';
import { RetrySchedule } from '../base/retry-schedule.ts';
import { parseSidecar } from '../catalog/sidecar.ts';
import { OBJECT_SUFFIX, encodeObjectNote } from '../objects/object-source.ts';
import { ObjectStore, type ObjectStoreOptions } from '../objects/object-store.ts';
import type { Tell } from './hand-over.ts';
import type { KeeperCounters, Place } from './keeper-protocol.ts';

const UPLOADS_AT_ONCE = 2;
const RETRY = { firstMs: 1000, capMs: 300_000 };

export class Uploader {
  readonly #store: ObjectStore;
  readonly #counters: KeeperCounters;
  readonly #tell: Tell;
  readonly #waiting: { readonly place: Place; readonly segment: string }[] = [];
  readonly #known = new Set<string>();
  readonly #aborter = new AbortController();
  #running = 0;
  #isAway = false;
  #isTagTold = false;
  #whenIdle: () => void = () => undefined;

  constructor(options: ObjectStoreOptions, counters: KeeperCounters, tell: Tell) {
    this.#store = new ObjectStore(options);
    this.#counters = counters;
    this.#tell = tell;
  }

  /** A finished segment. */
  add(place: Place, segment: string): void {
    const key = `${place.directory}/${segment}`;
    if (this.#known.has(key) || existsSync(`${place.directory}/${segmentStem(segment)}${OBJECT_SUFFIX}`))
      return;
    this.#known.add(key);
    this.#waiting.push({ place, segment });
    this.#counters.uploadsWaitingNow++;
    this.#next();
  }

  /** What runs before this one finished and did not bring away. */
  adopt(place: Place): void {
    if (!existsSync(place.directory)) return;
    for (const name of readdirSync(place.directory).sort())
      if (name.endsWith('.json')) this.add(place, `${name.slice(0, -'.json'.length)}.pcap`);
  }

  /** Resolves when everything is there, or at the deadline; what is left is brought by the next start. */
  async close(deadlineMs: number): Promise<void> {
    if (this.#counters.uploadsWaitingNow > 0 && !this.#isAway) {
      const aborter = new AbortController();
      const idle = new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
      await Promise.race([
        idle,
        sleep(deadlineMs, undefined, { signal: aborter.signal }).catch(() => undefined),
      ]);
      aborter.abort();
    }
    this.#aborter.abort();
  }

  #next(): void {
    while (this.#running < UPLOADS_AT_ONCE && !this.#aborter.signal.aborted) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#running++;
      void this.#bring(next.place, next.segment).then((isDone) => {
        this.#running--;
        if (isDone) this.#counters.uploadsWaitingNow--;
        this.#known.delete(`${next.place.directory}/${next.segment}`);
        if (this.#counters.uploadsWaitingNow === 0) this.#whenIdle();
        this.#next();
      });
    }
  }

  /** True when there is nothing left to do for the segment. */
  async #bring(place: Place, segment: string): Promise<boolean> {
    const retry = new RetrySchedule(RETRY, Math.random);
    for (;;) {
      try {
        await this.#bringOnce(place, segment);
        if (this.#isAway) this.#tell('info', {}, 'The object store is back.');
        this.#isAway = false;
        return true;
      } catch (error) {
        if (this.#aborter.signal.aborted) return false;
        // Deleted by retention, or by hand, while it waited.
        if (!existsSync(`${place.directory}/${sidecarName(segment)}`)) return true;
        this.#counters.uploadsFailed++;
        if (!this.#isAway)
          this.#tell('error', { segment, problem: messageOf(error) }, 'The object store does not take segments; they stay here.'); // prettier-ignore
        this.#isAway = true;
        await sleep(retry.nextDelayMs(), undefined, { signal: this.#aborter.signal }).catch(() => undefined);
        if (this.#aborter.signal.aborted) return false;
      }
    }
  }

  async #bringOnce({ directory, sensor, archive }: Place, segment: string): Promise<void> {
    const sidecarPath = `${directory}/${sidecarName(segment)}`;
    const sidecar = parseSidecar(readFileSync(sidecarPath, 'utf8'));
    if (sidecar === null) return;
    const { signal } = this.#aborter;
    const base = [archive, sensor].filter((word) => word !== '').join('/');
    const keyOf = (name: string): string => `${base}/${name}`;
    const bytes = await this.#store.put(
      keyOf(sidecar.file),
      `${directory}/${sidecar.file}`,
      sidecar.fileSha256,
      signal,
    );
    const indexPath = `${directory}/${indexName(segment)}`;
    let more = await this.#store.put(keyOf(indexName(segment)), indexPath, await hashOf(indexPath), signal);
    more += await this.#store.put(
      keyOf(sidecarName(segment)),
      sidecarPath,
      await hashOf(sidecarPath),
      signal,
    );
    const note = encodeObjectNote({
      version: 1,
      key: keyOf(sidecar.file),
      bytes,
      compression: sidecar.compression,
      uploadedAt: new Date().toISOString(),
    });
    const notePath = `${directory}/${segmentStem(segment)}${OBJECT_SUFFIX}`;
    writeFileSync(`${notePath}.new`, note, { mode: 0o640 });
    renameSync(`${notePath}.new`, notePath);
    this.#counters.segmentsUploaded++;
    this.#counters.uploadedBytes += bytes + more;
    if (this.#store.isTagRefused && !this.#isTagTold) {
      this.#isTagTold = true;
      this.#tell('warn', {}, 'The object store takes no tags; its lifecycle rules must go by prefix.');
    }
  }
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
