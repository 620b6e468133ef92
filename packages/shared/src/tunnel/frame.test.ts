import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OperatingError } from '../base/errors.ts';
import { writeU32 } from '../packet/record.ts';
import { FrameDecoder } from './frame-decoder.ts';
import {
  BATCH_PAYLOAD_BYTES_MAX,
  CODEC_NONE,
  CODEC_ZSTD,
  CONTROL_PAYLOAD_BYTES_MAX,
  FRAME_ACK,
  FRAME_BATCH,
  FRAME_HEADER_BYTES,
  FRAME_REPORT,
  encodeFrame,
  sealFrame,
  type Frame,
} from './frame.ts';
import { encodeBatch } from './packet-batch.ts';
import { decodeChunks, numberedBatch, pieces, seededRandom } from './tunnel-test-support.ts';

const NOTHING = new Uint8Array(0);

/** Small and large frames in one stream, some longer than the decoder's kept buffer. */
function sampleStream(): { stream: Uint8Array; frames: Frame[] } {
  const random = seededRandom(7);
  const encoded: Uint8Array[] = [];
  for (let sequence = 1; sequence <= 12; sequence++) {
    encoded.push(encodeFrame(FRAME_ACK, sequence, NOTHING));
    encoded.push(encodeFrame(FRAME_REPORT, 0, new Uint8Array(Math.floor(random() * 5000)).fill(sequence)));
    encoded.push(
      encodeBatch(numberedBatch(sequence * 100, 1 + Math.floor(random() * 40), 900), sequence, 'none'),
    );
  }
  encoded.push(encodeBatch(numberedBatch(0, 300, 1000), 13, 'none'));
  const stream = Buffer.concat(encoded);
  return { stream, frames: decodeChunks([stream]) };
}

/** Re-signs a frame after its header was changed. */
function reseal(frame: Uint8Array): Uint8Array {
  writeU32(frame, 28, crc32(frame.subarray(FRAME_HEADER_BYTES), crc32(frame.subarray(0, 28))));
  return frame;
}

function failureOf(action: () => unknown): OperatingError {
  try {
    action();
  } catch (error) {
    if (error instanceof OperatingError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the frame codec', () => {
  it('gives back every field and the payload', () => {
    const field = fc.record({
      type: fc.integer({ min: 1, max: 255 }),
      sequence: fc.maxSafeNat(),
      packetCount: fc.nat(0xffff_ffff),
      lane: fc.nat(255),
      payload: fc.uint8Array({ minLength: 24, maxLength: 2000 }),
    });
    fc.assert(
      fc.property(field, ({ type, sequence, packetCount, lane, payload }) => {
        const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.byteLength);
        bytes.set(payload, FRAME_HEADER_BYTES);
        const plainBytes = payload.byteLength;
        sealFrame(bytes, { type, codec: CODEC_NONE, plainBytes, sequence, packetCount, lane });
        expect(decodeChunks([bytes])).toEqual([
          { type, codec: CODEC_NONE, plainBytes, sequence, packetCount, lane, payload },
        ]);
      }),
    );
  });

  it('finds the same frames however the stream is cut', () => {
    const { stream, frames } = sampleStream();
    expect(frames).toHaveLength(37);
    const bytewise = Array.from({ length: stream.byteLength }, (_, i) => stream.subarray(i, i + 1));
    expect(decodeChunks(bytewise)).toEqual(frames);
    for (let seed = 1; seed <= 40; seed++) {
      const chunks = pieces(stream, 2 ** (1 + (seed % 18)), seededRandom(seed));
      expect(decodeChunks(chunks), `seed ${String(seed)}`).toEqual(frames);
    }
  });

  it('knows whether a stream ended between two frames', () => {
    const bytes = encodeFrame(FRAME_REPORT, 0, new Uint8Array(100));
    const decoder = new FrameDecoder(true);
    expect(decoder.atBoundary).toBe(true);
    decoder.push(bytes.subarray(0, 50));
    expect(decoder.next()).toBeNull();
    expect(decoder.atBoundary).toBe(false);
    decoder.push(bytes.subarray(50));
    expect(decoder.next()).not.toBeNull();
    expect(decoder.next()).toBeNull();
    expect(decoder.atBoundary).toBe(true);
  });
});

