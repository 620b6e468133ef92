/**
 * Finishes closed segments: reads each once for its index and its hash, packs it where the archive says so, and writes the
 * sidecar last. Segments that grow large are read along while they grow, so that an hour's file has its index in the
 * middle of the hour and little is left to do at its end.
 *
 * Every step can be cut short by a kill and is done again at the next start: what has no sidecar is not finished.
 */
import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import { parseFileHeader } from '../pcap/pcap-writer.ts';
import { RECORD_BYTES_MAX } from '../packet/record.ts';
import { indexName, parseSegmentName, sidecarName } from '../archive/segment-name.ts';
import { IndexBuilder } from '../catalog/index-builder.ts';
import { packFile, packedName, type Packed, type Packing } from '../catalog/packed-file.ts';
import { encodeIndex, type SegmentIndex } from '../catalog/segment-index.ts';
import { encodeSidecar, isoNanoseconds, type Sidecar } from '../catalog/sidecar.ts';
import type { KeeperCounters, Place } from './keeper-protocol.ts';

/** At least one whole record in each read. */
const READ_BYTES = 1024 * 1024 + RECORD_BYTES_MAX;
/** An index in the making is written again when the segment has grown by so much, or by a tenth. */
const PARTIAL_INDEX_BYTES = 4 * 1024 * 1024;
const FILE_MODE = 0o640;

/** A segment that is being read. */
interface Reading {
  readonly builder: IndexBuilder;
  readonly hash: Hash;
  /** Covered by the index on the disk. */
  indexedBytes: number;
}

export interface ShelvedSegment {
  readonly sidecar: Sidecar;
  /** Whether the plain file is to be removed, now that a packed one stands for it. */
  readonly isPacked: boolean;
}

export class Shelver {
  readonly #software: string;
  readonly #counters: KeeperCounters;
  readonly #buffer = new Uint8Array(READ_BYTES);
  readonly #growing = new Map<string, Reading>();

  constructor(software: string, counters: KeeperCounters) {
    this.#software = software;
    this.#counters = counters;
  }

  /** Reads on in a segment that grows. What goes wrong is found again, and told, when it is closed. */
  grown(place: Place, segment: string): void {
    const path = `${place.directory}/${segment}`;
    try {
      const reading = this.#read(path, this.#growing.get(path));
      this.#growing.set(path, reading);
      const { coveredBytes } = reading.builder;
      const due = Math.max(PARTIAL_INDEX_BYTES, reading.indexedBytes / 10);
      if (coveredBytes - reading.indexedBytes < due) return;
      this.#writeIndex(place, segment, reading.builder.take());
      reading.indexedBytes = coveredBytes;
    } catch {
      this.#growing.delete(path);
    }
  }

  /**
   * Index, hash, packing. The sidecar is not written yet: see `writeSidecar`. Rejects with what the disk says, and Error for a
   * file that is no segment or damaged.
   */
  async shelve(
    place: Place,
    segment: string,
    about: { readonly isRecovered: boolean; readonly dropped: Readonly<Record<string, number>> },
  ): Promise<ShelvedSegment> {
    const path = `${place.directory}/${segment}`;
    const reading = this.#read(path, this.#growing.get(path));
    this.#growing.delete(path);
    const index = reading.builder.take();
    const sha256 = reading.hash.digest('hex');
    const packed =
      place.compress === 'none' ? null : await this.#pack(path, place.compress, index.coveredBytes, sha256);
    this.#writeIndex(place, segment, { ...index, chunks: packed?.chunks ?? [] });
    return {
      isPacked: packed !== null,
      sidecar: {
        version: 1,
        segment,
        file: packed === null ? segment : packedName(segment, packed.packing),
        sensor: place.sensor,
        archive: place.archive,
        interfaces: [...place.interfaces],
        filter: place.filter,
        split: place.split,
        linkType: index.linkType,
        precision: index.precision,
        ...timesOf(index),
        packets: index.packets,
        bytes: reading.builder.frameBytes,
        fileBytes: index.coveredBytes,
        sha256,
        compression: packed === null ? 'none' : packed.packing,
        fileSha256: packed === null ? sha256 : packed.sha256,
        late: parseSegmentName(segment)?.isLate ?? false,
        recovered: about.isRecovered,
        dropped: { ...about.dropped },
        gaps: gapsIn(place.gapList, index),
        closedAt: new Date().toISOString(),
        software: this.#software,
      },
    };
  }

  /** The last step but the removal of the plain file. */
  writeSidecar(place: Place, { sidecar, isPacked }: ShelvedSegment): void {
    replace(`${place.directory}/${sidecarName(sidecar.segment)}`, Buffer.from(encodeSidecar(sidecar)));
    if (isPacked) unlinkSync(`${place.directory}/${sidecar.segment}`);
    this.#counters.segmentsShelved++;
  }

