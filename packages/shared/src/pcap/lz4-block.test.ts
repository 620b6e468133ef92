import fc from 'fast-check';
import { compressSync } from 'lz4-napi';
import { expect, test } from 'vitest';

import { decodeLz4Block } from './lz4-block.ts';
import { Xxh32, xxh32 } from './xxhash32.ts';

const PREFIX_BYTES = 4;

test('what another implementation compresses comes back', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 60 }),
      fc.nat(200),
      (parts, repeat) => {
        const plain = Buffer.concat([...parts, ...parts, Buffer.alloc(repeat, 5)]);
        const packed = compressSync(plain);
        const output = new Uint8Array(plain.byteLength);
        const end = decodeLz4Block(packed, PREFIX_BYTES, packed.byteLength, output, 0, output.byteLength, 0);
        expect(end).toBe(plain.byteLength);
        expect(Buffer.from(output).equals(plain)).toBe(true);
      },
    ),
  );
});

test('any bytes decode or are refused, inside the given range only', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(300), (input, room) => {
      const output = new Uint8Array(room + 20).fill(0xa5);
      const end = decodeLz4Block(input, 0, input.byteLength, output, 10, 10 + room, 10);
      const reached = end < 0 ? ~end : end;
      expect(reached).toBeGreaterThanOrEqual(10);
      expect(reached).toBeLessThanOrEqual(10 + room);
      expect(output.subarray(0, 10).every((byte) => byte === 0xa5)).toBe(true);
      expect(output.subarray(10 + room).every((byte) => byte === 0xa5)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test('XXH32 gives the published values, whole and in parts', () => {
  const bytes = Buffer.from('Nobody inspects the spammish repetition');
  expect(xxh32(bytes, 0, 0)).toBe(0x02cc5d05);
  expect(xxh32(bytes, 0, bytes.byteLength)).toBe(0xe2293b2f);
  for (let split = 0; split <= bytes.byteLength; split++) {
    const hash = new Xxh32();
    hash.update(bytes, 0, split);
    hash.update(bytes, split, bytes.byteLength);
    expect(hash.digest()).toBe(0xe2293b2f);
  }
});
