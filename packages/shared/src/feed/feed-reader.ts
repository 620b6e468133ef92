/**
 * One reader of a feed: a connection that takes a PCAP stream. It is written to as fast as packets come; what it does not take waits,
 * up to a limit, and then the reader is cut loose. Nobody ever waits for a reader.
 */
import type { Duplex } from 'node:stream';
import { encodeFileHeader } from '../pcap/pcap-writer.ts';

export interface ReaderCounters {
  packetsSent: number;
  /** Were on their way to a reader that was cut loose, or went itself. */
  packetsCut: number;
  readersCut: number;
}

export class FeedReader {
  readonly peer: string;
  readonly #stream: Duplex;
  readonly #bufferBytesMax: number;
  readonly #counters: ReaderCounters;
  readonly #ended: (reader: FeedReader, reason: string) => void;
  /** Live packets that wait until the past was sent; null when there is none to be sent. */
  #backlog: { bytes: Buffer; packets: number }[] | null = null;
  #backlogBytes = 0;
  #isOver = false;

  constructor(
    stream: Duplex,
    peer: string,
    header: { readonly linkType: number; readonly precision: 'ns' | 'us' },
    bufferBytesMax: number,
    counters: ReaderCounters,
    ended: (reader: FeedReader, reason: string) => void,
  ) {
    this.peer = peer;
    this.#stream = stream;
    this.#bufferBytesMax = bufferBytesMax;
    this.#counters = counters;
    this.#ended = ended;
    stream.on('error', (error) => {
      this.#end(error.message);
    });
    stream.on('close', () => {
      this.#end('it went');
    });
    // What a reader says is of no interest, and must not fill a buffer.
    stream.resume();
    stream.write(encodeFileHeader(header));
  }

  /** Whole records, in the stream's precision; shared with other readers, and not to be changed. */
  write(bytes: Buffer, packets: number): void {
    if (this.#isOver) return;
    const waiting = this.#stream.writableLength + this.#backlogBytes;
    if (waiting + bytes.byteLength > this.#bufferBytesMax && waiting > 0) {
      this.#counters.readersCut++;
      this.#counters.packetsCut += packets;
      this.#stream.destroy();
      this.#end(`it does not keep up: ${waiting} bytes wait for it`);
      return;
    }
    if (this.#backlog !== null) {
      this.#backlog.push({ bytes, packets });
      this.#backlogBytes += bytes.byteLength;
      return;
    }
    this.#stream.write(bytes);
    this.#counters.packetsSent += packets;
  }

  /** From now on live packets wait, until `replayed`. */
  holdLive(): void {
    this.#backlog = [];
  }

  /** Packets of the past; resolves when the reader takes more. Rejects when it is gone. */
  async writePast(bytes: Buffer, packets: number): Promise<void> {
    if (this.#isOver) throw new Error('the reader is gone');
    this.#counters.packetsSent += packets;
    if (this.#stream.write(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#stream.once('drain', resolve);
      this.#stream.once('close', resolve);
    });
  }

  /** The past is done. */
  replayed(): void {
    const backlog = this.#backlog ?? [];
    this.#backlog = null;
    this.#backlogBytes = 0;
    for (const { bytes, packets } of backlog) this.write(bytes, packets);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The end of the stream; what waits is still delivered, for a while. */
  end(): void {
    this.#isOver = true;
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
  }

  #end(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const { packets } of this.#backlog ?? []) this.#counters.packetsCut += packets;
    this.#backlog = null;
    this.#ended(this, reason);
  }
}
