import { describe, expect, it } from 'vitest';
import { Prng } from './prng.ts';

describe('seeded chance', () => {
  it('draws the same numbers for the same seed and stream, for ever', () => {
    const random = new Prng(1, 'modbus');
    expect([random.u32(), random.u32(), random.u32()]).toMatchInlineSnapshot(`
      [
        3775317294,
        2538040974,
        3862222482,
      ]
    `);
  });

  it('draws other numbers for another seed, stream or high half of the seed', () => {
    const first = (random: Prng): number => random.u32();
    const drawn = [
      new Prng(1),
      new Prng(2),
      new Prng(1 + 2 ** 32),
      new Prng(1, 'a'),
      new Prng(1, 'b'),
      new Prng(0),
    ];
    expect(new Set(drawn.map(first)).size).toBe(drawn.length);
  });

  it('spreads evenly and stays inside its limits', () => {
    const random = new Prng(7);
    const buckets = new Array<number>(16).fill(0);
    for (let i = 0; i < 160_000; i++) {
      const n = random.below(16);
      buckets[n] = (buckets[n] ?? NaN) + 1;
    }
    // 10,000 expected in each; the standard deviation is 97.
    for (const count of buckets) expect(Math.abs(count - 10_000)).toBeLessThan(600);
    for (let i = 0; i < 1000; i++) {
      const n = random.between(3, 5);
      expect(n >= 3 && n <= 5).toBe(true);
    }
  });

  it('gives gaps whose mean is the mean that was asked for', () => {
    const random = new Prng(9);
    let sum = 0;
    for (let i = 0; i < 50_000; i++) sum += random.exponential(1_000_000);
    expect(Math.abs(sum / 50_000 - 1_000_000)).toBeLessThan(20_000);
  });
});
