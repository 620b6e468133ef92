/**
 * One archive, one writer. The lock file `.tapline-archive` in the archive's directory carries a flock(2), which the
 * kernel releases however its holder dies: no stale lock, no guessing about process ids.
 *
 * Its text says how the last writer left:
 *
 *   open <pid>        it is writing, or it died: segments may have torn tails
 *   closed <boot id>  it closed everything. Within the same boot that is the truth; after another boot the
 *                     power may have failed before the disk had it all, so the tails are looked at again.
 */
import { OperatingError, messageOf } from '../base/errors.ts';
import type { Files } from '../system/files.ts';

export const LOCK_NAME = '.tapline-archive';

const TEXT_BYTES_MAX = 128;

export class DirectoryLock {
  /** The last writer closed the archive, in this boot: every segment ends with a whole record. */
  readonly wasClosed: boolean;
  readonly #files: Files;
  readonly #descriptor: number;

  /** Throws ARCHIVE_FAILED when another archive, of this process or another one, writes to the directory. */
  constructor(files: Files, directory: string) {
    this.#files = files;
    const path = `${directory}/${LOCK_NAME}`;
    this.#descriptor = files.lock(path);
    if (this.#descriptor < 0) throw inUse(directory, readHolder(files, path));
    const text = readText(files, this.#descriptor);
    this.wasClosed = text === closedText(files);
    this.#write(`open ${process.pid}\n`);
  }

  /** Gives the directory up. `isWhole`: every segment is known to end with a whole record. */
  release(isWhole: boolean): void {
    try {
      if (isWhole) this.#write(closedText(this.#files));
    } catch {
      // A full disk: the next open() looks at the tails, which costs a moment and loses nothing.
    }
    this.#files.close(this.#descriptor);
  }

  #write(text: string): void {
    const bytes = Buffer.from(text);
    this.#files.truncate(this.#descriptor, 0);
    this.#files.write(this.#descriptor, bytes, 0, bytes.length, 0);
  }
}

function closedText(files: Files): string {
  return `closed ${files.bootId()}\n`;
}

function readText(files: Files, descriptor: number): string {
  const bytes = Buffer.alloc(TEXT_BYTES_MAX);
  return bytes.toString('latin1', 0, files.read(descriptor, bytes, 0, TEXT_BYTES_MAX, 0));
}

function readHolder(files: Files, path: string): string {
  try {
    const descriptor = files.open(path);
    const text = readText(files, descriptor);
    files.close(descriptor);
    return /^open (\d+)/.exec(text)?.[1] ?? '';
  } catch (error) {
    return messageOf(error);
  }
}

function inUse(directory: string, holder: string): OperatingError {
  const who = holder === '' ? 'another process' : `process ${holder}`;
  return new OperatingError(
    'ARCHIVE_FAILED',
    `the archive ${directory} is already being written by ${who}: give each archive a directory of its own`,
    { directory, holder },
  );
}
