/**
 * The descriptors of segments, at most `max` at a time: the one used longest ago is closed when another is opened.
 * A segment without a descriptor is not closed, it only has to be opened again for its next write (5 µs).
 *
 * A doubly linked list through the holders themselves: moving one to the front allocates nothing. One instance may
 * serve several archives, since the limit on descriptors is the process's.
 */
import type { Files } from '../system/files.ts';
import { errnoOf } from '../system/files.ts';

/** What holds a descriptor. The links belong to `OpenFiles`. */
export interface DescriptorHolder {
  /** -1: none. */
  descriptor: number;
  newer: DescriptorHolder | null;
  older: DescriptorHolder | null;
}

export class OpenFiles {
  readonly max: number;
  count = 0;
  readonly #files: Files;
  #newest: DescriptorHolder | null = null;
  #oldest: DescriptorHolder | null = null;

  /** `max` is cut to half of what the process may have: sockets, captures and logs need some too. */
  constructor(files: Files, max: number) {
    this.#files = files;
    this.max = Math.max(1, Math.min(max, Math.floor(files.descriptorsMax() / 2)));
  }

  /** Runs `open` with room for one more descriptor; closes old ones when the system says there are too many all the same. */
  withRoom(open: () => number): number {
    while (this.count >= this.max && this.#oldest !== null) this.close(this.#oldest);
    for (;;) {
      try {
        return open();
      } catch (error) {
        const code = errnoOf(error);
        if ((code !== 'EMFILE' && code !== 'ENFILE') || this.#oldest === null) throw error;
        this.close(this.#oldest);
      }
    }
  }

  /** The holder has just got its descriptor. */
  add(holder: DescriptorHolder, descriptor: number): void {
    holder.descriptor = descriptor;
    this.count++;
    this.#pushNewest(holder);
  }

  /** The holder was just used. */
  touch(holder: DescriptorHolder): void {
    if (this.#newest === holder) return;
    this.#unlink(holder);
    this.#pushNewest(holder);
  }

  /** Closes the holder's descriptor if it has one. An error of close(2) is of no use: nothing is buffered behind it. */
  close(holder: DescriptorHolder): void {
    if (holder.descriptor < 0) return;
    this.#unlink(holder);
    this.count--;
    const { descriptor } = holder;
    holder.descriptor = -1;
    try {
      this.#files.close(descriptor);
    } catch {
      // The descriptor is gone either way.
    }
  }

  #pushNewest(holder: DescriptorHolder): void {
    holder.older = this.#newest;
    holder.newer = null;
    if (this.#newest !== null) this.#newest.newer = holder;
    this.#newest = holder;
    this.#oldest ??= holder;
  }

  #unlink(holder: DescriptorHolder): void {
    if (holder.newer === null) this.#newest = holder.older;
    else holder.newer.older = holder.older;
    if (holder.older === null) this.#oldest = holder.newer;
    else holder.older.newer = holder.newer;
    holder.newer = null;
    holder.older = null;
  }
}
