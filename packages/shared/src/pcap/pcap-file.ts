/**
 * A classic PCAP file being written, batch by batch, to a path or to stdout: for the simulator, exports and tests. The archive has
 * its own segments; this is the plain file, written in order, whole batches at a time.
 */
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';

import { assert } from '../base/assert.ts';
import { OperatingError, messageOf } from '../base/errors.ts';
import type { Batch } from '../packet/batch.ts';
import type { FileHeaderOptions, Precision } from './pcap-writer.ts';
import { encodeFileHeader, transcodeToMicroseconds } from './pcap-writer.ts';

/** Path that means stdout. */
const STDOUT = '-';

export class PcapFile {
  readonly name: string;
  readonly linkType: number;
  readonly precision: Precision;
  packetCount = 0;
  byteLength = 0;

  readonly #handle: FileHandle | null;
  #scratch = new Uint8Array(0);

  private constructor(path: string, options: FileHeaderOptions, handle: FileHandle | null) {
    this.name = path === STDOUT ? 'stdout' : path;
    this.linkType = options.linkType;
    this.precision = options.precision;
    this.#handle = handle;
  }

  /** Creates (or empties) the file and writes its header; `-` is stdout. */
  static async create(path: string, options: FileHeaderOptions): Promise<PcapFile> {
    const handle =
      path === STDOUT ? null : await open(path, 'w').catch((error: unknown) => refuse(path, error));
    const file = new PcapFile(path, options, handle);
    await file.#write(encodeFileHeader(options));
    return file;
  }

  /** Writes a batch of the file's link type. The batch may be taken back once the promise is fulfilled. */
  async write(batch: Batch): Promise<void> {
    assert(batch.linkType === this.linkType, 'a PCAP file has one link type');
    let bytes = batch.bytes;
    if (this.precision === 'us') {
      if (this.#scratch.byteLength < batch.byteLength) this.#scratch = new Uint8Array(batch.bytes.byteLength);
      bytes = this.#scratch;
      transcodeToMicroseconds(batch.bytes, batch.byteLength, bytes, 0);
    }
    await this.#write(bytes.subarray(0, batch.byteLength));
    this.packetCount += batch.packetCount;
  }

  async close(): Promise<void> {
    await this.#handle?.close();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength === 0) return;
    try {
      if (this.#handle === null) await writeStdout(bytes);
      else await writeAll(this.#handle, bytes);
    } catch (error) {
      refuse(this.name, error);
    }
    this.byteLength += bytes.byteLength;
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let offset = 0;
  while (offset < bytes.byteLength) offset += (await handle.write(bytes, offset)).bytesWritten;
}

function writeStdout(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

function refuse(name: string, error: unknown): never {
  throw new OperatingError(
    'ARCHIVE_FAILED',
    `cannot write ${name}: ${messageOf(error)}`,
    { file: name },
    error,
  );
}
