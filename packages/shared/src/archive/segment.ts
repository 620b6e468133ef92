/**
 * One segment in memory: the records that wait for their write, and where the file stands. A plain holder of state;
 * `segment-store.ts` decides when it is written, `segment-writer.ts` knows how.
 *
 * `buffer` begins with room for a file header, so that a new file's header and first records leave in one write:
 *
 *   0 … FILE_HEADER_BYTES   header (filled in only when the file is created)
 *   FILE_HEADER_BYTES … end whole records, in the file's precision
 */
import type { DropReason } from './archive-options.ts';
import type { PacketBuffer } from './buffer-pool.ts';
import type { DescriptorHolder } from './open-files.ts';
import type { Source } from './source-table.ts';

/** Not looked at yet. */
export const BYTES_UNKNOWN = -1;

export class Segment implements DescriptorHolder {
  readonly source: Source;
  /** Periods since 1970 UTC. */
  readonly period: number;
  /** 0, or which of the late segments of its source and period. */
  readonly track: number;
  /** Its file's name says that it came late. */
  readonly isLate: boolean;

  /** Time of the newest packet that was given a place in it. */
  newestSeconds = -1;
  newestNanoseconds = 0;
  /** No packet older than this may be appended any more. */
  writtenSeconds = -1;
  writtenNanoseconds = 0;
  /** The records in `buffer` are to be sorted before they are written. */
  isUnsorted = false;
  /** Takes no new packets: closed as soon as its last ones are written. */
  isRetired = false;

  buffer: PacketBuffer | null = null;
  /** Where the next record goes. */
  end = 0;
  /** `buffer.byteLength`, or 0 without one: the hot loop compares it without asking for the buffer. */
  capacity = 0;
  packetsPending = 0;
  /** Waits in the store's queue. */
  isQueued = false;
  queuedAtMs = 0;
  activeAtMs = 0;
  /** How much was pending at the last write: the size of the next buffer. */
  bytesExpected = 0;

  /** File name, once one is found that is free or holds a file like this. */
  name = '';
  /** Whole records in the file, header included. */
  fileBytes = BYTES_UNKNOWN;
  /** Bytes lie behind `fileBytes` that could not be cut off: to be cut before the next write. */
  isTorn = false;
  /** The disk refused the last write. */
  failure: DropReason | null = null;
  /** How long it was when it was told of. */
  bytesTold = 0;
  packetsStored = 0;
  bytesStored = 0;

  descriptor = -1;
  newer: DescriptorHolder | null = null;
  older: DescriptorHolder | null = null;

  constructor(source: Source, period: number, track: number, isLate: boolean) {
    this.source = source;
    this.period = period;
    this.track = track;
    this.isLate = isLate;
  }
}
