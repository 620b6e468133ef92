/**
 * Puts a segment's pending records into its file. What it keeps true of every file that bears a segment's name:
 *
 * - It is created whole: header and first records are written under a hidden name and then linked to the visible one.
 *   Nobody sees an empty segment, and nothing that exists is overwritten.
 * - It ends with a whole record after every call. What a short or refused write left of a record is cut off again; when
 *   even that is refused, the segment is `isTorn` and cut before its next write.
 * - It was begun by this run. What another run, or anybody else, left under the name is never touched: the next name is
 *   taken (`…_HH-2.pcap`). So a closed segment stays what its sidecar says it is.
 *
 * (Between the pieces of one write(2) a reader can see part of a record, and a kill can leave it there: `open()` of the
 * next run repairs that, see `segment-repair.ts`.)
 */
import { assert } from '../base/assert.ts';
import { messageOf } from '../base/errors.ts';
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import { encodeFileHeader } from '../pcap/pcap-writer.ts';
import { RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, readU32 } from '../packet/record.ts';
import { errnoOf } from '../system/files.ts';
import type { Files } from '../system/files.ts';
import type { ArchiveEvents, DropReason } from './archive-options.ts';
import type { OpenFiles } from './open-files.ts';
import { BYTES_UNKNOWN } from './segment.ts';
import type { Segment } from './segment.ts';
import { SECONDS_PER_HOUR, formatSegmentName, sidecarName } from './segment-name.ts';

/** Where a new segment is written before it gets its name. One suffices: the archive's lock keeps others out. */
export const UNPUBLISHED_NAME = '.tapline-new';

/** Segments of one source and period: one for every restart, rotation, full segment and late spell. */
const ORDINAL_MAX = 9999;

/** A refusal without an errno, e.g. a write that takes nothing. */
class DiskRefusal extends Error {}

/** Between our look and our link(2) somebody made a file of that name. */
class NameTaken extends Error {}

export class SegmentWriter {
  /** The sentence behind the last failure. */
  lastMessage = '';
  readonly #files: Files;
  readonly #directory: string;
  readonly #precision: 'ns' | 'us';
  readonly #periodSeconds: number;
  readonly #openFiles: OpenFiles;
  readonly #events: ArchiveEvents;
  readonly #headers = new Map<number, Uint8Array>();
  readonly #headerFound = new Uint8Array(FILE_HEADER_BYTES);

  constructor(
    options: {
      readonly directory: string;
      readonly precision: 'ns' | 'us';
      readonly periodSeconds?: number;
    },
    dependencies: { readonly files: Files; readonly openFiles: OpenFiles; readonly events: ArchiveEvents },
  ) {
    this.#directory = options.directory;
    this.#precision = options.precision;
    this.#periodSeconds = options.periodSeconds ?? SECONDS_PER_HOUR;
    this.#files = dependencies.files;
    this.#openFiles = dependencies.openFiles;
    this.#events = dependencies.events;
  }

  /**
   * Writes the pending records, all or the first few. Returns how many bytes of whole records are in the file now, and
   * leaves in `segment.failure` why it was not all of them (null when it was).
   */
  append(segment: Segment): number {
    segment.failure = null;
    let stored = 0;
    try {
      if (segment.descriptor < 0) stored = this.#open(segment);
      else this.#openFiles.touch(segment);
      if (stored === 0) stored = this.#appendRecords(segment);
    } catch (error) {
      segment.failure = this.#note(error);
    }
    // A descriptor that failed may be stale (network file systems): the retry opens the file anew.
    if (segment.failure !== null) this.#openFiles.close(segment);
    return stored;
  }

  path(name: string): string {
    return `${this.#directory}/${name}`;
  }

