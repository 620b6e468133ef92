/** For the tests of this folder: captures as plain lists of packets, built and read the slow and obvious way. */
import { Readable } from 'node:stream';

import { OperatingError } from '../base/errors.ts';
import type { CaptureFile } from './capture-file.ts';
import { openCapture } from './capture-file.ts';
import {
  BLOCK_INTERFACE,
  BLOCK_PACKET,
  BLOCK_SECTION,
  BYTE_ORDER_MAGIC,
  MAGIC_MICROSECONDS,
  MAGIC_NANOSECONDS,
} from './format.ts';

export interface PlainPacket {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly originalBytes: number;
  /** Hexadecimal. */
  readonly frame: string;
  readonly linkType: number;
  readonly interfaceId: number;
}

export interface ReadResult {
  readonly packets: PlainPacket[];
  readonly batchCount: number;
  readonly file: CaptureFile | null;
  readonly error: OperatingError | null;
}

/** Reads everything there is; an OperatingError is part of the result, anything else is thrown. */
export async function readCapture(path: string, stream?: Readable): Promise<ReadResult> {
  const packets: PlainPacket[] = [];
  let file: CaptureFile | null = null;
  let error: OperatingError | null = null;
  let batchCount = 0;
  try {
    file = await openCapture(path, stream === undefined ? {} : { stream });
    for await (const batch of file.batches()) {
      batchCount++;
      const view = Buffer.from(batch.bytes.buffer, batch.bytes.byteOffset, batch.byteLength);
      for (let at = 0; at < batch.byteLength;) {
        const frameEnd = at + 16 + view.readUInt32LE(at + 8);
        packets.push({
          seconds: view.readUInt32LE(at),
          nanoseconds: view.readUInt32LE(at + 4),
          originalBytes: view.readUInt32LE(at + 12),
          frame: view.toString('hex', at + 16, frameEnd),
          linkType: batch.linkType,
          interfaceId: batch.interfaceId,
        });
        at = frameEnd;
      }
    }
  } catch (caught) {
    if (!(caught instanceof OperatingError)) throw caught;
    error = caught;
  }
  return { packets, batchCount, file, error };
}

/** Reads bytes that arrive in the given chunks, as from a pipe. */
export function readChunks(chunks: readonly Uint8Array[]): Promise<ReadResult> {
  return readCapture(
    '-',
    Readable.from(
      chunks.map((chunk) => Buffer.from(chunk)),
      { objectMode: false },
    ),
  );
}

export function readBytes(bytes: Uint8Array): Promise<ReadResult> {
  return readChunks(bytes.byteLength === 0 ? [] : [bytes]);
}

export interface ClassicOptions {
  readonly magic?: number;
  readonly bigEndian?: boolean;
  readonly version?: readonly [number, number];
  readonly snapBytes?: number;
  readonly linkTypeField?: number;
}

/** A record as its four numbers and its frame, in the units of the file. */
export type ClassicRecord = readonly [
  seconds: number,
  fraction: number,
  originalBytes: number,
  frame: Uint8Array,
];

/** A classic file of any dialect. */
export function buildClassic(options: ClassicOptions, records: readonly ClassicRecord[]): Buffer {
  const u32 = options.bigEndian === true ? u32be : u32le;
  const u16 = options.bigEndian === true ? u16be : u16le;
  const [major, minor] = options.version ?? [2, 4];
  const magic = options.magic ?? MAGIC_NANOSECONDS;
  const extra =
    magic !== MAGIC_NANOSECONDS && magic !== MAGIC_MICROSECONDS ? Buffer.alloc(8, 0xee) : Buffer.alloc(0);
  return Buffer.concat([
    u32(magic),
    u16(major),
    u16(minor),
    u32(0),
    u32(0),
    u32(options.snapBytes ?? 65_535),
    u32(options.linkTypeField ?? 1),
    ...records.flatMap(([seconds, fraction, originalBytes, frame]) => {
      const lengths = [u32(frame.byteLength), u32(originalBytes)];
      return [u32(seconds), u32(fraction), ...(minor < 3 ? lengths.reverse() : lengths), extra, frame];
    }),
  ]);
}

/** A builder of pcapng blocks in one byte order. */
export class BlockWriter {
  readonly u32: (value: number) => Buffer;
  readonly u16: (value: number) => Buffer;

  constructor(bigEndian: boolean) {
    this.u32 = bigEndian ? u32be : u32le;
    this.u16 = bigEndian ? u16be : u16le;
  }

  block(type: number, ...body: readonly Uint8Array[]): Buffer {
    const padded = pad(Buffer.concat(body));
    const total = this.u32(padded.byteLength + 12);
    return Buffer.concat([this.u32(type), total, padded, total]);
  }

  section(): Buffer {
    return this.block(
      BLOCK_SECTION,
      this.u32(BYTE_ORDER_MAGIC),
      this.u16(1),
      this.u16(0),
      Buffer.alloc(8, 0xff),
    );
  }

  interface(linkType: number, snapBytes = 0, ...options: readonly Uint8Array[]): Buffer {
    return this.block(BLOCK_INTERFACE, this.u16(linkType), this.u16(0), this.u32(snapBytes), ...options);
  }

  option(code: number, value: Uint8Array): Buffer {
    return Buffer.concat([this.u16(code), this.u16(value.byteLength), pad(value)]);
  }

  packet(
    interfaceNumber: number,
    ticks: bigint,
    frame: Uint8Array,
    originalBytes = frame.byteLength,
  ): Buffer {
    return this.block(
      BLOCK_PACKET,
      this.u32(interfaceNumber),
      this.u32(Number(ticks >> 32n)),
      this.u32(Number(ticks & 0xffff_ffffn)),
      this.u32(frame.byteLength),
      this.u32(originalBytes),
      frame,
    );
  }
}

/** Cuts bytes into chunks whose lengths come from `nextLength`. */
export function cut(bytes: Uint8Array, nextLength: () => number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const length = Math.max(1, nextLength());
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return chunks;
}

/** A small generator of chance with a seed (mulberry32), so that a failure can be had again. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function pad(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.byteLength % 4)) % 4)]);
}

function u32le(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u32be(value: number): Buffer {
  return u32le(value).reverse();
}

function u16le(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u16be(value: number): Buffer {
  return u16le(value).reverse();
}
