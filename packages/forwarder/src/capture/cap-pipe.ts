/**
 * Puts the batches of a child's pipe together again from whatever pieces the pipe delivers; the format is in
 * `cap-protocol.ts`. What a child that died left unfinished is forgotten by `reset`.
 */
import { assert } from '@tapline/shared/base/assert.ts';
import { BATCH_BYTES_MAX } from '@tapline/shared/packet/batch.ts';
import { readU32 } from '@tapline/shared/packet/record.ts';
import { CAP_HEADER_BYTES } from './cap-protocol.ts';

export interface PipedBatch {
  readonly bytes: Uint8Array;
  readonly packetCount: number;
  /** The child's running count. */
  readonly droppedPackets: number;
}

export class CapPipeReader {
  readonly #deliver: (batch: PipedBatch) => void;
  readonly #header = new Uint8Array(CAP_HEADER_BYTES);
  #headerBytes = 0;
  #records: Uint8Array | null = null;
  #recordBytes = 0;

  constructor(deliver: (batch: PipedBatch) => void) {
    this.#deliver = deliver;
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.byteLength;) {
      at +=
        this.#records === null ? this.#takeHeader(chunk, at) : this.#takeRecords(this.#records, chunk, at);
    }
  }

  reset(): void {
    this.#headerBytes = 0;
    this.#records = null;
  }

  #takeHeader(chunk: Uint8Array, at: number): number {
    const taken = chunk.subarray(at, at + CAP_HEADER_BYTES - this.#headerBytes);
    this.#header.set(taken, this.#headerBytes);
    this.#headerBytes += taken.byteLength;
    if (this.#headerBytes === CAP_HEADER_BYTES) {
      const byteLength = readU32(this.#header, 0);
      assert(byteLength > 0 && byteLength <= BATCH_BYTES_MAX, 'our own child keeps to the format');
      this.#records = new Uint8Array(byteLength);
      this.#recordBytes = 0;
    }
    return taken.byteLength;
  }

  #takeRecords(records: Uint8Array, chunk: Uint8Array, at: number): number {
    const taken = chunk.subarray(at, at + records.byteLength - this.#recordBytes);
    records.set(taken, this.#recordBytes);
    this.#recordBytes += taken.byteLength;
    if (this.#recordBytes === records.byteLength) {
      const packetCount = readU32(this.#header, 4);
      const droppedPackets = readU32(this.#header, 8);
      this.reset();
      this.#deliver({ bytes: records, packetCount, droppedPackets });
    }
    return taken.byteLength;
  }
}
