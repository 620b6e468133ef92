/**
 * The sources the archive knows: one row per prefix and link type. A row is a small number; address tables and the hot
 * loop work with it.
 *
 * Addresses can be forged by the million, so the rows that addresses may claim are limited: at most `sourcesMax` with
 * packets in the newest period, which bounds memory and, a period at a time, the files on the disk. Rows of rules, of the
 * default and of the overflow come from the configuration and are never refused. When the limit is reached, rows that
 * are idle since an earlier period make room; what they counted moves to a summary of the same bound.
 */
import type { Segment } from './segment.ts';

export interface SourceSummary {
  /** As in the file name: with the link type's name where it is part of it. */
  readonly prefix: string;
  readonly linkType: number;
  readonly packets: number;
  readonly bytes: number;
}

/** The summary of everything that no longer fits the bound has this prefix; it cannot begin a file name. */
export const OTHER_SOURCES = '(others)';

export class Source {
  readonly prefix: string;
  readonly linkType: number;
  /** Never evicted: named by the configuration. */
  readonly isFixed: boolean;
  /** The segment of its newest packet: the next one most likely goes there too. */
  segment: Segment | null = null;
  /** Segments in memory. */
  segmentCount = 0;
  newestPeriod = -1;
  packetsStored = 0;
  bytesStored = 0;

  constructor(prefix: string, linkType: number, isFixed: boolean) {
    this.prefix = prefix;
    this.linkType = linkType;
    this.isFixed = isFixed;
  }
}

export class SourceTable {
  readonly sourcesMax: number;
  /** Row → source. Rows are reused, so a row is valid until `onEvicted` says otherwise. */
  readonly rows: Source[] = [];
  /** Newest second, and newest period, of any packet so far. */
  newestSeconds = -1;
  newestPeriod = -1;
  /** Told after rows were evicted, with what remains; whoever keeps row numbers forgets the others. */
  onEvicted: (isLive: (row: number) => boolean) => void = () => undefined;

  readonly #rowByKey = new Map<string, number>();
  readonly #freeRows: number[] = [];
  readonly #retired = new Map<string, { linkType: number; packets: number; bytes: number }>();
  #claimed = 0;
  #mayEvict = true;

  constructor(sourcesMax: number) {
    this.sourcesMax = sourcesMax;
  }

  /** Whether another address may claim a row. Cheap when the answer is no, as a flood of forged sources needs it. */
  hasRoom(): boolean {
    if (this.#claimed < this.sourcesMax) return true;
    if (!this.#mayEvict) return false;
    this.#mayEvict = false;
    this.#evictIdle();
    return this.#claimed < this.sourcesMax;
  }

  /** Looking for idle rows costs a walk over all of them: the archive's slow timer allows it once in a while. */
  allowEviction(): void {
    this.#mayEvict = true;
  }

  /** The row of a prefix, made if need be. Without `isFixed`, ask `hasRoom` first. */
  acquire(prefix: string, linkType: number, isFixed: boolean): number {
    const key = `${linkType}/${prefix}`;
    const known = this.#rowByKey.get(key);
    // An address may spell like a rule's prefix: they share the row, and so the file.
    if (known !== undefined) return known;
    const row = this.#freeRows.pop() ?? this.rows.length;
    this.rows[row] = new Source(prefix, linkType, isFixed);
    this.#rowByKey.set(key, row);
    if (!isFixed) this.#claimed++;
    return row;
  }

  /** Packets and bytes per prefix since the archive was opened, those still buffered included; most packets first. */
  summary(pendingOf: (source: Source) => { packets: number; bytes: number }): SourceSummary[] {
    const sums = new Map<string, { linkType: number; packets: number; bytes: number }>();
    const add = (prefix: string, linkType: number, packets: number, bytes: number): void => {
      const key = `${linkType}/${prefix}`;
      const sum = sums.get(key) ?? { linkType, packets: 0, bytes: 0 };
      sum.packets += packets;
      sum.bytes += bytes;
      sums.set(key, sum);
    };
    for (const [key, { linkType, packets, bytes }] of this.#retired)
      add(prefixOf(key), linkType, packets, bytes);
    for (const [key, row] of this.#rowByKey) {
      const source = this.rows[row] as Source;
      const pending = pendingOf(source);
      add(
        prefixOf(key),
        source.linkType,
        source.packetsStored + pending.packets,
        source.bytesStored + pending.bytes,
      );
    }
    return [...sums]
      .map(([key, sum]) => ({ prefix: prefixOf(key), ...sum }))
      .filter((sum) => sum.packets > 0)
      .sort((a, b) => b.packets - a.packets || (a.prefix < b.prefix ? -1 : 1));
  }

  #evictIdle(): void {
    const live = new Uint8Array(this.rows.length);
    for (const [key, row] of this.#rowByKey) {
      const source = this.rows[row] as Source;
      if (source.isFixed || source.segmentCount > 0 || source.newestPeriod >= this.newestPeriod) {
        live[row] = 1;
        continue;
      }
      this.#rowByKey.delete(key);
      this.#freeRows.push(row);
      this.#claimed--;
      this.#retire(key, source);
    }
    this.onEvicted((row) => live[row] === 1);
  }

  #retire(key: string, source: Source): void {
    const known = this.#retired.has(key) || this.#retired.size < this.sourcesMax;
    const to = known ? key : `${source.linkType}/${OTHER_SOURCES}`;
    const sum = this.#retired.get(to) ?? { linkType: source.linkType, packets: 0, bytes: 0 };
    sum.packets += source.packetsStored;
    sum.bytes += source.bytesStored;
    this.#retired.set(to, sum);
  }
}

function prefixOf(key: string): string {
  return key.slice(key.indexOf('/') + 1);
}
