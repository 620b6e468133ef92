/**
 * Unpacks gzip and zstd as a pull. `node:zlib` does the decoding in its own thread, one *frame* (gzip member, zstd frame) at a
 * time; the frames and their checks are ours, because as a whole its two decoders hide what a capture cannot afford to lose:
 * its zstd ends silently after the first frame of several, and its gunzip throws away what it has just decoded when
 * a checksum behind it is wrong or garbage follows.
 *
 * Of data that is damaged in the middle, up to CHUNK_BYTES decoded right before the damage may be lost with it.
 */
import { crc32, createInflateRaw, createZstdDecompress, constants } from 'node:zlib';
import type { Transform } from 'node:stream';

import { messageOf } from '../base/errors.ts';
import { readU32 } from '../packet/record.ts';
import type { ByteSource } from './byte-source.ts';
import type { CaptureRemarks } from './format.ts';
import { SKIPPABLE_MAGIC } from './lz4-source.ts';

export const ZSTD_MAGIC = 0xfd2fb528;
export const GZIP_MAGIC = 0x8b1f;

/** Decoded bytes a step: large enough for the thread hop not to matter, small enough to lose (see above). */
const CHUNK_BYTES = 65_536;
const INPUT_BYTES = 65_536;
/** zstd's own default limit, enough for `--long`: 2^27 = 128 MiB is what one hostile header can make it allocate. */
const ZSTD_WINDOW_LOG_MAX = 27;

const GZIP_HEADER_BYTES = 10;
const GZIP_TRAILER_BYTES = 8;
const FLAG_HEADER_CHECKSUM = 2;
const FLAG_EXTRA = 4;
const FLAG_NAME = 8;
const FLAG_COMMENT = 16;

type Codec = Transform & { readonly bytesWritten: number };

export class ZlibSource implements ByteSource {
  damage: string | null = null;
  readonly #source: ByteSource;
  readonly isLive: boolean;
  readonly #format: 'gzip' | 'zstd';
  readonly #remarks: CaptureRemarks;
  readonly #input = new Uint8Array(INPUT_BYTES);
  #inputStart = 0;
  #inputEnd = 0;
  #rest: Uint8Array = new Uint8Array(0);
  #ended = false;

  #codec: Codec | null = null;
  #codecEnded = false;
  #codecError: unknown = null;
  /** The codec holds the input buffer until it says so. */
  #writing = false;
  /** Where in the input the current piece starts, and what the codec had consumed before it. */
  #pieceStart = 0;
  #writtenBefore = 0;
  #finishing = false;
  #wake: (() => void) | null = null;
  #framesRead = 0;
  #checksum = 0;
  #frameBytes = 0;

  constructor(source: ByteSource, format: 'gzip' | 'zstd', remarks: CaptureRemarks) {
    this.#source = source;
    this.isLive = source.isLive;
    this.#format = format;
    this.#remarks = remarks;
  }

  get inputBytes(): number {
    return this.#source.inputBytes;
  }

