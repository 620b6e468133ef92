/**
 * A file that only grows, line by line, and that others may move away (logrotate): whoever reads it sees whole lines, but for the last one while it is
 * written. Writes go to the page cache at once, so they are synchronous; the store, not this file, is what survives a power failure.
 */
import { closeSync, fstatSync, mkdirSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

const FILE_MODE = 0o640;
const NEWLINE = 0x0a;

export class LineFile {
  readonly path: string;
  #descriptor = -1;
  #inode = 0;
  #device = 0;
  /** A write was cut short (a full disk): the next one begins with a line end. */
  #isTorn = false;

  constructor(path: string) {
    this.path = path;
  }

  /** Appends whole lines, each with its line end. Throws what the disk throws; then all of them may be given again. */
  append(lines: string): void {
    if (this.#descriptor !== -1 && this.#wasMoved()) this.close();
    if (this.#descriptor === -1) this.#open();
    const bytes = Buffer.from(this.#isTorn ? `\n${lines}` : lines);
    for (let offset = 0; offset < bytes.byteLength;) {
      // Set before: a write that throws may have taken a part.
      this.#isTorn = true;
      offset += writeSync(this.#descriptor, bytes, offset);
    }
    this.#isTorn = false;
  }

  /** The next append opens what then has the name. */
  close(): void {
    if (this.#descriptor !== -1) closeSync(this.#descriptor);
    this.#descriptor = -1;
    this.#isTorn = false;
  }

  #wasMoved(): boolean {
    const status = statSync(this.path, { throwIfNoEntry: false });
    return status === undefined || status.ino !== this.#inode || status.dev !== this.#device;
  }

  #open(): void {
    mkdirSync(dirname(this.path), { recursive: true });
    // a+: a crash may have left half a line, which is looked for.
    const descriptor = openSync(this.path, 'a+', FILE_MODE);
    const status = fstatSync(descriptor);
    const last = Buffer.alloc(1);
    const isRegular = status.isFile() && status.size > 0;
    if (isRegular && readSync(descriptor, last, 0, 1, status.size - 1) === 1) this.#isTorn = last[0] !== NEWLINE; // prettier-ignore
    this.#inode = status.ino;
    this.#device = status.dev;
    this.#descriptor = descriptor;
  }
}
