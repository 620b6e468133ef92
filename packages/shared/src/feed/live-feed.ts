/**
 * A feed: the live packets of one sensor or all, what a filter lets through of them, as one PCAP stream for any number of readers
 * (PCAP-over-IP, Wireshark). It stands behind the archive: what it offers has been stored.
 *
 *   offer(origin, batch) ─▶ sensor? ─▶ filter ─▶ one link type ─▶ order ─▶ readers
 *
 * Without readers a batch costs one comparison. What a reader is offered is sent, cut with it, filtered, or did not fit the link
 * type: the counters add up, reader by reader.
 */
import type { Duplex } from 'node:stream';
import { BatchFilter } from '../filter/batch-filter.ts';
import type { Batch } from '../packet/batch.ts';
import { ETHERNET_HEADER_BYTES, LinkConversion } from '../packet/link-conversion.ts';
import {
  PACKET_BYTES_MAX,
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  RECORD_ORIGINAL_BYTES,
  readU32,
  writeU32,
} from '../packet/record.ts';
import { transcodeToMicroseconds } from '../pcap/pcap-writer.ts';
import { FeedReader, type ReaderCounters } from './feed-reader.ts';
import { OrderWindow } from './order-window.ts';

const TICK_MS = 50;
/** What a stop gives to readers to take what waits for them. */
const END_MS = 2000;

export interface FeedOptions {
  /** What it is called in metrics and logs. */
  readonly name: string;
  /** Absent: all. */
  readonly sensor?: string | undefined;
  readonly filter: string;
  /** LINKTYPE_ value. */
  readonly linkType: number;
  readonly precision: 'ns' | 'us';
  readonly bufferBytesMax: number;
  readonly readersMax: number;
}

export interface FeedEvents {
  readerJoined?(reader: { readonly feed: string; readonly peer: string }): void;
  readerLeft?(reader: { readonly feed: string; readonly peer: string; readonly reason: string }): void;
  readerRefused?(reader: { readonly feed: string; readonly peer: string; readonly readersMax: number }): void;
}

/** Sends what is stored of the past to a reader: called in the turn in which live packets begin to wait. */
export type Replay = (write: (batch: Batch) => Promise<void>) => Promise<void>;

export class LiveFeed {
  readonly options: FeedOptions;
  readonly counters = {
    readers: 0,
    packetsOffered: 0,
    packetsFiltered: 0,
    packetsUnfit: 0,
    packetsSent: 0,
    packetsCut: 0,
    readersCut: 0,
    readersRefused: 0,
  } satisfies ReaderCounters & Record<string, number>;
  readonly #events: FeedEvents;
  readonly #readers = new Set<FeedReader>();
  readonly #filter: BatchFilter;
  readonly #conversion: LinkConversion;
  readonly #window: OrderWindow;
  #scratch = Buffer.alloc(0);
  #timer: NodeJS.Timeout | null = null;

