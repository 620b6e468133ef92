/**
 * Cuts segments back to the lengths of a checkpoint, for the run that comes after a crash.
 */
import type { Files } from '../system/files.ts';
import { indexName, parseSegmentName, sidecarName } from './segment-name.ts';

/** How long a segment durably is: whole records, header included. 0: it does not exist. */
export interface SegmentPosition {
  readonly name: string;
  readonly bytes: number;
}

export interface TruncateReport {
  filesCut: number;
  filesRemoved: number;
  bytesCut: number;
  /** Listed but gone, e.g. by retention: nothing to cut. */
  readonly missing: string[];
  /** Shorter than the checkpoint says: the disk lost what it had promised to keep. */
  readonly short: string[];
}

/** Names come from a checkpoint on disk: what does not name a segment is left out. Throws what `files` throws. */
export function truncateSegments(
  files: Files,
  directory: string,
  positions: Iterable<SegmentPosition>,
): TruncateReport {
  const report: TruncateReport = { filesCut: 0, filesRemoved: 0, bytesCut: 0, missing: [], short: [] };
  for (const { name, bytes } of positions) {
    if (parseSegmentName(name)?.compression !== 'none' || name.includes('/')) continue;
    const path = `${directory}/${name}`;
    const status = files.status(path);
    if (status === null) {
      // Finished and packed, or moved to an object store: its sidecar is still there.
      if (bytes > 0 && !files.exists(`${directory}/${sidecarName(name)}`)) report.missing.push(name);
    } else if (bytes === 0) {
      files.remove(path);
      forgetCompanions(files, directory, name);
      report.filesRemoved++;
      report.bytesCut += status.bytes;
    } else if (status.bytes < bytes) {
      report.short.push(name);
    } else if (status.bytes > bytes) {
      const descriptor = files.open(path);
      try {
        files.truncate(descriptor, bytes);
      } finally {
        files.close(descriptor);
      }
      forgetCompanions(files, directory, name);
      report.filesCut++;
      report.bytesCut += status.bytes - bytes;
    }
  }
  return report;
}

/** What lay beside the segment speaks of one that never was: made anew when it is closed. */
function forgetCompanions(files: Files, directory: string, name: string): void {
  for (const companion of [sidecarName(name), indexName(name)])
    if (files.exists(`${directory}/${companion}`)) files.remove(`${directory}/${companion}`);
}
