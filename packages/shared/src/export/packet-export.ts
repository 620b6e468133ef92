/**
 * The export: what a query wants, merged in time over all segments, as batches of one link type. Pushed into a sink that may be
 * slow: while it takes a batch nothing more is read.
 */
import { BATCH_BYTES_MAX, type Batch } from '../packet/batch.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '../packet/link-type.ts';
import { ETHERNET_HEADER_BYTES, LinkConversion } from '../packet/link-conversion.ts';
import {
  RECORD_BYTES_MAX,
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  RECORD_ORIGINAL_BYTES,
  writeU32,
} from '../packet/record.ts';
import type { PacketQuery } from '../catalog/packet-query.ts';
import type { ExportPlan } from './export-plan.ts';
import { SegmentReader } from './segment-reader.ts';
import { mergeByTime } from './time-merge.ts';

/** All readers together. Each has at least READER_BYTES_MIN: 10,000 of them are 160 MiB. */
const READERS_BYTES = 64 * 1024 * 1024;
const READER_BYTES_MIN = 16 * 1024;
const READER_BYTES_MAX = 256 * 1024;
/** How long a packet waits for company while more are being looked for. */
const LINGER_MS = 100;
const LINGER_LOOK_PACKETS = 256;

export interface ExportCounters {
  packets: number;
  /** Captured bytes. */
  bytes: number;
  /** Wanted, but with no place in the link type of the export. */
  unfitPackets: number;
  /** Read from segments. */
  bytesRead: number;
  segmentsFailed: number;
}

export interface ExportOptions {
  /** LINKTYPE_ value of what comes out. */
  readonly linkType: number;
  /** How many packets at the beginning are left out: a broken off export goes on. */
  readonly skipPackets?: number;
  readonly packetsMax?: number;
}

export interface ExportSink {
  /** Takes a batch, lent until it resolves. */
  write(batch: Batch): Promise<void> | void;
  /** A segment that cannot be read further. */
  failed(name: string, error: unknown): void;
  /** False ends the export. */
  wantsMore?(): boolean;
}

export class PacketExport {
  readonly counters: ExportCounters = {
    packets: 0,
    bytes: 0,
    unfitPackets: 0,
    bytesRead: 0,
    segmentsFailed: 0,
  };
  /** Packets by segment. */
  readonly packetsBySegment = new Map<string, number>();
  readonly #plan: ExportPlan;
  readonly #query: PacketQuery;
  readonly #options: ExportOptions;
  readonly #sink: ExportSink;
  readonly #conversion: LinkConversion;
  readonly #batch = new Uint8Array(BATCH_BYTES_MAX + RECORD_BYTES_MAX + ETHERNET_HEADER_BYTES);
  #batchBytes = 0;
  #batchPackets = 0;
  #batchSinceMs = 0;
  #skip: number;

  constructor(plan: ExportPlan, query: PacketQuery, options: ExportOptions, sink: ExportSink) {
    this.#plan = plan;
    this.#query = query;
    this.#options = options;
    this.#sink = sink;
    this.#conversion = new LinkConversion(options.linkType);
    this.#skip = options.skipPackets ?? 0;
  }

  /** Runs to the end. Rejects with what the sink rejects with. */
  async run(): Promise<void> {
    const { segments } = this.#plan;
    const share = Math.floor(READERS_BYTES / Math.max(1, segments.length));
    const bufferBytes = Math.min(READER_BYTES_MAX, Math.max(READER_BYTES_MIN, share));
    const readers = segments.map((segment) => new SegmentReader(segment, this.#query, bufferBytes));
    await mergeByTime(readers, {
      packet: (reader) => this.#take(reader),
      paused: async () => {
        if (this.#batchPackets === 0 || performance.now() - this.#batchSinceMs < LINGER_MS)
          return this.#sink.wantsMore?.() ?? true;
        return this.#flushAndGoOn();
      },
      failed: (reader, error) => {
        this.counters.segmentsFailed++;
        this.#sink.failed(reader.name, error);
      },
    });
    for (const reader of readers) this.counters.bytesRead += reader.bytesRead;
    await this.#flush();
  }

  #take(reader: SegmentReader): boolean | Promise<boolean> {
    const { counters } = this;
    const conversion = this.#conversion;
    const { bytes, frameOffset, capturedBytes, originalBytes } = reader;
    if (!conversion.fit(reader.linkType, bytes, frameOffset, capturedBytes, originalBytes)) {
      counters.unfitPackets++;
      return true;
    }
    if (this.#skip > 0) {
      this.#skip--;
      return true;
    }
    const batch = this.#batch;
    const at = this.#batchBytes;
    const written = conversion.write(bytes, batch, at + RECORD_HEADER_BYTES);
    writeU32(batch, at, reader.seconds);
    writeU32(batch, at + RECORD_NANOSECONDS, reader.nanoseconds);
    writeU32(batch, at + RECORD_CAPTURED_BYTES, written);
    writeU32(batch, at + RECORD_ORIGINAL_BYTES, Math.max(written, conversion.originalBytes));
    this.#batchBytes = at + RECORD_HEADER_BYTES + written;
    this.#batchPackets++;
    counters.packets++;
    counters.bytes += written;
    this.packetsBySegment.set(reader.name, (this.packetsBySegment.get(reader.name) ?? 0) + 1);
    if (counters.packets >= (this.#options.packetsMax ?? Infinity)) return false;
    if (this.#batchBytes >= BATCH_BYTES_MAX || this.#hasLingered()) return this.#flushAndGoOn();
    return true;
  }

  /** Looked at now and then: a clock costs more than a packet. The very first packets go at once. */
  #hasLingered(): boolean {
    if (this.#batchPackets % LINGER_LOOK_PACKETS !== 0) return false;
    return performance.now() - this.#batchSinceMs >= LINGER_MS;
  }

  async #flushAndGoOn(): Promise<boolean> {
    await this.#flush();
    return this.#sink.wantsMore?.() ?? true;
  }

  async #flush(): Promise<void> {
    if (this.#batchPackets > 0)
      await this.#sink.write({
        bytes: this.#batch,
        byteLength: this.#batchBytes,
        packetCount: this.#batchPackets,
        linkType: this.#options.linkType,
        interfaceId: 0,
      });
    this.#batchBytes = 0;
    this.#batchPackets = 0;
    this.#batchSinceMs = performance.now();
  }
}

/** What comes out when nobody says: the link type that all segments have, else Ethernet where there is any, else RAW. */
export function usualLinkType(linkTypes: ReadonlySet<number>): number {
  const [only] = linkTypes;
  if (linkTypes.size === 1 && only !== undefined) return only;
  return linkTypes.has(LINKTYPE_ETHERNET) || linkTypes.size === 0 ? LINKTYPE_ETHERNET : LINKTYPE_RAW;
}