describe('a damaged stream', () => {
  it('with any bit flipped gives an OperatingError or waits for bytes that never come, and no wrong frame', () => {
    const original = encodeBatch(numberedBatch(1, 5), 9, 'zstd');
    for (let bit = 0; bit < original.byteLength * 8; bit++) {
      const bytes = original.slice();
      bytes[bit >>> 3] = (bytes[bit >>> 3] as number) ^ (1 << (bit & 7));
      const decoder = new FrameDecoder(true);
      decoder.push(bytes);
      let frame: Frame | null = null;
      try {
        frame = decoder.next();
      } catch (error) {
        expect(error).toBeInstanceOf(OperatingError);
      }
      expect(frame, `bit ${String(bit)}`).toBeNull();
    }
  });

  it('made of noise gives an OperatingError at its first header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: FRAME_HEADER_BYTES, maxLength: 300 }), (noise) => {
        expect(failureOf(() => decodeChunks([noise])).code).toBe('TUNNEL_PROTOCOL');
      }),
    );
  });

  it('stays failed: after one error there are no frames any more', () => {
    const decoder = new FrameDecoder(true);
    decoder.push(new Uint8Array(64));
    const first = failureOf(() => decoder.next());
    decoder.push(encodeFrame(FRAME_ACK, 1, NOTHING));
    expect(failureOf(() => decoder.next())).toBe(first);
  });

  it.each([
    ['a wrong magic', 'magic', (b: Uint8Array) => b.fill(0x55, 0, 4)],
    ['another version', 'version', (b: Uint8Array) => b.fill(2, 4, 5)],
    [
      'a plain length beyond the limit',
      'length',
      (b: Uint8Array) => {
        writeU32(b, 12, BATCH_PAYLOAD_BYTES_MAX + 1);
      },
    ],
    [
      'a wire length of 4 GiB',
      'length',
      (b: Uint8Array) => {
        writeU32(b, 8, 0xffff_ffff);
      },
    ],
    [
      'a wire length above the plain one',
      'length',
      (b: Uint8Array) => {
        writeU32(b, 12, 30);
      },
    ],
    [
      'a batch shorter than its prefix',
      'length',
      (b: Uint8Array) => {
        writeU32(b, 8, 23);
      },
    ],
    ['an unknown codec', 'codec', (b: Uint8Array) => b.fill(9, 6, 7)],
    [
      'a sequence beyond 2^53',
      'sequence',
      (b: Uint8Array) => {
        writeU32(b, 20, 0x20_0000);
      },
    ],
    [
      'a changed packet count',
      'checksum',
      (b: Uint8Array) => {
        writeU32(b, 24, 77);
      },
    ],
  ])('with %s is refused by name', (_, reason, spoil) => {
    const bytes = encodeBatch(numberedBatch(1, 50), 1, 'zstd');
    expect(bytes[6]).toBe(CODEC_ZSTD);
    spoil(bytes);
    if (reason !== 'checksum') reseal(bytes);
    expect(failureOf(() => decodeChunks([bytes])).context['reason']).toBe(reason);
  });

  it('cannot make the decoder wait for a payload larger than its type allows', () => {
    const bytes = encodeFrame(FRAME_REPORT, 0, NOTHING);
    writeU32(bytes, 8, CONTROL_PAYLOAD_BYTES_MAX + 1);
    writeU32(bytes, 12, CONTROL_PAYLOAD_BYTES_MAX + 1);
    expect(failureOf(() => decodeChunks([reseal(bytes)])).context['reason']).toBe('length');
  });

  it('cannot bring a large frame before the handshake', () => {
    const bytes = encodeBatch(numberedBatch(1, 1000), 1, 'none');
    expect(bytes.byteLength).toBeGreaterThan(CONTROL_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES);
    const failure = failureOf(() =>
      decodeChunks([bytes.subarray(0, FRAME_HEADER_BYTES)], new FrameDecoder(false)),
    );
    expect(failure.context['reason']).toBe('length');
  });
});

describe('a frame of a type from the future', () => {
  it('is handed over whole, so that it can be skipped', () => {
    const frames = decodeChunks([
      encodeFrame(200, 0, new Uint8Array(10)),
      encodeFrame(FRAME_ACK, 4, NOTHING),
    ]);
    expect(frames.map(({ type }) => type)).toEqual([200, FRAME_ACK]);
  });

  it('is never a BATCH with a codec', () => {
    const bytes = encodeFrame(200, 0, new Uint8Array(10));
    bytes[6] = CODEC_ZSTD;
    writeU32(bytes, 12, 20);
    expect(failureOf(() => decodeChunks([reseal(bytes)])).context['reason']).toBe('codec');
    expect(FRAME_BATCH).toBe(3);
  });
});
