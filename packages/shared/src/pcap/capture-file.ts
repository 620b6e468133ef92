/**
 * A capture file, pipe or stream, opened: classic PCAP or pcapng, packed or not, as lent batches of records in the order
 * of the file. Damage never hides what came before it: all of that is handed out, then an OperatingError says where and why.
 *
 *   bytes ▶ decompress ▶ input window ▶ parser (in place) ▶ batch
 *
 * At most one window (1 MiB) is read ahead. A pipe is handed on as it comes: a batch never waits for more input.
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Readable } from 'node:stream';

import { OperatingError, messageOf } from '../base/errors.ts';
import type { Batch } from '../packet/batch.ts';
import type { ByteSource } from './byte-source.ts';
import { FileSource, StreamSource } from './byte-source.ts';
import { ClassicParser } from './classic-parser.ts';
import type { Compression } from './decompress.ts';
import { unpack } from './decompress.ts';
import type { CaptureInterface, CaptureRemarks, RecordParser } from './format.ts';
import { BLOCK_SECTION, FILE_HEADER_BYTES, createRemarks, readFieldU32 } from './format.ts';
import { InputWindow } from './input-window.ts';
import { parseFileHeader } from './pcap-writer.ts';
import { PcapngParser } from './pcapng-parser.ts';

export type { CaptureInterface, CaptureRemarks } from './format.ts';
export type { Compression } from './decompress.ts';

export interface CaptureFile {
  readonly name: string;
  readonly format: 'pcap' | 'pcapng';
  readonly compression: Compression;
  /** One for a classic file; grows while a pcapng file is read. `Batch.interfaceId` is an index into it. */
  readonly interfaces: readonly CaptureInterface[];
  readonly remarks: Readonly<CaptureRemarks>;
  /** Packets handed out so far. */
  readonly packetCount: number;
  /** Bytes of the (perhaps compressed) file taken so far, and of all of it where that is known. */
  readonly inputBytes: number;
  readonly inputBytesTotal: number | undefined;
  /**
   * The packets, once. A batch is lent until the next is asked for.
   * @throws OperatingError PCAP_INVALID at damage, after everything before it, with `{file, offset, reason, packetCount}`;
   * CAPTURE_FAILED when the system refuses to read.
   */
  batches(): AsyncIterable<Batch>;
  /** Ends `batches()` early, also one that waits for a silent pipe, and releases the file. Needless after its end. */
  close(): Promise<void>;
}

/**
 * Opens the capture at `path` (`-`: stdin, or `options.stream`) and reads its header.
 * @throws OperatingError PCAP_INVALID if it is no capture, CAPTURE_FAILED if it cannot be opened.
 */
export async function openCapture(path: string, options: { stream?: Readable } = {}): Promise<CaptureFile> {
  const input = await openInput(path, options.stream);
  try {
    return await OpenCapture.start(input);
  } catch (error) {
    await input.source.close();
    throw error;
  }
}

interface Input {
  readonly name: string;
  readonly source: ByteSource;
  readonly bytesTotal: number | undefined;
}

async function openInput(path: string, stream: Readable | undefined): Promise<Input> {
  const name = path === '-' ? 'stdin' : path;
  if (stream !== undefined || path === '-')
    return { name, source: new StreamSource(stream ?? process.stdin, name), bytesTotal: undefined };
  try {
    const handle = await open(path, 'r');
    const stat = await handle.stat();
    if (stat.isFile()) return { name, source: new FileSource(handle, name), bytesTotal: stat.size };
    // A named pipe or a device has no positions to read at.
    const source = new StreamSource(createReadStream(path, { fd: handle }), name);
    return { name, source, bytesTotal: undefined };
  } catch (error) {
    throw new OperatingError(
      'CAPTURE_FAILED',
      `cannot open ${name}: ${messageOf(error)}`,
      { file: name },
      error,
    );
  }
}

class OpenCapture implements CaptureFile {
  readonly name: string;
  readonly format: 'pcap' | 'pcapng';
  readonly compression: Compression;
  readonly interfaces: readonly CaptureInterface[];
  readonly remarks: CaptureRemarks;
  readonly inputBytesTotal: number | undefined;
  packetCount = 0;

  readonly #source: ByteSource;
  readonly #window: InputWindow;
  readonly #parser: RecordParser;
  #closed = false;

  private constructor(input: Input, unpacked: Unpacked, opened: Opened) {
    this.name = input.name;
    this.inputBytesTotal = input.bytesTotal;
    this.compression = unpacked.compression;
    this.#source = unpacked.source;
    this.#window = unpacked.window;
    this.remarks = unpacked.remarks;
    this.format = opened.format;
    this.interfaces = opened.interfaces;
    this.#parser = opened.parser;
  }

