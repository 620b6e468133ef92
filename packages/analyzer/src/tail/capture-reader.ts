/**
 * Reads a capture that does not grow (packed, pcapng, or of another machine's byte order) piece by piece, from any record on. Such a file has no
 * offsets to begin at: what was read before is read once more and passed over.
 */
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import {
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  readU32,
} from '@tapline/shared/packet/record.ts';
import { openCapture, type CaptureFile } from '@tapline/shared/pcap/capture-file.ts';
import { FILE_HEADER_BYTES } from '@tapline/shared/pcap/format.ts';

export class CaptureReader {
  readonly path: string;
  damage: string | null = null;
  /** Where the next record starts in the plain file, and its number. */
  offset = FILE_HEADER_BYTES;
  number = 1;
  /** The next record's time, or the last one's where the next was not read yet. */
  seconds = 0;
  nanoseconds = 0;
  readonly #from: number;
  #capture: CaptureFile | null = null;
  #batches: AsyncIterator<Batch> | null = null;
  #batch: Batch | null = null;
  #at = 0;

  /** Hands out the record `from` and those behind it. */
  constructor(path: string, from: number) {
    this.path = path;
    this.#from = from;
  }

  /** Whether records have offsets in the plain file. */
  get hasOffsets(): boolean {
    return this.#capture?.format === 'pcap';
  }

  /** About `bytesMax` of the next records, lent until the next call; null at the end, at damage, and when the file cannot be read. */
  async read(bytesMax: number): Promise<Batch | null> {
    try {
      do if (!(await this.#hasBatch())) return null;
      while (!this.#skip());
      return this.#take(bytesMax);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.damage = error.message;
      await this.close();
      return null;
    }
  }

  async close(): Promise<void> {
    this.#batch = null;
    await this.#capture?.close();
  }

  async #hasBatch(): Promise<boolean> {
    this.#capture ??= await openCapture(this.path);
    this.#batches ??= this.#capture.batches()[Symbol.asyncIterator]();
    while (this.#batch === null || this.#at >= this.#batch.byteLength) {
      const result = await this.#batches.next();
      if (result.done === true) return false;
      this.#batch = result.value;
      this.#at = 0;
    }
    return true;
  }

  /** Passes over what was read before; whether there is something new in this batch. */
  #skip(): boolean {
    const batch = this.#batch as Batch;
    while (this.number < this.#from && this.#at < batch.byteLength) this.#step(batch);
    return this.#at < batch.byteLength;
  }

  #take(bytesMax: number): Batch {
    const batch = this.#batch as Batch;
    const from = this.#at;
    const first = this.number;
    do this.#step(batch);
    while (this.#at < batch.byteLength && this.#at - from < bytesMax);
    if (this.#at < batch.byteLength) this.#readTime(batch);
    const bytes = batch.bytes.subarray(from, this.#at);
    return { ...batch, bytes, byteLength: bytes.byteLength, packetCount: this.number - first };
  }

  #step(batch: Batch): void {
    this.#readTime(batch);
    const recordBytes = RECORD_HEADER_BYTES + readU32(batch.bytes, this.#at + RECORD_CAPTURED_BYTES);
    this.#at += recordBytes;
    this.offset += recordBytes;
    this.number++;
  }

  #readTime(batch: Batch): void {
    this.seconds = readU32(batch.bytes, this.#at);
    this.nanoseconds = readU32(batch.bytes, this.#at + RECORD_NANOSECONDS);
  }
}