  /** Throws FILTER_INVALID. */
  constructor(options: FeedOptions, events: FeedEvents) {
    this.options = options;
    this.#events = events;
    this.#filter = new BatchFilter({ expression: options.filter, snapBytes: PACKET_BYTES_MAX });
    this.#filter.check();
    this.#conversion = new LinkConversion(options.linkType);
    this.#window = new OrderWindow((bytes, packets) => {
      this.#send(bytes, packets);
    });
  }

  get readerCount(): number {
    return this.#readers.size;
  }

  /** A batch of a sensor (or of whatever captures), lent. */
  offer(sensor: string, batch: Batch): void {
    if (this.#readers.size === 0) return;
    if (this.options.sensor !== undefined && this.options.sensor !== sensor) return;
    this.counters.packetsOffered += batch.packetCount;
    const wanted = this.#apply(batch);
    this.counters.packetsFiltered += batch.packetCount - (wanted?.packetCount ?? 0);
    if (wanted === null) return;
    const { bytes, packets } = this.#convert(wanted);
    this.counters.packetsUnfit += wanted.packetCount - packets;
    if (packets > 0) this.#window.add(`${sensor} ${batch.interfaceId}`, bytes, packets, performance.now());
  }

  /** Takes a reader. With `replay`, the past comes first, and what is live waits for it. */
  join(stream: Duplex, peer: string, replay?: Replay): boolean {
    const { name, readersMax, bufferBytesMax } = this.options;
    if (this.#readers.size >= readersMax) {
      this.counters.readersRefused++;
      this.#events.readerRefused?.({ feed: name, peer, readersMax });
      stream.on('error', () => undefined);
      stream.destroy();
      return false;
    }
    // What is held belongs to those who were here before.
    this.#window.flush();
    const reader = new FeedReader(
      stream,
      peer,
      this.options,
      bufferBytesMax,
      this.counters,
      (gone, reason) => {
        this.#readers.delete(gone);
        if (this.#readers.size === 0) this.#stopTicking();
        this.#events.readerLeft?.({ feed: name, peer, reason });
      },
    );
    this.#readers.add(reader);
    this.counters.readers++;
    this.#timer ??= setInterval(() => {
      this.#window.tick(performance.now());
    }, TICK_MS);
    this.#events.readerJoined?.({ feed: name, peer });
    if (replay !== undefined) void this.#replay(reader, replay);
    return true;
  }

  /** The end: readers get what was offered, and the end of the stream. */
  async close(): Promise<void> {
    this.#window.flush();
    this.#stopTicking();
    const readers = [...this.#readers];
    for (const reader of readers) reader.end();
    if (readers.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, Math.min(END_MS, 100)));
    for (const reader of readers) reader.destroy();
  }

  async #replay(reader: FeedReader, replay: Replay): Promise<void> {
    reader.holdLive();
    try {
      await replay(async (batch) => {
        const wanted = this.#apply(batch);
        if (wanted === null) return;
        const { bytes, packets } = this.#convert(wanted);
        if (packets > 0) await reader.writePast(this.#encoded(bytes), packets);
      });
    } catch {
      // It went in the middle; that was told.
    }
    reader.replayed();
  }

  /** `null` also where the filter means nothing for the link type. */
  #apply(batch: Batch): Batch | null {
    try {
      return this.#filter.apply(batch);
    } catch {
      return null;
    }
  }

  /** The records in the link type of the feed; lent until the next call. */
  #convert(batch: Batch): { bytes: Uint8Array; packets: number } {
    const { bytes, byteLength, packetCount, linkType } = batch;
    if (linkType === this.options.linkType)
      return { bytes: bytes.subarray(0, byteLength), packets: packetCount };
    const room = byteLength + packetCount * ETHERNET_HEADER_BYTES;
    if (this.#scratch.byteLength < room) this.#scratch = Buffer.alloc(room);
    const out = this.#scratch;
    const conversion = this.#conversion;
    let to = 0;
    let packets = 0;
    for (let at = 0; at < byteLength;) {
      const capturedBytes = readU32(bytes, at + RECORD_CAPTURED_BYTES);
      const frame = at + RECORD_HEADER_BYTES;
      if (conversion.fit(linkType, bytes, frame, capturedBytes, readU32(bytes, at + RECORD_ORIGINAL_BYTES))) {
        const written = conversion.write(bytes, out, to + RECORD_HEADER_BYTES);
        writeU32(out, to, readU32(bytes, at));
        writeU32(out, to + RECORD_NANOSECONDS, readU32(bytes, at + RECORD_NANOSECONDS));
        writeU32(out, to + RECORD_CAPTURED_BYTES, written);
        writeU32(out, to + RECORD_ORIGINAL_BYTES, Math.max(written, conversion.originalBytes));
        to += RECORD_HEADER_BYTES + written;
        packets++;
      }
      at = frame + capturedBytes;
    }
    return { bytes: out.subarray(0, to), packets };
  }

  #send(bytes: Uint8Array, packets: number): void {
    const encoded = this.#encoded(bytes);
    for (const reader of this.#readers) reader.write(encoded, packets);
  }

  /** A copy in the precision of the feed: sockets keep it until it is sent. */
  #encoded(bytes: Uint8Array): Buffer {
    const copy = Buffer.from(bytes);
    if (this.options.precision === 'us') transcodeToMicroseconds(copy, copy.byteLength, copy, 0);
    return copy;
  }

  #stopTicking(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
