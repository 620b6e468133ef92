/**
 * Reads the LZ4 frame format (lz4's `doc/lz4_Frame_format.md`): frames of linked or independent blocks, frames one after
 * another, skippable frames, and the legacy frames of `lz4 -l`. Everything a header or a block claims is checked against
 * the format's limits before anything is decoded, so memory is bounded by two of the largest blocks, whatever the file says.
 *
 *   frame    magic 184d2204 · FLG (version 01, independent, block checksum, content size, content checksum, –, dictionary)
 *            · BD (block size 4…7 in bits 4–6) · [content size 8] · [dictionary 4] · header checksum 1
 *            · blocks: size (top bit: stored as is) 4 · data · [checksum 4] · end mark 0 · [content checksum 4]
 *   legacy   magic 184c2102 · blocks of 8 MiB: size 4 · data; ends with the file or at another magic
 *   skip     magic 184d2a5x · size 4 · data
 */
import { readU32 } from '../packet/record.ts';
import type { ByteSource } from './byte-source.ts';
import { readFully } from './byte-source.ts';
import type { CaptureRemarks } from './format.ts';
import { decodeLz4Block } from './lz4-block.ts';
import { Xxh32, xxh32 } from './xxhash32.ts';

export const LZ4_MAGIC = 0x184d2204;
export const LZ4_LEGACY_MAGIC = 0x184c2102;
/** Lowest 4 bits are free. */
export const SKIPPABLE_MAGIC = 0x184d2a50;

const WINDOW_BYTES = 65_536;
const LEGACY_BLOCK_BYTES = 8 * 1024 * 1024;
/** What a block of n bytes can grow to when it does not compress (LZ4_compressBound). */
const LEGACY_COMPRESSED_BYTES_MAX = LEGACY_BLOCK_BYTES + Math.floor(LEGACY_BLOCK_BYTES / 255) + 16;
/** FLG, BD, content size, dictionary, header checksum. */
const DESCRIPTOR_BYTES_MAX = 15;

interface Frame {
  readonly legacy: boolean;
  readonly blockBytesMax: number;
  readonly compressedBytesMax: number;
  readonly linked: boolean;
  readonly blockChecksums: boolean;
  readonly contentBytes: number | null;
  readonly hash: Xxh32 | null;
}

type Step = 'data' | 'end';

export class Lz4Source implements ByteSource {
  damage: string | null = null;
  readonly isLive: boolean;
  readonly #source: ByteSource;
  readonly #remarks: CaptureRemarks;
  readonly #small = new Uint8Array(4);
  #frame: Frame | null = null;
  #frameBytes = 0;
  #framesRead = 0;
  #input = new Uint8Array(0);
  /** Up to WINDOW_BYTES of history, then the current block. */
  #output = new Uint8Array(0);
  #windowStart = WINDOW_BYTES;
  #ready = WINDOW_BYTES;
  #readyEnd = WINDOW_BYTES;
  #ended = false;
  /** A magic that was read where a legacy block's size could have been. */
  #magicAhead: number | null = null;

  constructor(source: ByteSource, remarks: CaptureRemarks) {
    this.#source = source;
    this.isLive = source.isLive;
    this.#remarks = remarks;
  }

  get inputBytes(): number {
    return this.#source.inputBytes;
  }

