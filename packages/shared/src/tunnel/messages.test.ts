import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OperatingError } from '../base/errors.ts';
import { FRAME_GAP, FRAME_HELLO, FRAME_REPORT, encodeFrame, type Frame } from './frame.ts';
import {
  decodeGap,
  decodeHello,
  decodeRefuse,
  decodeReport,
  encodeGap,
  encodeHello,
  encodeRefuse,
  nanosecondsText,
  type Hello,
} from './messages.ts';
import { decodeChunks } from './tunnel-test-support.ts';

const HELLO: Hello = {
  sensor: 'plant-7.north',
  epoch: '00112233445566ff',
  software: 'tapline-forwarder 0.1.0',
  firstSequence: 1,
  codecs: ['zstd', 'lz4', 'none'],
  interfaces: [{ id: 0, name: 'eth0', linkType: 1 }],
  sentAtMs: 1_767_225_600_000,
};

function frameOf(bytes: Uint8Array): Frame {
  return decodeChunks([bytes])[0] as Frame;
}

function json(type: number, value: unknown): Frame {
  return frameOf(encodeFrame(type, 0, Buffer.from(JSON.stringify(value))));
}

describe('a HELLO', () => {
  it('arrives as it left, and keys it does not know yet are ignored', () => {
    expect(decodeHello(frameOf(encodeHello(HELLO)))).toEqual(HELLO);
    expect(decodeHello(json(FRAME_HELLO, { ...HELLO, colour: 'blue' }))).toEqual(HELLO);
  });

  it.each(['', '.', '..', '.hidden', 'a/b', '../up', 'a b', 'a\0', 'é', 'x'.repeat(65), 'a\n'])(
    'of a sensor called %j is refused, for it names a directory',
    (sensor) => {
      expect(() => decodeHello(json(FRAME_HELLO, { ...HELLO, sensor }))).toThrow(/wrong sensor/);
    },
  );

  it.each([
    ['epoch', 'XYZ'],
    ['firstSequence', 0],
    ['firstSequence', 2 ** 60],
    ['codecs', []],
    ['interfaces', Array.from({ length: 257 }, () => ({ id: 0, name: '', linkType: 1 }))],
    ['sentAtMs', null],
  ])('with a wrong %s is refused and says so', (key, value) => {
    expect(() => decodeHello(json(FRAME_HELLO, { ...HELLO, [key]: value }))).toThrow(
      new RegExp(`wrong ${key}`),
    );
  });

  it('of noise is refused as an error of the world', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        const frame = frameOf(encodeFrame(FRAME_HELLO, 0, Buffer.from(text)));
        expect(() => decodeHello(frame)).toThrow(OperatingError);
      }),
    );
  });
});

describe('a GAP', () => {
  const gap = { fromNs: '1', toNs: '18446744073709551615', packets: 3, bytes: 180, reason: 'queue-full' };

  it('stands for its own sequence, or for a range that ends with it', () => {
    expect(decodeGap(frameOf(encodeGap(gap, 8)))).toEqual({ ...gap, firstSequence: 8 });
    expect(decodeGap(frameOf(encodeGap({ ...gap, firstSequence: 2 }, 8))).firstSequence).toBe(2);
    expect(() => decodeGap(frameOf(encodeGap({ ...gap, firstSequence: 9 }, 8)))).toThrow(OperatingError);
    expect(() => decodeGap(json(FRAME_GAP, gap))).toThrow(OperatingError);
  });

  it('keeps times that no JSON number could hold', () => {
    expect(nanosecondsText(0xffff_ffff, 999_999_999)).toBe('4294967295999999999');
  });
});

describe('the other messages', () => {
  it('bound what they carry', () => {
    const counters = Object.fromEntries(Array.from({ length: 513 }, (_, i) => [`c${String(i)}`, i]));
    expect(() => decodeReport(json(FRAME_REPORT, { sentAtMs: 1, final: false, counters }))).toThrow(
      OperatingError,
    );
    const refuse = decodeRefuse(frameOf(encodeRefuse('busy', 'x'.repeat(5000))));
    expect(refuse).toEqual({ code: 'busy', sentence: 'x'.repeat(1024) });
  });
});
