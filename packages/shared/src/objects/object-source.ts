/** Segments whose packets lie in the object store, read through ranges as if they were here. */
import { readFileSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import { z } from 'zod';
import { OperatingError, messageOf } from '../base/errors.ts';
import type { ListedSegment } from '../catalog/segment-list.ts';
import type { SegmentIndex } from '../catalog/segment-index.ts';
import { GzipSource, MemorySource, type PackedBytes, type SegmentSource } from '../export/segment-source.ts';
import type { ObjectStore } from './object-store.ts';

/** Behind the stem: where the packets of a segment lie. */
export const OBJECT_SUFFIX = '.object';

const objectNote = z.object({
  version: z.literal(1),
  /** Of the packets. */
  key: z.string().max(2048),
  bytes: z.int().nonnegative(),
  compression: z.enum(['none', 'gzip', 'zstd']),
  uploadedAt: z.string(),
});
export type ObjectNote = z.infer<typeof objectNote>;

/** What is asked for at once: a round trip costs more than a MiB. */
const BLOCK_BYTES = 1024 * 1024;
/** A zstd segment is fetched whole. */
const ZSTD_BYTES_MAX = 256 * 1024 * 1024;

export function encodeObjectNote(note: ObjectNote): string {
  return `${JSON.stringify(note, null, 2)}\n`;
}

/** `null` for a segment that is not in the store. */
export function readObjectNote(directory: string, stem: string): ObjectNote | null {
  try {
    return objectNote.parse(JSON.parse(readFileSync(`${directory}/${stem}${OBJECT_SUFFIX}`, 'utf8')));
  } catch {
    return null;
  }
}

/** The source of a segment in the store; `null` when it is not there. */
export function objectSource(
  store: ObjectStore,
  segment: ListedSegment,
  index: SegmentIndex,
): SegmentSource | null {
  const note = readObjectNote(segment.directory, segment.stem);
  if (note === null) return null;
  const plainBytes = index.coveredBytes;
  switch (note.compression) {
    case 'none':
      return new RemoteSource(store, note);
    case 'gzip':
      return new GzipSource(note.key, new RemoteBytes(store, note), index.chunks, plainBytes);
    case 'zstd':
      return new RemoteZstdSource(store, note, plainBytes);
  }
}

class RemoteBytes implements PackedBytes {
  readonly byteLength: number;
  readonly #store: ObjectStore;
  readonly #key: string;

  constructor(store: ObjectStore, { key, bytes }: ObjectNote) {
    this.#store = store;
    this.#key = key;
    this.byteLength = bytes;
  }

  read(offset: number, byteLength: number): Promise<Uint8Array> {
    return this.#store.read(this.#key, offset, byteLength);
  }

  close(): void {
    // Nothing is held.
  }
}

/** Plain bytes, a block at a time; the last one is remembered, because readers go forward. */
class RemoteSource implements SegmentSource {
  readonly byteLength: number;
  readonly #bytes: RemoteBytes;
  #block: Uint8Array = new Uint8Array(0);
  #blockOffset = 0;

  constructor(store: ObjectStore, note: ObjectNote) {
    this.#bytes = new RemoteBytes(store, note);
    this.byteLength = note.bytes;
  }

  read(bytes: Uint8Array, at: number, offset: number): number | Promise<number> {
    if (offset >= this.byteLength || at >= bytes.byteLength) return 0;
    const isHere = offset >= this.#blockOffset && offset < this.#blockOffset + this.#block.byteLength;
    if (isHere) return this.#copy(bytes, at, offset);
    // The header alone is asked for first, and then what is wanted: it is not worth a block.
    const wanted = bytes.byteLength - at < 64 ? bytes.byteLength - at : BLOCK_BYTES;
    return this.#bytes.read(offset, Math.min(wanted, this.byteLength - offset)).then((block) => {
      this.#block = block;
      this.#blockOffset = offset;
      return this.#copy(bytes, at, offset);
    });
  }

  close(): void {
    this.#block = new Uint8Array(0);
  }

  #copy(bytes: Uint8Array, at: number, offset: number): number {
    const from = offset - this.#blockOffset;
    const part = this.#block.subarray(from, from + bytes.byteLength - at);
    bytes.set(part, at);
    return part.byteLength;
  }
}

class RemoteZstdSource implements SegmentSource {
  readonly byteLength: number;
  readonly #store: ObjectStore;
  readonly #note: ObjectNote;
  #plain: MemorySource | null = null;

  constructor(store: ObjectStore, note: ObjectNote, plainBytes: number) {
    this.#store = store;
    this.#note = note;
    this.byteLength = plainBytes;
  }

  read(bytes: Uint8Array, at: number, offset: number): number | Promise<number> {
    if (this.#plain !== null) return this.#plain.read(bytes, at, offset);
    const { key, bytes: packedBytes } = this.#note;
    if (this.byteLength > ZSTD_BYTES_MAX)
      throw new OperatingError('OBJECT_STORE_FAILED', `${key} is packed with zstd and too large to be read through ranges: fetch it whole, or pack with gzip`, { key }); // prettier-ignore
    return this.#store.read(key, 0, packedBytes).then((packed) => {
      try {
        this.#plain = new MemorySource(zstdDecompressSync(packed, { maxOutputLength: this.byteLength }));
      } catch (error) {
        throw new OperatingError('PCAP_INVALID', `${key} is damaged: ${messageOf(error)}`, { key }, error);
      }
      return this.#plain.read(bytes, at, offset);
    });
  }

  close(): void {
    this.#plain = null;
  }
}
