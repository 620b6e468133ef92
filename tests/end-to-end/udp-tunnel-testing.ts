/** For tests of the one-way tunnel: whether what is on the disk and what is in gaps are, together, what was offered. */
import { expect } from 'vitest';
import { numbers } from '../support/numbered.ts';
import type { MemoryDisk } from '../support/memory-store.ts';

/** The time that `numberedBatch` gives a packet. */
export function timeOf(number: number): bigint {
  return (
    (1_767_225_600n + BigInt(Math.floor(number / 1000))) * 1_000_000_000n + BigInt(number % 1000) * 1_000_000n
  );
}

/** Stored and gaps make up what was offered, to the packet; what is missing lies within the gaps' times. */
export function expectExact(disk: MemoryDisk, last: number): { missing: number } {
  const stored = new Set(disk.numbers);
  expect(stored.size).toBe(disk.numbers.length);
  expect(disk.numbers).toEqual([...disk.numbers].sort((a, b) => a - b));
  const gapPackets = disk.gaps.reduce((sum, { packets }) => sum + (packets ?? NaN), 0);
  expect(disk.numbers.length + gapPackets).toBe(last);
  const spans = disk.gaps.map(({ fromNs, toNs }) => [BigInt(fromNs ?? ''), BigInt(toNs ?? '')] as const);
  for (const number of numbers(1, last))
    if (!stored.has(number)) {
      const time = timeOf(number);
      expect(
        spans.some(([from, to]) => from <= time && time <= to),
        `packet ${number} in a gap`,
      ).toBe(true);
    }
  return { missing: gapPackets };
}
