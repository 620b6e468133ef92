/**
 * The segments that take packets, by source, period and track. A source has one usual segment for each period, and up to three
 * late ones: packets that run backwards go there, each backlog to a file of its own in which it is in order.
 */
import type { Segment } from './segment.ts';
import type { Source } from './source-table.ts';

/** The usual segment of a source and period, and three late ones. */
export const TRACKS = 4;

export class SegmentTable {
  count = 0;
  /** Of each source by period × TRACKS + track. */
  readonly #segments = new Map<Source, Map<number, Segment>>();

  get(source: Source, period: number, track: number): Segment | undefined {
    return this.#segments.get(source)?.get(period * TRACKS + track);
  }

  add(segment: Segment): void {
    const { source, period, track } = segment;
    let ofSource = this.#segments.get(source);
    if (ofSource === undefined) this.#segments.set(source, (ofSource = new Map<number, Segment>()));
    ofSource.set(period * TRACKS + track, segment);
    this.count++;
    source.segmentCount++;
    if (period > source.newestPeriod) source.newestPeriod = period;
  }

  remove(segment: Segment): void {
    const { source, period, track } = segment;
    const ofSource = this.#segments.get(source);
    ofSource?.delete(period * TRACKS + track);
    if (ofSource?.size === 0) this.#segments.delete(source);
    this.count--;
    source.segmentCount--;
    if (source.segment === segment) source.segment = null;
  }

  of(source: Source): Iterable<Segment> {
    return this.#segments.get(source)?.values() ?? [];
  }

  /** All of them; what is removed meanwhile is left out. */
  *all(): Iterable<Segment> {
    for (const ofSource of this.#segments.values()) yield* ofSource.values();
  }
}
