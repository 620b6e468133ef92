/** A segment that the tail follows: whose it is, where it lies, and how far it was read. The state is plain data and stands in a checkpoint. */
import type { CaptureReader } from './capture-reader.ts';
import type { SegmentFollower } from './segment-follower.ts';

/** About 300 bytes each: 100 MiB. Beyond it the archive is too large to be followed whole, and that is said. */
export const SEGMENTS_MAX = 300_000;

/** What a batch belongs to. */
export interface Segment {
  /** Name of the sensor's directory; `.` for an archive without sensors. */
  readonly sensor: string;
  readonly prefix: string;
  readonly path: string;
}

/** What was read of a segment, in plain data. */
export interface SegmentState {
  readonly sensor: string;
  readonly prefix: string;
  readonly stem: string;
  readonly file: number;
  path: string;
  /** Plain records that are read where they are written; false for what is read from its beginning. */
  isPlain: boolean;
  /** Length of the file when it was looked at last. */
  bytesSeen: number;
  /** Of what is not plain: was read to its end as it was then. */
  isRead: boolean;
  /** Of the next record. */
  offset: number;
  number: number;
  seconds: number;
  nanoseconds: number;
  damage: string | null;
}

/** With what only the running program has. */
export interface Followed extends SegmentState {
  follower: SegmentFollower | null;
  reader: CaptureReader | null;
  cutsTold: number;
  /** Where this turn stops reading. */
  end: number;
}

/** Without what only the running program has. */
export function stateOf(segment: SegmentState): SegmentState {
  const { sensor, prefix, stem, file, path, isPlain, bytesSeen, isRead } = segment;
  const { offset, number, seconds, nanoseconds, damage } = segment;
  return { sensor, prefix, stem, file, path, isPlain, bytesSeen, isRead, offset, number, seconds, nanoseconds, damage }; // prettier-ignore
}
