/** Any k of k + m shards restore the data: every pattern for small codes, by chance for large ones, beside a slow twin. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SHARDS_MAX, encodeParity, restoreShards } from './reed-solomon.ts';
import { seededRandom } from './tunnel-test-support.ts';

function dataOf(dataShards: number, shardBytes: number, seed = 1): Uint8Array {
  const random = seededRandom(seed);
  return Uint8Array.from({ length: dataShards * shardBytes }, () => Math.floor(random() * 256));
}

function shardsOf(data: Uint8Array, parity: Uint8Array, shardBytes: number): Uint8Array[] {
  return [data, parity].flatMap((bytes) =>
    Array.from({ length: bytes.byteLength / shardBytes }, (_, i) =>
      bytes.slice(i * shardBytes, (i + 1) * shardBytes),
    ),
  );
}

/** Loses these shards, restores, and compares every data shard. */
function expectRestored(all: readonly Uint8Array[], dataShards: number, lost: readonly number[]): void {
  const shardBytes = (all[0] as Uint8Array).byteLength;
  const left = all.map((shard, i) => (lost.includes(i) ? null : shard));
  expect(restoreShards(left, dataShards, all.length - dataShards, shardBytes)).toBe(true);
  for (let j = 0; j < dataShards; j++)
    expect(Buffer.from(left[j] as Uint8Array).equals(all[j] as Uint8Array), `shard ${j}`).toBe(true);
}

/** Multiplication in the field, bit by bit, as a textbook has it. */
function slowProduct(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) {
    if ((b & (1 << bit)) !== 0) product ^= a;
    a <<= 1;
    if (a > 255) a ^= 0x11d;
  }
  return product;
}

function slowReciprocal(value: number): number {
  for (let other = 1; other < 256; other++) if (slowProduct(value, other) === 1) return other;
  throw new Error('zero has no reciprocal');
}

describe('Reed-Solomon parity', () => {
  it('is the sum of the data times 1 / ((k + i) xor j), reckoned the slow way', () => {
    const [k, m, shardBytes] = [10, 3, 7];
    const data = dataOf(k, shardBytes);
    const parity = encodeParity(data, k, m, shardBytes);
    for (let i = 0; i < m; i++)
      for (let n = 0; n < shardBytes; n++) {
        let sum = 0;
        for (let j = 0; j < k; j++)
          sum ^= slowProduct(slowReciprocal((k + i) ^ j), data[j * shardBytes + n] as number);
        expect(parity[i * shardBytes + n]).toBe(sum);
      }
  });

  it('restores 10 + 2 from every pattern of two losses, and of one', () => {
    const data = dataOf(10, 100);
    const all = shardsOf(data, encodeParity(data, 10, 2, 100), 100);
    for (let a = 0; a < 12; a++) for (let b = a; b < 12; b++) expectRestored(all, 10, [a, b]);
  });

  it('restores 5 + 4 from every pattern there is', () => {
    const data = dataOf(5, 16);
    const all = shardsOf(data, encodeParity(data, 5, 4, 16), 16);
    for (let pattern = 0; pattern < 2 ** 9; pattern++) {
      const lost = Array.from({ length: 9 }, (_, i) => i).filter((i) => (pattern & (1 << i)) !== 0);
      if (lost.length <= 4) expectRestored(all, 5, lost);
      else {
        const left = all.map((shard, i) => (lost.includes(i) ? null : shard));
        const isWhole = lost.every((i) => i >= 5);
        expect(restoreShards(left, 5, 4, 16)).toBe(isWhole);
      }
    }
  });

  it('restores any code from any losses up to its parity', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 0, max: 55 }),
        fc.integer({ min: 1, max: 40 }),
        fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })),
        (k, m, shardBytes, chances) => {
          const data = dataOf(k, shardBytes, k * 1000 + m);
          const all = shardsOf(data, encodeParity(data, k, m, shardBytes), shardBytes);
          const indices = Array.from({ length: k + m }, (_, i) => i);
          const lost: number[] = [];
          for (let i = 0; i < m; i++)
            lost.push(...indices.splice(Math.floor(chances.next().value * indices.length), 1));
          expectRestored(all, k, lost);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('reaches its largest code', () => {
    const k = SHARDS_MAX - 100;
    const data = dataOf(k, 8);
    const all = shardsOf(data, encodeParity(data, k, 100, 8), 8);
    expectRestored(
      all,
      k,
      Array.from({ length: 100 }, (_, i) => i),
    );
  });
});
