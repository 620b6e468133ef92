/**
 * Where the bytes of a capture come from, as a pull: a regular file, a pipe or socket, and (in the decompressors) another
 * source. One read is outstanding at a time. A pull, because it is the reader that knows how much it has room for.
 */
import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';

import { OperatingError, messageOf } from '../base/errors.ts';

export interface ByteSource {
  /** Bytes taken from the outermost (perhaps compressed) input so far. */
  readonly inputBytes: number;
  /** Why the bytes end before their natural end (damaged compression), known once `read` gave 0. */
  readonly damage: string | null;
  /** Whether the next byte may be a long time coming, so that what is there must not wait for it. */
  readonly isLive: boolean;
  /**
   * Fills `target` from `offset` with at least 1 and at most `length` bytes, as soon as there are any; 0 at the end.
   * Refusals of the system are OperatingErrors; damaged content is an end with `damage`.
   */
  read(target: Uint8Array, offset: number, length: number): Promise<number>;
  /** Releases what the source holds; a read that is waiting ends with 0. */
  close(): Promise<void>;
}

/** A regular file, read by position. */
export class FileSource implements ByteSource {
  inputBytes = 0;
  readonly damage = null;
  readonly isLive = false;
  readonly #handle: FileHandle;
  readonly #name: string;

  constructor(handle: FileHandle, name: string) {
    this.#handle = handle;
    this.#name = name;
  }

  async read(target: Uint8Array, offset: number, length: number): Promise<number> {
    try {
      const { bytesRead } = await this.#handle.read(target, offset, length, this.inputBytes);
      this.inputBytes += bytesRead;
      return bytesRead;
    } catch (error) {
      throw readError(this.#name, error);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** A pipe, socket or any other stream of bytes. Hands out what is there and waits only when there is nothing. */
export class StreamSource implements ByteSource {
  inputBytes = 0;
  readonly damage = null;
  readonly isLive = true;
  readonly #stream: Readable;
  readonly #name: string;
  #rest: Uint8Array = new Uint8Array(0);
  #ended = false;
  #error: unknown = null;
  #wake: (() => void) | null = null;

  constructor(stream: Readable, name: string) {
    this.#stream = stream;
    this.#name = name;
    const wake = (): void => {
      this.#wake?.();
    };
    stream.on('readable', wake);
    stream.on('end', () => {
      this.#ended = true;
      wake();
    });
    stream.on('close', () => {
      this.#ended = true;
      wake();
    });
    stream.on('error', (error) => {
      this.#error = error;
      wake();
    });
  }

  async read(target: Uint8Array, offset: number, length: number): Promise<number> {
    for (;;) {
      const count = this.#take(target, offset, length);
      if (count > 0) return count;
      if (this.#error !== null) throw readError(this.#name, this.#error);
      if (this.#ended) return 0;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }

  async close(): Promise<void> {
    this.#stream.destroy();
    this.#ended = true;
    this.#wake?.();
  }

  /** Everything that is there without waiting, as far as it fits. */
  #take(target: Uint8Array, offset: number, length: number): number {
    let count = 0;
    while (count < length) {
      if (this.#rest.byteLength === 0) {
        const chunk = this.#stream.read() as Uint8Array | string | null;
        if (chunk === null) break;
        this.#rest = typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk;
      }
      const step = Math.min(length - count, this.#rest.byteLength);
      target.set(this.#rest.subarray(0, step), offset + count);
      this.#rest = this.#rest.subarray(step);
      count += step;
    }
    this.inputBytes += count;
    return count;
  }
}

/** A source whose first bytes were looked at: gives them again, then goes on. */
export class ReplayedSource implements ByteSource {
  readonly #source: ByteSource;
  #head: Uint8Array;

  constructor(head: Uint8Array, source: ByteSource) {
    this.#head = head;
    this.#source = source;
  }

  get inputBytes(): number {
    return this.#source.inputBytes - this.#head.byteLength;
  }

  get damage(): string | null {
    return this.#source.damage;
  }

  get isLive(): boolean {
    return this.#source.isLive;
  }

  async read(target: Uint8Array, offset: number, length: number): Promise<number> {
    if (this.#head.byteLength === 0) return this.#source.read(target, offset, length);
    const count = Math.min(length, this.#head.byteLength);
    target.set(this.#head.subarray(0, count), offset);
    this.#head = this.#head.subarray(count);
    return count;
  }

  async close(): Promise<void> {
    await this.#source.close();
  }
}

/** Reads until `length` bytes are there or the source ends; returns how many. */
export async function readFully(
  source: ByteSource,
  target: Uint8Array,
  offset: number,
  length: number,
): Promise<number> {
  let count = 0;
  while (count < length) {
    const step = await source.read(target, offset + count, length - count);
    if (step === 0) break;
    count += step;
  }
  return count;
}

function readError(name: string, error: unknown): OperatingError {
  return new OperatingError(
    'CAPTURE_FAILED',
    `cannot read ${name}: ${messageOf(error)}`,
    { file: name },
    error,
  );
}
