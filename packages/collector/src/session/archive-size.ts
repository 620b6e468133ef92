/** How many bytes the directories of archives hold: measured, and in between reckoned from what was written. */
import type { ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import type { Files } from '@tapline/shared/system/files.ts';
import type { SizedStore } from './disk-limit.ts';

export class ArchiveSize implements SizedStore {
  readonly diskBytesMax: number;
  readonly #archives: ArchiveSet;
  readonly #files: Files;
  /** Bytes found on the disk, less those written before they were found. */
  #base = 0;

  /** Of archives whose directories are there, or will be at the first look; without a limit nothing is measured. */
  constructor(archives: ArchiveSet, files: Files, bytesMax: number) {
    this.#archives = archives;
    this.#files = files;
    this.diskBytesMax = bytesMax;
    if (bytesMax < Infinity) this.diskBytes(true);
  }

  diskBytes(isAnew: boolean): number {
    const { bytesStored } = this.#archives;
    if (isAnew) this.#base = this.#measure() - bytesStored;
    return this.#base + bytesStored;
  }

  #measure(): number {
    let bytes = 0;
    for (const { archive } of this.#archives.members) {
      const { directory } = archive;
      if (!this.#files.exists(directory)) continue;
      for (const name of this.#files.list(directory))
        bytes += this.#files.status(`${directory}/${name}`)?.bytes ?? 0;
    }
    return bytes;
  }
}