  static async start(input: Input): Promise<OpenCapture> {
    const remarks = createRemarks();
    const { source, compression } = await unpack(input.source, remarks);
    const window = new InputWindow(source);
    while (window.end - window.start < FILE_HEADER_BYTES && (await window.advance()));
    const opened = readHeader(window, remarks, source.damage);
    if (typeof opened === 'string') throw damageError(input.name, window.position, opened, 0);
    return new OpenCapture(input, { source, compression, window, remarks }, opened);
  }

  get inputBytes(): number {
    return this.#source.inputBytes;
  }

  async *batches(): AsyncGenerator<Batch> {
    const parser = this.#parser;
    const window = this.#window;
    try {
      do {
        let moved = true;
        while (moved && !this.#closed) {
          const position = parser.parse(window.bytes, window.start, window.end);
          moved = position !== window.start;
          window.start = position;
          if (parser.packetCount > 0) yield this.#takeBatch();
          if (parser.damage !== null) throw this.#damaged(parser.damage);
        }
      } while (!this.#closed && (await window.advance()));
      if (this.#closed) return;
      const reason = this.#source.damage ?? parser.endDamage(window.bytes, window.start, window.end);
      if (reason !== null) throw this.#damaged(reason);
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#source.close();
  }

  #takeBatch(): Batch {
    const { bytes } = this.#window;
    const { batchStart, batchEnd, packetCount, linkType, interfaceId } = this.#parser;
    this.packetCount += packetCount;
    return {
      bytes: bytes.subarray(batchStart, batchEnd),
      byteLength: batchEnd - batchStart,
      packetCount,
      linkType,
      interfaceId,
    };
  }

  #damaged(reason: string): OperatingError {
    return damageError(this.name, this.#window.position, reason, this.packetCount);
  }
}

interface Unpacked {
  readonly source: ByteSource;
  readonly compression: Compression;
  readonly window: InputWindow;
  readonly remarks: CaptureRemarks;
}

interface Opened {
  readonly format: 'pcap' | 'pcapng';
  readonly interfaces: readonly CaptureInterface[];
  readonly parser: RecordParser;
}

/** Tells pcapng from classic PCAP by the first four bytes; a string says why it is neither. */
function readHeader(
  window: InputWindow,
  remarks: CaptureRemarks,
  sourceDamage: string | null,
): Opened | string {
  const present = window.end - window.start;
  if (sourceDamage !== null && present < FILE_HEADER_BYTES) return sourceDamage;
  if (present === 0) return 'it is empty';
  if (present >= 4 && readFieldU32(window.bytes, window.start, false) === BLOCK_SECTION) {
    const parser = new PcapngParser(remarks);
    return { format: 'pcapng', interfaces: parser.interfaces, parser };
  }
  const head = window.bytes.subarray(window.start, window.end);
  const foreign = foreignFormat(head);
  if (foreign !== null) return foreign;
  const header = parseFileHeader(head);
  if (header.kind === 'malformed') return header.reason;
  window.start += FILE_HEADER_BYTES;
  if (!header.versionKnown) remarks.versionUnknown++;
  if (header.reservedBits) remarks.linkTypeBitsIgnored++;
  const { linkType, snapBytes, precision } = header;
  return {
    format: 'pcap',
    interfaces: [{ linkType, snapBytes, precision }],
    parser: new ClassicParser(header, remarks),
  };
}

/** First bytes of files that people take for captures, and what to do with them. */
const FOREIGN_FORMATS: readonly (readonly [string, string])[] = [
  ['\xfd7zXZ', 'it is packed with xz: unpack it first'],
  ['BZh', 'it is packed with bzip2: unpack it first'],
  ['PK\x03\x04', 'it is a zip archive: unpack it first'],
  ['snoop\0', 'it is a snoop capture: convert it with editcap -F pcap'],
];

function foreignFormat(head: Uint8Array): string | null {
  const text = Buffer.from(head.subarray(0, 8)).toString('latin1');
  for (const [magic, reason] of FOREIGN_FORMATS) if (text.startsWith(magic)) return reason;
  return null;
}

function damageError(name: string, offset: number, reason: string, packetCount: number): OperatingError {
  const short = basename(name);
  return new OperatingError(
    'PCAP_INVALID',
    `${short} is damaged at offset ${offset}, after ${packetCount} packets: ${reason}`,
    { file: name, offset, reason, packetCount },
  );
}