  async read(target: Uint8Array, offset: number, length: number): Promise<number> {
    while (this.#rest.byteLength === 0) {
      if (this.#ended) return 0;
      if (!(await this.#advance())) this.#ended = true;
    }
    const count = Math.min(length, this.#rest.byteLength);
    target.set(this.#rest.subarray(0, count), offset);
    this.#rest = this.#rest.subarray(count);
    return count;
  }

  async close(): Promise<void> {
    this.#ended = true;
    this.#codec?.destroy();
    this.#wakeUp();
    await this.#source.close();
  }

  /** One step towards more output; false at the end. */
  async #advance(): Promise<boolean> {
    const codec = this.#codec;
    if (codec === null) return this.#startFrame();
    const chunk = codec.read() as Uint8Array | null;
    if (chunk !== null) {
      if (this.#format === 'gzip') this.#checksum = crc32(chunk, this.#checksum);
      this.#frameBytes += chunk.byteLength;
      this.#rest = chunk;
      return true;
    }
    if (this.#codecError !== null) return this.#fail(this.#reasonOf(this.#codecError));
    if (this.#codecEnded) return this.#endFrame(codec);
    if (!this.#writing && !this.#finishing) await this.#feed(codec);
    else
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return true;
  }

  async #feed(codec: Codec): Promise<void> {
    if (this.#inputStart === this.#inputEnd) await this.#fill();
    if (this.#ended) return;
    if (this.#inputStart === this.#inputEnd) {
      this.#finishing = true;
      codec.end();
      return;
    }
    this.#writing = true;
    this.#pieceStart = this.#inputStart;
    this.#writtenBefore = codec.bytesWritten;
    codec.write(this.#input.subarray(this.#inputStart, this.#inputEnd), () => {
      this.#writing = false;
      const consumed = codec.bytesWritten - this.#writtenBefore;
      // A codec that leaves input behind has reached the end of its frame, and will say so next.
      if (consumed < this.#inputEnd - this.#pieceStart) this.#finishing = true;
      else this.#inputStart = this.#inputEnd;
      this.#wakeUp();
    });
  }

  async #startFrame(): Promise<boolean> {
    const kind = this.#format === 'gzip' ? await this.#readMemberHeader() : await this.#readZstdMagic();
    if (kind !== 'frame') return false;
    this.#framesRead++;
    this.#checksum = 0;
    this.#frameBytes = 0;
    this.#codecEnded = this.#finishing = this.#writing = false;
    const codec = this.#createCodec();
    this.#codec = codec;
    codec.on('readable', () => {
      this.#wakeUp();
    });
    codec.on('end', () => {
      this.#codecEnded = true;
      this.#wakeUp();
    });
    codec.on('error', (error) => {
      this.#codecError = error;
      this.#wakeUp();
    });
    return true;
  }

  /** A high-water mark of 1: no decoding ahead of what was taken, for an error would take it along. */
  #createCodec(): Codec {
    const options = { chunkSize: CHUNK_BYTES, readableHighWaterMark: 1 };
    if (this.#format === 'gzip') return createInflateRaw(options);
    return createZstdDecompress({
      ...options,
      params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
    });
  }

  async #endFrame(codec: Codec): Promise<boolean> {
    if (this.#inputStart < this.#inputEnd)
      this.#inputStart = this.#pieceStart + codec.bytesWritten - this.#writtenBefore;
    this.#codec = null;
    codec.destroy();
    if (this.#format === 'zstd') return true;
    if (!(await this.#need(GZIP_TRAILER_BYTES))) return this.#fail('the gzip data is cut short');
    const checksum = readU32(this.#input, this.#inputStart);
    const length = readU32(this.#input, this.#inputStart + 4);
    this.#inputStart += GZIP_TRAILER_BYTES;
    if (checksum !== this.#checksum || length !== this.#frameBytes % 2 ** 32)
      return this.#fail('the gzip checksum is wrong: some of what was read is not what was written');
    return true;
  }

  async #readZstdMagic(): Promise<'frame' | 'end'> {
    if (!(await this.#need(4))) return this.#noFrame();
    const magic = readU32(this.#input, this.#inputStart);
    const known = magic === ZSTD_MAGIC || (magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC;
    return known ? 'frame' : this.#noFrame();
  }

  async #readMemberHeader(): Promise<'frame' | 'end'> {
    const known = (await this.#need(2)) && (readU32(this.#input, this.#inputStart) & 0xffff) === GZIP_MAGIC;
    if (!known) return this.#noFrame();
    if (!(await this.#need(GZIP_HEADER_BYTES))) return this.#cutHeader();
    const method = this.#input[this.#inputStart + 2];
    const flags = this.#input[this.#inputStart + 3] as number;
    this.#inputStart += GZIP_HEADER_BYTES;
    if (method !== 8 || (flags & 0xe0) !== 0) {
      this.#fail('a gzip header names a method or flags that do not exist');
      return 'end';
    }
    if ((flags & FLAG_EXTRA) !== 0) {
      if (!(await this.#need(2))) return this.#cutHeader();
      const extra = readU32(this.#input, this.#inputStart) & 0xffff;
      this.#inputStart += 2;
      if (!(await this.#discard(extra))) return this.#cutHeader();
    }
    if ((flags & FLAG_NAME) !== 0 && !(await this.#discardText())) return this.#cutHeader();
    if ((flags & FLAG_COMMENT) !== 0 && !(await this.#discardText())) return this.#cutHeader();
    if ((flags & FLAG_HEADER_CHECKSUM) !== 0 && !(await this.#discard(2))) return this.#cutHeader();
    return 'frame';
  }

  /** Padding and other bytes behind the last frame are no reason to doubt the frames. */
  #noFrame(): 'end' {
    if (this.#framesRead === 0) this.#fail(`the ${this.#format} data is cut short`);
    else this.#remarks.trailingBytesIgnored += this.#inputEnd - this.#inputStart;
    return 'end';
  }

  #cutHeader(): 'end' {
    this.#fail('the gzip data is cut short');
    return 'end';
  }

  /** Makes `count` bytes available at `#inputStart`; false if the input ends before. */
  async #need(count: number): Promise<boolean> {
    while (this.#inputEnd - this.#inputStart < count) if ((await this.#fill()) === 0) return false;
    return true;
  }

  async #discard(count: number): Promise<boolean> {
    for (let left = count; left > 0;) {
      if (!(await this.#need(1))) return false;
      const step = Math.min(left, this.#inputEnd - this.#inputStart);
      this.#inputStart += step;
      left -= step;
    }
    return true;
  }

  async #discardText(): Promise<boolean> {
    for (;;) {
      if (!(await this.#need(1))) return false;
      if (this.#input[this.#inputStart++] === 0) return true;
    }
  }

  async #fill(): Promise<number> {
    this.#input.copyWithin(0, this.#inputStart, this.#inputEnd);
    this.#inputEnd -= this.#inputStart;
    this.#inputStart = 0;
    const count = await this.#source.read(this.#input, this.#inputEnd, INPUT_BYTES - this.#inputEnd);
    this.#inputEnd += count;
    return count;
  }

  #reasonOf(error: unknown): string {
    const cut = error instanceof Error && (error as NodeJS.ErrnoException).code === 'Z_BUF_ERROR';
    return cut
      ? `the ${this.#format} data is cut short`
      : `the ${this.#format} data is damaged (${messageOf(error)})`;
  }

  #fail(reason: string): false {
    this.damage = reason;
    return false;
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
