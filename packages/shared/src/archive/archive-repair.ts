/**
 * What `open()` does to the segments of a run that did not close them.
 *
 * Which can be torn? Those written shortly before the crash: the page cache of a killed process survives, and a power
 * cut takes at most what was not yet written back (half a minute by default). So only segments modified within
 * REPAIR_WINDOW_MS of the last modification of any of them are read, plus those of the newest two hours by name, in
 * case the machine's clock jumped. Of 100,000 segments that is those of the last hour; the others cost a stat(2) each
 * (0.2 s in all), and after a clean close in the same boot not even that.
 */
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import type { Files } from '../system/files.ts';
import type { ArchiveEvents } from './archive-options.ts';
import { parseSegmentName } from './segment-name.ts';
import { repairSegment } from './segment-repair.ts';
import { UNPUBLISHED_NAME } from './segment-writer.ts';

/** Thirty times the kernel's write-back delay. */
export const REPAIR_WINDOW_MS = 15 * 60 * 1000;
const NEWEST_SECONDS = 2 * 3600;

/** Behind the name of a segment that is damaged in the middle. */
export const DAMAGED_SUFFIX = '.damaged';

/** Repairs what can be torn. Throws what `files` throws. */
export function repairArchive(
  files: Files,
  directory: string,
  wasClosed: boolean,
  events: ArchiveEvents,
): void {
  const unpublished = `${directory}/${UNPUBLISHED_NAME}`;
  if (files.exists(unpublished)) files.remove(unpublished);
  if (wasClosed) return;
  for (const name of suspects(files, directory)) repairOne(files, directory, name, events);
}

function suspects(files: Files, directory: string): string[] {
  const segments: { name: string; startSeconds: number; modifiedAtMs: number }[] = [];
  let newestMs = 0;
  let newestSeconds = 0;
  for (const name of files.list(directory)) {
    const parsed = parseSegmentName(name);
    const status = parsed === null ? null : files.status(`${directory}/${name}`);
    if (parsed === null || status === null || parsed.compression !== 'none') continue;
    segments.push({ name, startSeconds: parsed.startSeconds, modifiedAtMs: status.modifiedAtMs });
    newestMs = Math.max(newestMs, status.modifiedAtMs);
    newestSeconds = Math.max(newestSeconds, parsed.startSeconds);
  }
  return segments
    .filter(
      (s) => s.modifiedAtMs >= newestMs - REPAIR_WINDOW_MS || s.startSeconds > newestSeconds - NEWEST_SECONDS,
    )
    .map((s) => s.name)
    .sort();
}

function repairOne(files: Files, directory: string, name: string, events: ArchiveEvents): void {
  const path = `${directory}/${name}`;
  const descriptor = openRegular(files, path);
  if (descriptor < 0) return;
  let outcome;
  try {
    outcome = repairSegment(files, descriptor);
  } finally {
    files.close(descriptor);
  }
  switch (outcome.kind) {
    case 'whole':
    case 'foreign':
      return;
    case 'cut':
      // A segment without a packet is not to be seen.
      if (outcome.bytes === FILE_HEADER_BYTES) files.remove(path);
      events.segmentRepaired?.({ name, bytesCut: outcome.bytesCut });
      return;
    case 'damaged': {
      const movedTo = freeName(files, directory, `${name}${DAMAGED_SUFFIX}`);
      files.rename(path, `${directory}/${movedTo}`);
      events.segmentSetAside?.({ name, movedTo, offset: outcome.offset });
      return;
    }
  }
}

/** What is not a regular file that we may open is not ours to repair. */
function openRegular(files: Files, path: string): number {
  try {
    return files.open(path);
  } catch {
    return -1;
  }
}

function freeName(files: Files, directory: string, name: string): string {
  let free = name;
  for (let n = 2; files.exists(`${directory}/${free}`); n++) free = `${name}-${n}`;
  return free;
}
