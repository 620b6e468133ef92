/**
 * `.tapline-period`: the longest period that segments of a directory ever had, in seconds, as text. With it a name tells how far a
 * segment may reach, and who looks for five minutes opens no file of another day.
 */
import type { Files } from '../system/files.ts';
import { readSmallFile, replaceFile } from '../system/replace-file.ts';

const PERIOD_NAME = '.tapline-period';
const PERIOD_SECONDS_MAX = 7 * 86_400;
const TEXT_BYTES_MAX = 64;

/** Notes that segments of this length are written to the directory. Throws what the disk throws. */
export function notePeriod(files: Files, directory: string, periodSeconds: number): void {
  const path = `${directory}/${PERIOD_NAME}`;
  if (files.exists(path) && longestPeriod(files, directory) >= periodSeconds) return;
  replaceFile(files, path, `${periodSeconds}\n`);
}

/** In seconds; the longest that there may be where nothing is noted. */
export function longestPeriod(files: Files, directory: string): number {
  const text = readSmallFile(files, `${directory}/${PERIOD_NAME}`, TEXT_BYTES_MAX);
  const seconds = text === null ? NaN : Number(text);
  return seconds >= 1 && seconds <= PERIOD_SECONDS_MAX ? seconds : PERIOD_SECONDS_MAX;
}
