import { constants, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OperatingError } from '../base/errors.ts';
import { BATCH_BYTES_MAX, BatchBuilder } from '../packet/batch.ts';
import { writeU32 } from '../packet/record.ts';
import { CODEC_NAMES, compress, decompress } from './codec.ts';
import { BATCH_PREFIX_BYTES, CODEC_LZ4, CODEC_NONE, CODEC_ZSTD, FRAME_BATCH, type Frame } from './frame.ts';
import { batchTimeSpan, decodeBatch, encodeBatch, timeSpanOf } from './packet-batch.ts';
import { copyOfRecords, decodeChunks, numberedBatch } from './tunnel-test-support.ts';

const packet = fc.record({
  seconds: fc.nat(0xffff_ffff),
  nanoseconds: fc.nat(999_999_999),
  frame: fc.uint8Array({ maxLength: 300 }),
});

function roundTrip(frame: Uint8Array): Frame {
  return decodeChunks([frame])[0] as Frame;
}

function batchFrame(codec: number, records: Uint8Array, plainBytes: number, packetCount: number): Frame {
  const payload = Buffer.concat([new Uint8Array(BATCH_PREFIX_BYTES), records]);
  return {
    type: FRAME_BATCH,
    codec,
    plainBytes: BATCH_PREFIX_BYTES + plainBytes,
    sequence: 1,
    packetCount,
    lane: 0,
    payload,
  };
}

describe('a BATCH', () => {
  it.each(CODEC_NAMES)('arrives as it left, with codec %s', (codec) => {
    fc.assert(
      fc.property(
        fc.array(packet, { maxLength: 50 }),
        fc.nat(0xffff),
        fc.nat(0xffff),
        (packets, linkType, interfaceId) => {
          const builder = new BatchBuilder(linkType, interfaceId, new Uint8Array(300_000));
          for (const { seconds, nanoseconds, frame } of packets)
            builder.append(seconds, nanoseconds, frame.byteLength + 4, frame, 0, frame.byteLength);
          const batch = builder.take();
          const frame = roundTrip(encodeBatch(batch, 42, codec));
          const arrived = decodeBatch(frame);
          expect(copyOfRecords(arrived)).toEqual(copyOfRecords(batch));
          expect(arrived).toMatchObject({ packetCount: packets.length, linkType, interfaceId });
          expect(batchTimeSpan(frame.payload)).toEqual(timeSpanOf(batch));
        },
      ),
    );
  });

  it('tells its time span without being opened, also when its packets are out of order', () => {
    const builder = new BatchBuilder(1);
    for (const [seconds, nanoseconds] of [
      [5, 9],
      [4, 999],
      [5, 1],
      [4, 1000],
    ] as const)
      builder.append(seconds, nanoseconds, 0, new Uint8Array(0), 0, 0);
    expect(timeSpanOf(builder.take())).toEqual({
      oldestSeconds: 4,
      oldestNanoseconds: 999,
      newestSeconds: 5,
      newestNanoseconds: 9,
    });
    expect(timeSpanOf(new BatchBuilder(1).take()).oldestSeconds).toBe(0);
  });

  it('that does not shrink travels as it is', () => {
    const builder = new BatchBuilder(1);
    const noise = crypto.getRandomValues(new Uint8Array(60_000));
    builder.append(1, 2, noise.byteLength, noise, 0, noise.byteLength);
    for (const codec of CODEC_NAMES) {
      const frame = roundTrip(encodeBatch(builder.take(), 1, codec));
      expect(frame.codec).toBe(CODEC_NONE);
      expect(decodeBatch(frame).packetCount).toBe(1);
    }
  });

  it('of full size fits', () => {
    const batch = numberedBatch(0, Math.floor(BATCH_BYTES_MAX / 1016), 1000);
    for (const codec of CODEC_NAMES)
      expect(decodeBatch(roundTrip(encodeBatch(batch, 1, codec))).packetCount).toBe(batch.packetCount);
  });

  it('whose records run over its end, or are not as many as declared, is refused', () => {
    const records = copyOfRecords(numberedBatch(0, 3));
    expect(() => decodeBatch(batchFrame(CODEC_NONE, records, records.byteLength, 4))).toThrow(OperatingError);
    writeU32(records, 8, 262_145);
    expect(() => decodeBatch(batchFrame(CODEC_NONE, records, records.byteLength, 3))).toThrow(OperatingError);
    expect(() => decodeBatch(batchFrame(CODEC_NONE, records.subarray(0, 10), 10, 0))).toThrow(OperatingError);
  });
});

describe('decompression', () => {
  const bomb = new Uint8Array(64 * 1024 * 1024);

  it('of a zstd bomb stops at the declared length', () => {
    const packed = zstdCompressSync(bomb);
    expect(packed.byteLength).toBeLessThan(10_000);
    expect(() => decompress(CODEC_ZSTD, packed, BATCH_BYTES_MAX)).toThrow(OperatingError);
  });

  it('of a zstd frame that wants a 128 MiB window is refused', () => {
    const params = { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_compressionLevel]: 1 };
    const packed = zstdCompressSync(bomb, { params });
    expect(() => decompress(CODEC_ZSTD, packed, bomb.byteLength)).toThrow(OperatingError);
  });

  it('of an LZ4 block whose own length lies is refused before anything is allocated', () => {
    const plain = new Uint8Array(1000).fill(1);
    const packed = Uint8Array.from(compress('lz4', plain) as Uint8Array);
    expect(decompress(CODEC_LZ4, packed, 1000)).toEqual(Buffer.from(plain));
    writeU32(packed, 0, 0xffff_ffff);
    expect(() => decompress(CODEC_LZ4, packed, 1000)).toThrow(OperatingError);
    expect(() => decompress(CODEC_LZ4, packed.subarray(0, 3), 1000)).toThrow(OperatingError);
  });

  it.each([
    [CODEC_ZSTD, 'zstd'],
    [CODEC_LZ4, 'lz4'],
  ] as const)('of codec %i to another length than declared is refused', (number, name) => {
    const packed = Uint8Array.from(compress(name, new Uint8Array(1000).fill(1)) as Uint8Array);
    for (const lie of [0, 1, 999, 1001]) {
      if (name === 'lz4') writeU32(packed, 0, lie);
      expect(() => decompress(number, packed, lie), String(lie)).toThrow(OperatingError);
    }
  });

  it.each([CODEC_ZSTD, CODEC_LZ4])(
    'of noise with codec %i gives an OperatingError or the declared length',
    (codec) => {
      fc.assert(
        fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(5000), (noise, plainBytes) => {
          if (codec === CODEC_LZ4 && noise.byteLength >= 4) writeU32(noise, 0, plainBytes);
          try {
            expect(decompress(codec, noise, plainBytes).byteLength).toBe(plainBytes);
          } catch (error) {
            expect(error).toBeInstanceOf(OperatingError);
          }
        }),
      );
    },
  );
});
