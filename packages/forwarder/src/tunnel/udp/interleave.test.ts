/** Blocks and pieces: no burst takes more of a group than parity restores; no packet is lost between two pieces. */
import { numberedBatch, numbersOf } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutBatch } from './batch-cutter.ts';
import { interleave } from './interleave.ts';

describe('interleaved groups', () => {
  it('lose at most m shards each to a burst of D × m datagrams, over block boundaries too', () => {
    for (const depth of [1, 2, 4, 8])
      for (const [k, m] of [
        [10, 2],
        [5, 1],
        [10, 3],
      ] as const) {
        const block = interleave(new Array<number>(depth).fill(k + m));
        const order = [0, 1, 2].flatMap((at) => block.map(({ group }) => `${at}.${group}`));
        for (let start = 0; start + depth * m <= order.length; start++) {
          const hits = new Map<string, number>();
          for (const group of order.slice(start, start + depth * m))
            hits.set(group, (hits.get(group) ?? 0) + 1);
          expect(Math.max(...hits.values())).toBeLessThanOrEqual(m);
        }
      }
  });

  it('are all there, each shard once and in its order, the first group first', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 8 }), (counts) => {
        const places = interleave(counts);
        expect(places[0]).toMatchObject({ group: 0, shard: 0 });
        for (const [group, count] of counts.entries())
          expect(places.filter((place) => place.group === group).map(({ shard }) => shard)).toEqual(
            Array.from({ length: count }, (_, i) => i),
          );
      }),
    );
  });
});

describe('a cut batch', () => {
  it('holds the same packets in pieces no larger than asked for, but for a packet that is larger', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 1, max: 2000 }), (count, bytesMax) => {
        const batch = numberedBatch(1, count, 100);
        const pieces = cutBatch(batch, bytesMax);
        expect(pieces.flatMap(numbersOf)).toEqual(numbersOf(batch));
        expect(pieces.reduce((sum, { packetCount }) => sum + packetCount, 0)).toBe(count);
        for (const { byteLength, packetCount } of pieces)
          if (packetCount > 1) expect(byteLength).toBeLessThanOrEqual(bytesMax);
      }),
    );
  });
});
