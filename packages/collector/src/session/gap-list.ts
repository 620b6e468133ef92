/**
 * What is known to be missing, in `gaps.jsonl` beside the segments: one JSON object per line, appended, never rewritten.
 * Part of the resume point like the segments, so that a gap stands there once, too.
 */
import type { Files } from '@tapline/shared/system/files.ts';

export const GAP_LIST_NAME = 'gaps.jsonl';

export interface GapEntry {
  readonly receivedAtMs: number;
  readonly epoch: string;
  /** First and last sequence the gap stands for. */
  readonly sequences: readonly [number, number];
  /** `null` where nobody knows: frames that the sensor no longer has. */
  readonly packets: number | null;
  readonly bytes: number | null;
  /** Packet times, nanoseconds since 1970 UTC as text. */
  readonly fromNs: string | null;
  readonly toNs: string | null;
  readonly reason: string;
}

export class GapList {
  readonly #files: Files;
  readonly #directory: string;
  #descriptor = -1;
  #bytes = 0;
  #pending: GapEntry[] = [];

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  /** Cuts the list back to `bytes`. Without a list there is none until the first gap. */
  open(bytes: number): void {
    if (this.#files.status(this.#path) === null) return;
    this.#descriptor = this.#files.open(this.#path);
    this.#bytes = Math.min(bytes, this.#files.byteLength(this.#descriptor));
    this.#files.truncate(this.#descriptor, this.#bytes);
  }

  add(gap: GapEntry): void {
    this.#pending.push(gap);
  }

  /** Makes all gaps added so far durable; resolves with the list's length. After a rejection they are still pending. */
  async write(): Promise<number> {
    const count = this.#pending.length;
    if (count === 0) return this.#bytes;
    const lines = Buffer.from(this.#pending.map((gap) => `${JSON.stringify(gap)}\n`).join(''));
    if (this.#descriptor < 0) this.#descriptor = this.#files.create(this.#path);
    let offset = 0;
    while (offset < lines.byteLength)
      offset += this.#files.write(
        this.#descriptor,
        lines,
        offset,
        lines.byteLength - offset,
        this.#bytes + offset,
      );
    await this.#files.sync(this.#path);
    await this.#files.syncDirectory(this.#directory);
    this.#pending.splice(0, count);
    this.#bytes += lines.byteLength;
    return this.#bytes;
  }

  close(): void {
    if (this.#descriptor >= 0) this.#files.close(this.#descriptor);
    this.#descriptor = -1;
  }

  get #path(): string {
    return `${this.#directory}/${GAP_LIST_NAME}`;
  }
}
