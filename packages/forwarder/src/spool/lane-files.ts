/**
 * The files of one lane: one descriptor to append with, one to read with, whatever the number of segments. It knows bytes and
 * names; what they stand for is `spool-lane.ts`'s. A frame that does not fit whole leaves no trace. Throws what the disk throws.
 */
import type { Files } from '@tapline/shared/system/files.ts';
import {
  firstSequenceOf,
  readSpooled,
  segmentNameOf,
  walkSegment,
  type SpooledFrame,
} from './spool-segment.ts';

export class LaneFiles {
  readonly directory: string;
  readonly #files: Files;
  #writer = -1;
  #reader: { first: number; descriptor: number } | null = null;
  /** Segments written since the last sync, by their first sequence. */
  #unsynced = new Set<number>();

  constructor(directory: string, files: Files) {
    this.directory = directory;
    this.#files = files;
  }

  /** Whether the newest segment is open for more frames. */
  get isWriting(): boolean {
    return this.#writer >= 0;
  }

  pathOf(first: number): string {
    return `${this.directory}/${segmentNameOf(first)}`;
  }

  /** First sequences of the segments there are, in order; anything else in the directory is removed. */
  list(): number[] {
    return this.#files
      .list(this.directory)
      .flatMap((name) => {
        const first = firstSequenceOf(name);
        if (first === null) this.#files.remove(`${this.directory}/${name}`);
        return first === null ? [] : [first];
      })
      .sort((a, b) => a - b);
  }

  /** The frames of a segment of an earlier life; what is not sound at its end is cut off, an empty one removed. */
  repair(first: number, isNewest: boolean): readonly SpooledFrame[] {
    const path = this.pathOf(first);
    const descriptor = this.#files.open(path);
    try {
      const { frames, soundBytes } = walkSegment(this.#files, descriptor, first, isNewest);
      if (soundBytes < this.#files.byteLength(descriptor)) this.#files.truncate(descriptor, soundBytes);
      if (frames.length === 0) this.#files.remove(path);
      return frames;
    } finally {
      this.#files.close(descriptor);
    }
  }

  /** Begins a segment; `append` goes on in it. */
  create(first: number, isFirst: boolean): void {
    this.closeWriter();
    if (isFirst) this.#files.makeDirectory(this.directory);
    this.#writer = this.#files.create(this.pathOf(first));
  }

  /** Appends a frame to the newest segment, which has `offset` bytes. When it cannot be whole, a segment without frames goes with it. */
  append(first: number, offset: number, bytes: Uint8Array): void {
    try {
      this.#writeAll(this.#writer, bytes, offset);
    } catch (error) {
      if (offset > 0) this.#files.truncate(this.#writer, offset);
      else {
        this.closeWriter();
        this.remove(first);
      }
      throw error;
    }
    this.#unsynced.add(first);
  }

  /** Writes a segment of one frame beside, then over what bears its name: whatever happens in between, one of them is there. */
  replace(first: number, bytes: Uint8Array): void {
    const hidden = `${this.pathOf(first)}.new`;
    this.write(hidden, bytes);
    this.closeReader();
    this.#files.rename(hidden, this.pathOf(first));
  }

  /** A whole file, in place of one that is there. */
  write(path: string, bytes: Uint8Array): void {
    if (this.#files.exists(path)) this.#files.remove(path);
    const descriptor = this.#files.create(path);
    this.#writeAll(descriptor, bytes, 0);
    this.#files.close(descriptor);
  }

  walk(first: number): SpooledFrame[] {
    return walkSegment(this.#files, this.#descriptorOf(first), first, false).frames;
  }

  read(first: number, frame: SpooledFrame): Uint8Array {
    return readSpooled(this.#files, this.#descriptorOf(first), frame);
  }

  cut(first: number, byteLength: number): void {
    const descriptor = this.#files.open(this.pathOf(first));
    this.#files.truncate(descriptor, byteLength);
    this.#files.close(descriptor);
  }

  remove(first: number): void {
    if (this.#reader?.first === first) this.closeReader();
    this.#files.remove(this.pathOf(first));
  }

  exists(first: number): boolean {
    return this.#files.exists(this.pathOf(first));
  }

  /** Makes what was written so far survive a power failure. */
  async sync(): Promise<void> {
    const written = this.#unsynced;
    if (written.size === 0) return;
    this.#unsynced = new Set();
    for (const first of written) await this.#files.sync(this.pathOf(first));
    await this.#files.syncDirectory(this.directory);
  }

  closeWriter(): void {
    if (this.#writer >= 0) this.#files.close(this.#writer);
    this.#writer = -1;
  }

  closeReader(): void {
    if (this.#reader !== null) this.#files.close(this.#reader.descriptor);
    this.#reader = null;
  }

  removeDirectory(): void {
    if (this.#files.exists(this.directory)) this.#files.removeDirectory(this.directory);
  }

  #descriptorOf(first: number): number {
    if (this.#reader?.first !== first) {
      this.closeReader();
      this.#reader = { first, descriptor: this.#files.open(this.pathOf(first)) };
    }
    return this.#reader.descriptor;
  }

  #writeAll(descriptor: number, bytes: Uint8Array, position: number): void {
    let offset = 0;
    while (offset < bytes.byteLength)
      offset += this.#files.write(descriptor, bytes, offset, bytes.byteLength - offset, position + offset);
  }
}
