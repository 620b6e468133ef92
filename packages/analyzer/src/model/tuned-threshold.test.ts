import fc from 'fast-check';
import { expect, it } from 'vitest';
import { tunedThreshold } from './tuned-threshold.ts';

const falseAt = (score: number) => ({ score, isTrue: false });
const trueAt = (score: number) => ({ score, isTrue: true });

it('a threshold rises over what was false, and not over what was true', () => {
  expect(tunedThreshold(0.5, [falseAt(0.6), falseAt(0.7), trueAt(0.9)])).toBeCloseTo(0.7, 5);
  expect(tunedThreshold(0.5, [falseAt(0.95), trueAt(0.9)])).toBe(0.5);
  expect(tunedThreshold(0.5, [trueAt(0.6)])).toBe(0.5);
  expect(tunedThreshold(0.5, [])).toBe(0.5);
});

it('no true alert ever falls silent, and no threshold goes down', () => {
  const label = fc.record({ score: fc.double({ min: 0.5, max: 1, noNaN: true }), isTrue: fc.boolean() });
  fc.assert(
    fc.property(fc.array(label), (labels) => {
      const tuned = tunedThreshold(0.5, labels);
      expect(tuned).toBeGreaterThanOrEqual(0.5);
      for (const { score, isTrue } of labels) if (isTrue) expect(score).toBeGreaterThanOrEqual(tuned);
    }),
  );
});