  async read(target: Uint8Array, offset: number, length: number): Promise<number> {
    while (this.#ready === this.#readyEnd) {
      if (this.#ended) return 0;
      const step = this.#frame === null ? await this.#startFrame() : await this.#readBlock(this.#frame);
      if (step === 'end') this.#ended = true;
    }
    const count = Math.min(length, this.#readyEnd - this.#ready);
    target.set(this.#output.subarray(this.#ready, this.#ready + count), offset);
    this.#ready += count;
    return count;
  }

  async close(): Promise<void> {
    await this.#source.close();
  }

  async #startFrame(): Promise<Step> {
    const magic = this.#magicAhead ?? (await this.#readMagic());
    this.#magicAhead = null;
    if (magic === null) return 'end';
    if ((magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC) return this.#skipFrame();
    if (magic === LZ4_LEGACY_MAGIC) {
      this.#begin({
        legacy: true,
        blockBytesMax: LEGACY_BLOCK_BYTES,
        compressedBytesMax: LEGACY_COMPRESSED_BYTES_MAX,
        linked: false,
        blockChecksums: false,
        contentBytes: null,
        hash: null,
      });
      return 'data';
    }
    if (magic === LZ4_MAGIC) return this.#readDescriptor();
    if (this.#framesRead === 0) return this.#fail('it does not start with an LZ4 frame');
    this.#remarks.trailingBytesIgnored += 4;
    return 'end';
  }

  async #readMagic(): Promise<number | null> {
    const present = await readFully(this.#source, this.#small, 0, 4);
    if (present === 4) return readU32(this.#small, 0);
    this.#remarks.trailingBytesIgnored += present;
    return null;
  }

  async #readDescriptor(): Promise<Step> {
    const bytes = new Uint8Array(DESCRIPTOR_BYTES_MAX);
    if ((await readFully(this.#source, bytes, 0, 2)) < 2) return this.#cut('a frame header');
    const flags = bytes[0] as number;
    const blockCode = ((bytes[1] as number) >>> 4) & 7;
    if (flags >>> 6 !== 1) return this.#fail(`LZ4 frame version ${flags >>> 6} is not known`);
    if ((flags & 2) !== 0 || ((bytes[1] as number) & 0x8f) !== 0)
      return this.#fail('reserved bits are set in an LZ4 frame header');
    if (blockCode < 4) return this.#fail(`LZ4 block size code ${blockCode} is not known`);
    const hasSize = (flags & 8) !== 0;
    if ((flags & 1) !== 0) return this.#fail('the LZ4 frame needs a dictionary');
    const length = hasSize ? 10 : 2;
    if ((await readFully(this.#source, bytes, 2, length - 1)) < length - 1)
      return this.#cut('a frame header');
    if (((xxh32(bytes, 0, length) >>> 8) & 0xff) !== bytes[length])
      return this.#fail('the checksum of an LZ4 frame header is wrong');
    const blockBytesMax = 2 ** (8 + 2 * blockCode);
    this.#begin({
      legacy: false,
      blockBytesMax,
      compressedBytesMax: blockBytesMax,
      linked: (flags & 0x20) === 0,
      blockChecksums: (flags & 0x10) !== 0,
      contentBytes: hasSize ? readU32(bytes, 2) + readU32(bytes, 6) * 2 ** 32 : null,
      hash: (flags & 4) !== 0 ? new Xxh32() : null,
    });
    return 'data';
  }

  #begin(frame: Frame): void {
    this.#frame = frame;
    this.#frameBytes = 0;
    this.#framesRead++;
    if (this.#output.byteLength < WINDOW_BYTES + frame.blockBytesMax)
      this.#output = new Uint8Array(WINDOW_BYTES + frame.blockBytesMax);
    if (this.#input.byteLength < frame.compressedBytesMax + 4)
      this.#input = new Uint8Array(frame.compressedBytesMax + 4);
    this.#windowStart = this.#ready = this.#readyEnd = WINDOW_BYTES;
  }

  async #readBlock(frame: Frame): Promise<Step> {
    const present = await readFully(this.#source, this.#small, 0, 4);
    if (present === 0 && frame.legacy) return 'end';
    if (present < 4) return this.#cut('a frame');
    const field = readU32(this.#small, 0);
    if (frame.legacy && field > LEGACY_COMPRESSED_BYTES_MAX) {
      this.#frame = null;
      this.#magicAhead = field;
      return 'data';
    }
    if (field === 0 && !frame.legacy) return this.#endFrame(frame);
    const stored = !frame.legacy && field >>> 31 === 1;
    const size = stored ? field & 0x7fff_ffff : field;
    if (size > frame.compressedBytesMax)
      return this.#fail(
        `an LZ4 block of ${size} bytes is beyond its frame's limit, ${frame.compressedBytesMax}`,
      );
    const wanted = size + (frame.blockChecksums ? 4 : 0);
    const got = await readFully(this.#source, this.#input, 0, wanted);
    // A stored block, and a compressed one as far as it goes, is worth something even when cut.
    if (got === wanted && frame.blockChecksums && xxh32(this.#input, 0, size) !== readU32(this.#input, size))
      return this.#fail('the checksum of an LZ4 block is wrong');
    this.#slide(frame);
    const end = this.#decode(frame, stored, Math.min(got, size));
    if (end < 0 || got < wanted) {
      this.#ready = WINDOW_BYTES;
      this.#readyEnd = end < 0 ? ~end : end;
      return got < wanted ? this.#cut('a block') : this.#fail('an LZ4 block cannot be decoded');
    }
    this.#ready = WINDOW_BYTES;
    this.#readyEnd = end;
    this.#frameBytes += end - WINDOW_BYTES;
    frame.hash?.update(this.#output, WINDOW_BYTES, end);
    return 'data';
  }

  #decode(frame: Frame, stored: boolean, size: number): number {
    const outputEnd = WINDOW_BYTES + frame.blockBytesMax;
    if (!stored)
      return decodeLz4Block(this.#input, 0, size, this.#output, WINDOW_BYTES, outputEnd, this.#windowStart);
    this.#output.set(this.#input.subarray(0, size), WINDOW_BYTES);
    return WINDOW_BYTES + size;
  }

  /** Linked blocks look back into the 64 KiB before them, which may be of several blocks. */
  #slide(frame: Frame): void {
    if (!frame.linked) return;
    const kept = Math.min(WINDOW_BYTES, this.#readyEnd - this.#windowStart);
    this.#output.copyWithin(WINDOW_BYTES - kept, this.#readyEnd - kept, this.#readyEnd);
    this.#windowStart = WINDOW_BYTES - kept;
  }

  async #endFrame(frame: Frame): Promise<Step> {
    this.#frame = null;
    if (frame.contentBytes !== null && frame.contentBytes !== this.#frameBytes)
      return this.#fail(`an LZ4 frame holds ${this.#frameBytes} bytes and says ${frame.contentBytes}`);
    if (frame.hash === null) return 'data';
    if ((await readFully(this.#source, this.#small, 0, 4)) < 4) return this.#cut('a frame');
    if (frame.hash.digest() !== readU32(this.#small, 0))
      return this.#fail(
        'the checksum of an LZ4 frame is wrong: some of what was read is not what was written',
      );
    return 'data';
  }

  async #skipFrame(): Promise<Step> {
    this.#framesRead++;
    if ((await readFully(this.#source, this.#small, 0, 4)) < 4) return this.#cut('a skippable frame');
    if (this.#input.byteLength === 0) this.#input = new Uint8Array(WINDOW_BYTES);
    let left = readU32(this.#small, 0);
    while (left > 0) {
      const step = await this.#source.read(this.#input, 0, Math.min(left, this.#input.byteLength));
      if (step === 0) return this.#cut('a skippable frame');
      left -= step;
    }
    return 'data';
  }

  #cut(where: string): Step {
    return this.#fail(`the LZ4 data ends inside ${where}`);
  }

  #fail(reason: string): Step {
    this.damage = reason;
    return 'end';
  }
}
