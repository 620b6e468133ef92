/** Traffic of numbered packets: what both tunnels' tests offer, wait for and count. */
import { expect } from 'vitest';
import type { Uplink } from '../../packages/forwarder/src/tunnel/uplink.ts';
import { numberedBatch } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';

const cleanups: (() => unknown)[] = [];

/** Has `cleanUp` do this; what was begun last ends first. */
export function atEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

/** For `afterEach`. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/** Offers packets `first` to `last`, in batches whose sizes come from the seed, with pauses where `hasPauses`. */
export async function offerNumbers(
  uplink: Uplink,
  first: number,
  last: number,
  random: () => number,
  hasPauses = false,
): Promise<void> {
  for (let next = first; next <= last;) {
    await uplink.waitForRoom();
    const count = Math.min(last - next + 1, 1 + Math.floor(random() * 400));
    uplink.offer(numberedBatch(next, count, 60 + Math.floor(random() * 200)));
    next += count;
    expectBalance(uplink);
    // Now and then the capture has nothing, and the sockets get their turn.
    if (hasPauses && random() < 0.3) await new Promise((resolve) => setTimeout(resolve, random() * 4));
  }
}

export function expectBalance({ counters }: Uplink): void {
  const dropped = Object.values(counters.dropped).reduce((sum, count) => sum + count, 0);
  expect(counters.acknowledgedPackets + counters.queuedPackets + dropped).toBe(counters.offeredPackets);
}

export function numbers(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

export async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 4000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}
