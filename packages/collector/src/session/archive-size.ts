/** How many bytes an archive's directory holds: measured, and in between reckoned from what was written. */
import type { Archive } from '@tapline/shared/archive/archive.ts';
import type { Files } from '@tapline/shared/system/files.ts';
import type { SizedStore } from './disk-limit.ts';

export class ArchiveSize implements SizedStore {
  readonly diskBytesMax: number;
  readonly #archive: Archive;
  readonly #files: Files;
  /** Bytes found on the disk, less those written before they were found. */
  #base = 0;

  /** Of an archive whose directory is there, or will be at the first look; without a limit nothing is measured. */
  constructor(archive: Archive, files: Files, bytesMax: number) {
    this.#archive = archive;
    this.#files = files;
    this.diskBytesMax = bytesMax;
    if (bytesMax < Infinity) this.diskBytes(true);
  }

  diskBytes(isAnew: boolean): number {
    const { bytesStored } = this.#archive.counters;
    if (isAnew) this.#base = this.#measure() - bytesStored;
    return this.#base + bytesStored;
  }

  #measure(): number {
    const { directory } = this.#archive;
    if (!this.#files.exists(directory)) return 0;
    let bytes = 0;
    for (const name of this.#files.list(directory))
      bytes += this.#files.status(`${directory}/${name}`)?.bytes ?? 0;
    return bytes;
  }
}
