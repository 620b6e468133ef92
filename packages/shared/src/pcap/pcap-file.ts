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
import { encodeFileHeader, parseFileHeader, transcodeToMicroseconds } from './pcap-writer.ts';
import { FILE_HEADER_BYTES } from './format.ts';
import { RECORD_BYTES_MAX, RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, readU32 } from '../packet/record.ts';

/** Path that means stdout. */
const STDOUT = '-';
/** At least one whole record. */
const RESUME_READ_BYTES = 1024 * 1024 + RECORD_BYTES_MAX;

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

  /**
   * Goes on in a file that was broken off: what of a last record is there is cut away. `packetCount` tells what the file has. Throws
   * PCAP_INVALID for what is not a file of ours, ARCHIVE_FAILED.
   */
  static async resume(path: string): Promise<PcapFile> {
    const handle = await open(path, 'r+').catch((error: unknown) => refuse(path, error));
    const bytes = new Uint8Array(RESUME_READ_BYTES);
    const { bytesRead } = await handle.read(bytes, 0, FILE_HEADER_BYTES, 0);
    const header = parseFileHeader(bytes.subarray(0, bytesRead));
    if (header.kind === 'malformed' || header.bigEndian || header.modified) {
      await handle.close();
      throw new OperatingError('PCAP_INVALID', `${path} cannot be gone on with: it is no PCAP file of Tapline's`, { file: path }); // prettier-ignore
    }
    const { linkType, precision } = header;
    const file = new PcapFile(path, { linkType, precision }, handle);
    let offset = FILE_HEADER_BYTES;
    for (;;) {
      const { bytesRead: count } = await handle.read(bytes, 0, bytes.byteLength, offset);
      let at = 0;
      while (count - at >= RECORD_HEADER_BYTES) {
        const next = at + RECORD_HEADER_BYTES + readU32(bytes, at + RECORD_CAPTURED_BYTES);
        if (next > count) break;
        at = next;
        file.packetCount++;
      }
      if (at === 0) break;
      offset += at;
    }
    await handle.truncate(offset);
    file.byteLength = offset;
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
      else await writeAll(this.#handle, bytes, this.byteLength);
    } catch (error) {
      refuse(this.name, error);
    }
    this.byteLength += bytes.byteLength;
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let offset = 0;
  while (offset < bytes.byteLength)
    offset += (await handle.write(bytes, offset, bytes.byteLength - offset, position + offset)).bytesWritten;
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
