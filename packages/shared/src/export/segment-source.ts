/**
 * The plain bytes of a segment, whichever way it lies there. `read` gives what it can at once where the disk does, and a promise
 * where somebody must be waited for (a zstd stream, an object store).
 */
import { closeSync, createReadStream, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { createZstdDecompress, zstdDecompressSync } from 'node:zlib';
import { OperatingError, messageOf } from '../base/errors.ts';
import { chunkAt, unpackMember } from '../catalog/packed-file.ts';
import type { IndexChunk } from '../catalog/segment-index.ts';

/** Up to this, a zstd segment is unpacked as a whole: a stream of its own costs more memory than that. */
const ZSTD_WHOLE_BYTES_MAX = 8 * 1024 * 1024;

export interface SegmentSource {
  /** Length of the plain segment, as far as it is known: of a growing one, when it was opened. */
  readonly byteLength: number;
  /** Reads up to `bytes.byteLength - at` bytes from `offset` into `bytes[at …)`; 0 at the end. Throws PCAP_INVALID. */
  read(bytes: Uint8Array, at: number, offset: number): number | Promise<number>;
  close(): void;
}

/** A plain segment. Opened for each read where there are too many to keep open. */
export class PlainSource implements SegmentSource {
  readonly byteLength: number;
  readonly #path: string;
  #descriptor: number;

  constructor(path: string, isKeptOpen: boolean) {
    this.#path = path;
    this.#descriptor = openSync(path, 'r');
    this.byteLength = fstatSync(this.#descriptor).size;
    if (!isKeptOpen) this.close();
  }

  read(bytes: Uint8Array, at: number, offset: number): number {
    const wanted = Math.min(bytes.byteLength - at, this.byteLength - offset);
    if (wanted <= 0) return 0;
    if (this.#descriptor >= 0) return readSync(this.#descriptor, bytes, at, wanted, offset);
    const descriptor = openSync(this.#path, 'r');
    try {
      return readSync(descriptor, bytes, at, wanted, offset);
    } finally {
      closeSync(descriptor);
    }
  }

  close(): void {
    if (this.#descriptor >= 0) closeSync(this.#descriptor);
    this.#descriptor = -1;
  }
}

/** Where the bytes of a packed segment are: a file, or an object in a store. */
export interface PackedBytes {
  readonly byteLength: number;
  read(offset: number, byteLength: number): Uint8Array | Promise<Uint8Array>;
  close(): void;
}

export class PackedFile implements PackedBytes {
  readonly byteLength: number;
  readonly #descriptor: number;

  constructor(path: string) {
    this.#descriptor = openSync(path, 'r');
    this.byteLength = fstatSync(this.#descriptor).size;
  }

  read(offset: number, byteLength: number): Uint8Array {
    const bytes = new Uint8Array(byteLength);
    return bytes.subarray(0, readSync(this.#descriptor, bytes, 0, byteLength, offset));
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** A gzip segment with an index that knows its members: read member by member, the last one remembered. */
export class GzipSource implements SegmentSource {
  readonly byteLength: number;
  readonly #name: string;
  readonly #packed: PackedBytes;
  readonly #chunks: readonly IndexChunk[];
  #member = -1;
  #plain: Uint8Array = new Uint8Array(0);

  constructor(name: string, packed: PackedBytes, chunks: readonly IndexChunk[], byteLength: number) {
    this.#name = name;
    this.#packed = packed;
    this.#chunks = chunks;
    this.byteLength = byteLength;
  }

  read(bytes: Uint8Array, at: number, offset: number): number | Promise<number> {
    if (offset >= this.byteLength) return 0;
    const member = chunkAt(this.#chunks, offset);
    if (member === this.#member) return this.#copy(bytes, at, offset);
    const { packedOffset } = this.#chunks[member] as IndexChunk;
    const packedEnd = this.#chunks[member + 1]?.packedOffset ?? this.#packed.byteLength;
    const packed = this.#packed.read(packedOffset, packedEnd - packedOffset);
    const unpack = (piece: Uint8Array): number => {
      const { plainOffset } = this.#chunks[member] as IndexChunk;
      const plainEnd = this.#chunks[member + 1]?.plainOffset ?? this.byteLength;
      try {
        this.#plain = unpackMember(piece, plainEnd - plainOffset);
      } catch (error) {
        throw damaged(this.#name, error);
      }
      this.#member = member;
      return this.#copy(bytes, at, offset);
    };
    return packed instanceof Uint8Array ? unpack(packed) : packed.then(unpack);
  }

  close(): void {
    this.#packed.close();
  }

  #copy(bytes: Uint8Array, at: number, offset: number): number {
    const { plainOffset } = this.#chunks[this.#member] as IndexChunk;
    const piece = this.#plain.subarray(offset - plainOffset, offset - plainOffset + bytes.byteLength - at);
    bytes.set(piece, at);
    return piece.byteLength;
  }
}

/** A segment in memory: a zstd one that is small. */
export class MemorySource implements SegmentSource {
  readonly byteLength: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.byteLength = bytes.byteLength;
  }

  read(bytes: Uint8Array, at: number, offset: number): number {
    const piece = this.#bytes.subarray(offset, offset + bytes.byteLength - at);
    bytes.set(piece, at);
    return piece.byteLength;
  }

  close(): void {
    // Nothing is held but memory.
  }
}

/** A zstd segment that is large: unpacked from its beginning, and only ever read forward. */
export class ZstdSource implements SegmentSource {
  readonly byteLength: number;
  readonly #name: string;
  readonly #stream: AsyncIterator<Buffer>;
  #piece: Buffer = Buffer.alloc(0);
  #pieceOffset = 0;

  constructor(path: string, byteLength: number) {
    this.byteLength = byteLength;
    this.#name = path;
    const stream = createReadStream(path).pipe(createZstdDecompress());
    this.#stream = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  async read(bytes: Uint8Array, at: number, offset: number): Promise<number> {
    if (offset >= this.byteLength) return 0;
    while (offset >= this.#pieceOffset + this.#piece.byteLength) {
      this.#pieceOffset += this.#piece.byteLength;
      let next: IteratorResult<Buffer>;
      try {
        next = await this.#stream.next();
      } catch (error) {
        throw damaged(this.#name, error);
      }
      if (next.done === true) return 0;
      this.#piece = next.value;
    }
    const from = offset - this.#pieceOffset;
    const piece = this.#piece.subarray(from, from + bytes.byteLength - at);
    bytes.set(piece, at);
    return piece.byteLength;
  }

  close(): void {
    void this.#stream.return?.();
  }
}

/** The source of a zstd segment of `byteLength` plain bytes. Throws PCAP_INVALID. */
export function zstdSource(path: string, byteLength: number): SegmentSource {
  if (byteLength > ZSTD_WHOLE_BYTES_MAX) return new ZstdSource(path, byteLength);
  try {
    return new MemorySource(zstdDecompressSync(readFileSync(path), { maxOutputLength: byteLength }));
  } catch (error) {
    throw damaged(path, error);
  }
}

function damaged(name: string, cause: unknown): OperatingError {
  return new OperatingError('PCAP_INVALID', `${name} is damaged: ${messageOf(cause)}`, { file: name }, cause);
}
