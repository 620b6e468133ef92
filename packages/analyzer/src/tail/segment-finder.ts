/**
 * Looks through an archive for segments and other captures: which there are, whose, and whether they can be read where they are written.
 *
 *   <directory>/<sensor>/<prefix>_YYYYMMDD_HH.pcap   a collector's        <directory>/<prefix>_….pcap   a forwarder's
 *   <directory>/anything.pcapng                      any other capture belongs to the sensor `.`; what is no plain PCAP is read when it does
 *                                                    not grow any more
 *
 * By polling: an archive of a thousand sensors has more directories than inotify has watches, and a network file system has none at all. What is known
 * is told again at each look, for whoever keeps the books to compare; a capture that is no segment is opened only while it is unknown.
 */
import { closeSync, openSync, readSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseSegmentName } from '@tapline/shared/archive/segment-name.ts';
import { readU32 } from '@tapline/shared/packet/record.ts';
import { MAGIC_MICROSECONDS, MAGIC_NANOSECONDS } from '@tapline/shared/pcap/format.ts';
import { isCaptureName } from './capture-name.ts';
import { SEGMENTS_MAX } from './followed-segment.ts';

/** A capture that is no segment is read when it did not change for so long: its writer has no other way to say that it is whole. */
const SETTLED_MS = 5000;
/** Ends of the names of packed segments. */
export const PACKED_SUFFIXES = ['.gz', '.zst'] as const;

export interface FinderOptions {
  /** These files and no others, which are whole: `directory` is not looked at. */
  readonly files?: readonly { readonly path: string; readonly sensor: string }[];
  readonly nowMs?: () => number;
  readonly settledMs?: number;
}

/** Who keeps the books. */
export interface FinderEvents {
  /** Whether the capture at this path, which is no segment, was found before. */
  isKnown(path: string): boolean;
  /** It may be read now: where it is written, or from its beginning. A segment is told at each look, `startSeconds` is by its name. */
  found(sensor: string, prefix: string, path: string, startSeconds: number, isPlain: boolean): void;
  unreadable(path: string, error: unknown): void;
}

export class SegmentFinder {
  readonly #directory: string;
  readonly #options: FinderOptions;
  readonly #events: FinderEvents;
  /** Captures that may still grow, by path: how long they were when. */
  readonly #unsettled = new Map<string, { bytes: number; sinceMs: number }>();

  constructor(directory: string, options: FinderOptions, events: FinderEvents) {
    this.#directory = directory;
    this.#options = options;
    this.#events = events;
  }

  /** Looks once. */
  look(): void {
    const { files } = this.#options;
    if (files !== undefined) {
      for (const { path, sensor } of files) this.#addFile(sensor, path);
      return;
    }
    for (const entry of this.#list(this.#directory)) {
      if (entry.isDirectory() && !entry.name.startsWith('.'))
        for (const file of this.#list(join(this.#directory, entry.name))) this.#add(entry.name, file.name);
      else this.#add('.', entry.name);
    }
  }

  #list(directory: string) {
    try {
      return readdirSync(directory, { withFileTypes: true });
    } catch (error) {
      this.#events.unreadable(directory, error);
      return [];
    }
  }

  #add(folder: string, name: string): void {
    const segmentName = parseSegmentName(name);
    if (segmentName === null && !isCaptureName(name)) return;
    const path = join(this.#directory, folder, name);
    if (segmentName !== null)
      this.#events.found(folder, segmentName.prefix, path, segmentName.startSeconds, !isPacked(path));
    else if (!this.#events.isKnown(path)) {
      const isPlain = isPlainCapture(path);
      if (isPlain || this.#isSettled(path)) this.#events.found('.', name, path, 0, isPlain);
    }
  }

  /** One of the files that were asked for. */
  #addFile(sensor: string, path: string): void {
    if (this.#events.isKnown(path)) return;
    const segmentName = parseSegmentName(basename(path));
    const { prefix, startSeconds } = segmentName ?? { prefix: basename(path), startSeconds: 0 };
    this.#events.found(sensor, prefix, path, startSeconds, isPlainCapture(path));
  }

  #isSettled(path: string): boolean {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isFile() !== true || stat.size === 0) return false;
    const { nowMs: clock = Date.now, settledMs = SETTLED_MS } = this.#options;
    const nowMs = clock();
    if (nowMs - stat.mtimeMs >= settledMs) {
      this.#unsettled.delete(path);
      return true;
    }
    const before = this.#unsettled.get(path);
    // A clock in the future would keep a file for ever: its length decides then.
    if (before?.bytes === stat.size && nowMs - before.sinceMs >= settledMs) {
      this.#unsettled.delete(path);
      return true;
    }
    if (before?.bytes !== stat.size && this.#unsettled.size < SEGMENTS_MAX)
      this.#unsettled.set(path, { bytes: stat.size, sinceMs: nowMs });
    return false;
  }
}

function isPacked(path: string): boolean {
  return PACKED_SUFFIXES.some((suffix) => path.endsWith(suffix));
}

/** Whether the file begins as the segments of archives do, so that it can be followed while it grows. */
function isPlainCapture(path: string): boolean {
  const bytes = new Uint8Array(4);
  try {
    const descriptor = openSync(path, 'r');
    try {
      if (readSync(descriptor, bytes, 0, 4, 0) < 4) return false;
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return false;
  }
  const magic = readU32(bytes, 0);
  return magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS;
}
