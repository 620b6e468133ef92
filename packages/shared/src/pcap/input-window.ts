/**
 * The window through which a parser sees the unpacked bytes: two buffers that take turns. While the parser's batch lies in
 * one, the next read is already filling the other; what the parser left over is put in front of it.
 *
 *   buffer   [ room for what was left over: LEFTOVER_BYTES_MAX ][ one read: READ_BYTES ]
 *
 * The whole buffer is as long as a batch may be, so whatever is parsed in place of it is one batch at most.
 */
import { assert } from '../base/assert.ts';
import { BATCH_BYTES_MAX } from '../packet/batch.ts';
import type { ByteSource } from './byte-source.ts';
import { readFully } from './byte-source.ts';
import { BLOCK_BYTES_MAX } from './pcapng-parser.ts';

/** Nothing that must be seen whole is longer than a pcapng packet block: 320 KiB. */
const LEFTOVER_BYTES_MAX = BLOCK_BYTES_MAX;
/** 704 KiB a read. */
const READ_BYTES = BATCH_BYTES_MAX - LEFTOVER_BYTES_MAX;

export class InputWindow {
  bytes: Uint8Array = new Uint8Array(BATCH_BYTES_MAX);
  start = LEFTOVER_BYTES_MAX;
  end = LEFTOVER_BYTES_MAX;
  readonly #source: ByteSource;
  #spare: Uint8Array = new Uint8Array(BATCH_BYTES_MAX);
  #pending: Promise<number> | null = null;
  #totalBytes = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** Offset in the unpacked data of `bytes[start]`. */
  get position(): number {
    return this.#totalBytes - (this.end - this.start);
  }

  /** Replaces the window's buffer by one with more input behind what is unconsumed; false at the end of the input. */
  async advance(): Promise<boolean> {
    const pending = this.#pending ?? this.#readSpare();
    this.#pending = null;
    const count = await pending;
    if (count === 0) return false;
    const leftover = this.end - this.start;
    assert(leftover <= LEFTOVER_BYTES_MAX, 'a parser leaves less than one block');
    const { bytes } = this;
    const start = LEFTOVER_BYTES_MAX - leftover;
    if (leftover > 0) this.#spare.set(bytes.subarray(this.start, this.end), start);
    this.bytes = this.#spare;
    this.#spare = bytes;
    this.start = start;
    this.end = LEFTOVER_BYTES_MAX + count;
    this.#totalBytes += count;
    this.#pending = this.#readSpare();
    return true;
  }

  #readSpare(): Promise<number> {
    const source = this.#source;
    const reading = source.isLive
      ? source.read(this.#spare, LEFTOVER_BYTES_MAX, READ_BYTES)
      : readFully(source, this.#spare, LEFTOVER_BYTES_MAX, READ_BYTES);
    // It may fail before anyone waits for it; who waits gets the error all the same.
    reading.catch(() => undefined);
    return reading;
  }
}