  #read(path: string, before: Reading | undefined): Reading {
    const descriptor = openSync(path, 'r');
    try {
      const { size } = fstatSync(descriptor);
      // Shorter than what was read of it: begun anew.
      const reading =
        before === undefined || before.builder.coveredBytes > size ? this.#begin(descriptor) : before;
      const { builder, hash } = reading;
      const buffer = this.#buffer;
      while (builder.coveredBytes < size) {
        const byteCount = readSync(descriptor, buffer, 0, buffer.byteLength, builder.coveredBytes);
        const taken = builder.add(buffer, 0, byteCount);
        if (taken === 0) break;
        hash.update(buffer.subarray(0, taken));
      }
      return reading;
    } finally {
      closeSync(descriptor);
    }
  }

  #begin(descriptor: number): Reading {
    const bytes = this.#buffer.subarray(0, FILE_HEADER_BYTES);
    const header =
      readSync(descriptor, bytes, 0, FILE_HEADER_BYTES, 0) < FILE_HEADER_BYTES
        ? null
        : parseFileHeader(bytes);
    if (header === null || header.kind === 'malformed' || header.bigEndian || header.modified)
      throw new Error('it is not a segment of an archive');
    const hash = createHash('sha256').update(bytes);
    return { builder: new IndexBuilder(header.linkType, header.precision), hash, indexedBytes: 0 };
  }

  #writeIndex(place: Place, segment: string, index: SegmentIndex): void {
    const bytes = encodeIndex(index);
    replace(`${place.directory}/${indexName(segment)}`, bytes);
    this.#counters.indexBytes += bytes.byteLength;
  }

  async #pack(path: string, packing: Packing, byteLength: number, sha256: string): Promise<Packed> {
    const target = packedName(path, packing);
    const hidden = hiddenName(target);
    try {
      rmSync(hidden, { force: true });
      const packed = await packFile(path, hidden, packing, byteLength, sha256);
      renameSync(hidden, target);
      this.#counters.packedPlainBytes += byteLength;
      this.#counters.packedBytes += packed.packedBytes;
      return packed;
    } catch (error) {
      rmSync(hidden, { force: true });
      throw error;
    }
  }
}

function timesOf({ blocks }: SegmentIndex): { firstPacket: string; lastPacket: string } {
  const first = blocks[0];
  const last = blocks.at(-1);
  if (first === undefined || last === undefined) throw new Error('it holds no packet');
  return {
    firstPacket: isoNanoseconds(first.firstSeconds, first.firstNanoseconds),
    lastPacket: isoNanoseconds(last.lastSeconds, last.lastNanoseconds),
  };
}

/** What is known to be missing in the time of a segment. A gap without times, or without a count, is `unknown`. */
function gapsIn(path: string, index: SegmentIndex): Sidecar['gaps'] {
  const gaps = { count: 0, packets: 0, unknown: 0 };
  if (path === '' || !existsSync(path)) return gaps;
  const first = index.blocks[0];
  const last = index.blocks.at(-1);
  if (first === undefined || last === undefined) return gaps;
  const from = BigInt(first.firstSeconds) * 1_000_000_000n;
  const to = BigInt(last.lastSeconds + 1) * 1_000_000_000n;
  for (const line of readFileSync(path, 'utf8').split('\n').slice(0, -1)) {
    const gap = parseGap(line);
    if (gap === null || gap.fromNs === null || gap.toNs === null) continue;
    if (BigInt(gap.toNs) < from || BigInt(gap.fromNs) >= to) continue;
    gaps.count++;
    if (gap.packets === null) gaps.unknown++;
    else gaps.packets += gap.packets;
  }
  return gaps;
}

interface GapLine {
  readonly fromNs: string | null;
  readonly toNs: string | null;
  readonly packets: number | null;
}

/** `null` for a line that is no gap of ours. */
function parseGap(line: string): GapLine | null {
  try {
    const gap = JSON.parse(line) as Partial<GapLine>;
    const isTime = (text: unknown): boolean =>
      text === null || (typeof text === 'string' && /^\d{1,20}$/.test(text));
    const isCount = gap.packets === null || Number.isSafeInteger(gap.packets);
    return isTime(gap.fromNs) && isTime(gap.toNs) && isCount ? (gap as GapLine) : null;
  } catch {
    return null;
  }
}

/** Writes beside and renames over: readers see the old file or the new. */
function replace(path: string, bytes: Uint8Array): void {
  const hidden = hiddenName(path);
  writeFileSync(hidden, bytes, { mode: FILE_MODE });
  renameSync(hidden, path);
}

/** `.x.new` for `x`, in the same directory: no reader takes it for anything. */
function hiddenName(path: string): string {
  const slash = path.lastIndexOf('/') + 1;
  return `${path.slice(0, slash)}.${path.slice(slash)}.new`;
}
