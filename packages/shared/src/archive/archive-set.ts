/**
 * The archives that store the same packets in different ways: the first is the one everything has always had, the others are
 * further splits of it, each in a directory of its own. To whoever makes packets durable they are one: a batch is
 * written to all, a sync covers all, and a position names the archive it belongs to.
 *
 *   10.0.1.7_20260101_00.pcap        a segment of the first archive
 *   zeek/all_20260101_00.pcap        a segment of the archive named `zeek`
 */
import type { Batch } from '../packet/batch.ts';
import { Archive } from './archive.ts';
import {
  droppedPackets,
  type ArchiveDependencies,
  type ArchiveEvents,
  type ArchiveOptions,
  type ArchiveRule,
} from './archive-options.ts';
import type { SegmentPosition, TruncateReport } from './truncate-segments.ts';

/** The name of the first archive: never part of a position. */
export const FIRST_ARCHIVE = '';

export interface NamedArchive {
  /** FIRST_ARCHIVE, or letters, digits, `_` and `-`. */
  readonly name: string;
  readonly archive: Archive;
}

export class ArchiveSet {
  readonly members: readonly NamedArchive[];

  /** Of at least one archive. */
  constructor(members: readonly NamedArchive[]) {
    this.members = members;
  }

  /** Where the first archive lies. */
  get directory(): string {
    return (this.members[0] as NamedArchive).archive.directory;
  }

  /** Opens them all. Throws ARCHIVE_FAILED, and then none is open. */
  open(): void {
    const opened: Archive[] = [];
    try {
      for (const { archive } of this.members) {
        archive.open();
        opened.push(archive);
      }
    } catch (error) {
      // Nothing was written: nothing is waited for.
      for (const archive of opened) void archive.close();
      throw error;
    }
  }

  write(batch: Batch): void {
    for (const { archive } of this.members) archive.write(batch);
  }

  flush(): void {
    for (const { archive } of this.members) archive.flush();
  }

  /** As `Archive.sync`: resolves when all are durable; their snapshots are taken in the same microtask. */
  async sync(): Promise<void> {
    await Promise.all(this.members.map(({ archive }) => archive.sync()));
  }

  positions(): SegmentPosition[] {
    return this.members.flatMap(({ name, archive }) =>
      archive
        .positions()
        .map((position) => ({ name: memberPath(name, position.name), bytes: position.bytes })),
    );
  }

  /** As `Archive.truncateTo`. Positions of archives that there are no more are left alone. */
  truncateTo(positions: Iterable<SegmentPosition>): TruncateReport {
    const all = [...positions];
    const total: TruncateReport = { filesCut: 0, filesRemoved: 0, bytesCut: 0, missing: [], short: [] };
    for (const { name, archive } of this.members) {
      const prefix = memberPath(name, '');
      const own = all
        .filter(
          (position) => position.name.startsWith(prefix) && !position.name.slice(prefix.length).includes('/'),
        )
        .map((position) => ({ name: position.name.slice(prefix.length), bytes: position.bytes }));
      const report = archive.truncateTo(own);
      total.filesCut += report.filesCut;
      total.filesRemoved += report.filesRemoved;
      total.bytesCut += report.bytesCut;
      total.missing.push(...report.missing.map((missing) => prefix + missing));
      total.short.push(...report.short.map((short) => prefix + short));
    }
    return total;
  }

  rotate(): void {
    for (const { archive } of this.members) archive.rotate();
  }

  setRules(rules: readonly ArchiveRule[], defaultPrefix?: string): void {
    for (const { archive } of this.members) archive.setRules(rules, defaultPrefix);
  }

  /** Packets that any of them had to drop, by a disk's fault. */
  get packetsRefused(): number {
    return this.members.reduce((sum, { archive: { counters } }) => {
      // A link type that no file can have is no fault of the disk's.
      return sum + droppedPackets(counters) - counters.dropped['link-type'];
    }, 0);
  }

  get packetsDropped(): number {
    return this.members.reduce((sum, { archive }) => sum + droppedPackets(archive.counters), 0);
  }

  /** Frame bytes that all of them have stored. */
  get bytesStored(): number {
    return this.members.reduce((sum, { archive }) => sum + archive.counters.bytesStored, 0);
  }

  async close(): Promise<void> {
    for (const { archive } of this.members) await archive.close();
  }
}

/** A set of one. */
export function singleArchive(options: ArchiveOptions, dependencies: ArchiveDependencies): ArchiveSet {
  return new ArchiveSet([{ name: FIRST_ARCHIVE, archive: new Archive(options, dependencies) }]);
}

/** A segment's name with that of its archive before it. */
export function memberPath(archive: string, segment: string): string {
  return archive === FIRST_ARCHIVE ? segment : `${archive}/${segment}`;
}

/** A position's name taken apart: the archive's, and the segment's. */
export function splitMemberPath(path: string): readonly [archive: string, segment: string] {
  const slash = path.indexOf('/');
  return slash < 0 ? [FIRST_ARCHIVE, path] : [path.slice(0, slash), path.slice(slash + 1)];
}

/** Where the segment of a position lies. */
export function pathOfPosition(members: readonly NamedArchive[], position: string): string {
  const [archive, segment] = splitMemberPath(position);
  const member = members.find(({ name }) => name === archive);
  return `${member?.archive.directory ?? ''}/${segment}`;
}

/** The same events, told with the name of the archive before that of the segment. */
export function eventsOfMember(name: string, events: ArchiveEvents): ArchiveEvents {
  if (name === FIRST_ARCHIVE) return events;
  return {
    ...events,
    segmentOpened: (segment) => events.segmentOpened?.({ ...segment, name: memberPath(name, segment.name) }),
    segmentGrown: (segment) => events.segmentGrown?.({ ...segment, name: memberPath(name, segment.name) }),
    segmentClosed: (segment) => events.segmentClosed?.({ ...segment, name: memberPath(name, segment.name) }),
  };
}