  #note(error: unknown): DropReason {
    const cause = error instanceof PartialWrite ? error.cause : error;
    this.lastMessage = messageOf(cause);
    return reasonOf(cause);
  }

  /** Opens or creates the file. Returns the bytes of records stored in passing: all of them when it was created. */
  #open(segment: Segment): number {
    if (segment.fileBytes !== BYTES_UNKNOWN) {
      const descriptor = this.#openExisting(segment.name);
      if (descriptor >= 0 && this.#adopt(segment, descriptor)) return 0;
      // Moved away, deleted or changed under our hands: begin anew.
      segment.fileBytes = BYTES_UNKNOWN;
      segment.isTorn = false;
    }
    const { source, period, isLate } = segment;
    for (let ordinal = 1; ordinal <= ORDINAL_MAX; ordinal++) {
      const name = formatSegmentName(source.prefix, period, this.#periodSeconds, isLate, ordinal);
      if (this.#isTaken(name)) continue;
      const stored = this.#create(segment, name);
      if (stored > 0) return stored; // else somebody else made the file in between: the next one
    }
    throw new DiskRefusal(
      `no free name for ${formatSegmentName(source.prefix, period, this.#periodSeconds, isLate)}`,
    );
  }

  /** Also when its packets are packed, or gone and only its sidecar left: a name stands for one segment for ever. */
  #isTaken(name: string): boolean {
    return this.#files.exists(this.path(name)) || this.#files.exists(this.path(sidecarName(name)));
  }

  /** Its descriptor, or -1 when there is no such file any more. */
  #openExisting(name: string): number {
    try {
      return this.#openFiles.withRoom(() => this.#files.open(this.path(name)));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return -1;
      throw error;
    }
  }

  /** Goes on with a segment of ours whose descriptor was closed in between, when nobody changed it; else closes it. */
  #adopt(segment: Segment, descriptor: number): boolean {
    let isAdopted = false;
    try {
      isAdopted = segment.isTorn || this.#isUnchanged(segment, descriptor);
    } finally {
      if (!isAdopted) this.#files.close(descriptor);
    }
    if (!isAdopted) return false;
    this.#openFiles.add(segment, descriptor);
    return true;
  }

  #isUnchanged(segment: Segment, descriptor: number): boolean {
    const files = this.#files;
    if (segment.fileBytes !== files.byteLength(descriptor)) return false;
    const found = this.#headerFound;
    const header = this.#header(segment.source.linkType);
    if (files.read(descriptor, found, 0, FILE_HEADER_BYTES, 0) < FILE_HEADER_BYTES) return false;
    for (let i = 0; i < FILE_HEADER_BYTES; i++) if (found[i] !== header[i]) return false;
    return true;
  }

  /** Creates the file with its header and the pending records in it. 0: the name was taken meanwhile. */
  #create(segment: Segment, name: string): number {
    const files = this.#files;
    const hidden = this.path(UNPUBLISHED_NAME);
    const bytes = bytesOf(segment);
    bytes.set(this.#header(segment.source.linkType), 0);
    if (files.exists(hidden)) files.remove(hidden);
    const descriptor = this.#openFiles.withRoom(() => files.create(hidden));
    let stored = segment.end - FILE_HEADER_BYTES;
    try {
      try {
        this.#writeAll(descriptor, bytes, 0, segment.end, 0);
      } catch (error) {
        stored = wholeRecordBytes(bytes, FILE_HEADER_BYTES, writtenOf(error));
        if (stored === 0) throw error;
        files.truncate(descriptor, FILE_HEADER_BYTES + stored);
        segment.failure = this.#note(error);
      }
      this.#events.segmentOpened?.({ name, bytes: 0 });
      if (!files.publish(hidden, this.path(name))) stored = 0;
      if (stored === 0) throw new NameTaken();
    } catch (error) {
      files.close(descriptor);
      removeQuietly(files, hidden);
      if (error instanceof NameTaken) return 0;
      throw error;
    }
    segment.name = name;
    segment.fileBytes = FILE_HEADER_BYTES + stored;
    this.#openFiles.add(segment, descriptor);
    return stored;
  }

  /** Appends the pending records to the open file; what is torn of them is cut off. */
  #appendRecords(segment: Segment): number {
    const files = this.#files;
    const bytes = bytesOf(segment);
    if (segment.isTorn) {
      files.truncate(segment.descriptor, segment.fileBytes);
      segment.isTorn = false;
    }
    let stored = segment.end - FILE_HEADER_BYTES;
    try {
      this.#writeAll(segment.descriptor, bytes, FILE_HEADER_BYTES, segment.end, segment.fileBytes);
    } catch (error) {
      const written = writtenOf(error);
      stored = wholeRecordBytes(bytes, FILE_HEADER_BYTES, FILE_HEADER_BYTES + written);
      if (written > stored)
        segment.isTorn = !truncated(files, segment.descriptor, segment.fileBytes + stored);
      segment.failure = this.#note(error);
    }
    segment.fileBytes += stored;
    return stored;
  }

  /** Writes `bytes[from, to)` at `position`, in as many calls as it takes. Throws PartialWrite. */
  #writeAll(descriptor: number, bytes: Uint8Array, from: number, to: number, position: number): void {
    let at = from;
    try {
      while (at < to) {
        const taken = this.#files.write(descriptor, bytes, at, to - at, position + at - from);
        if (taken <= 0) throw new DiskRefusal('the disk takes no more bytes');
        at += taken;
      }
    } catch (error) {
      throw new PartialWrite(at - from, error);
    }
  }

  #header(linkType: number): Uint8Array {
    let header = this.#headers.get(linkType);
    if (header === undefined) {
      header = encodeFileHeader({ linkType, precision: this.#precision });
      this.#headers.set(linkType, header);
    }
    return header;
  }
}

/** A write that ended early, after `written` bytes. */
class PartialWrite extends Error {
  readonly written: number;
  constructor(written: number, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.written = written;
  }
}

function bytesOf(segment: Segment): Uint8Array {
  assert(segment.buffer !== null, 'a segment without pending records was written');
  return segment.buffer.bytes;
}

function writtenOf(error: unknown): number {
  return error instanceof PartialWrite ? error.written : 0;
}

/** Bytes of whole records in `bytes[from, to)`, which begins at a record. */
export function wholeRecordBytes(bytes: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at + RECORD_HEADER_BYTES <= to) {
    const next = at + RECORD_HEADER_BYTES + readU32(bytes, at + RECORD_CAPTURED_BYTES);
    if (next > to) break;
    at = next;
  }
  return at - from;
}

function truncated(files: Files, descriptor: number, byteLength: number): boolean {
  try {
    files.truncate(descriptor, byteLength);
    return true;
  } catch {
    return false;
  }
}

function removeQuietly(files: Files, path: string): void {
  try {
    files.remove(path);
  } catch {
    // Read-only by now, or gone: the next create looks again.
  }
}

function reasonOf(error: unknown): DropReason {
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'disk-full';
    case 'EROFS':
      return 'read-only';
    default:
      return 'io-error';
  }
}
