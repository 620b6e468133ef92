import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameQueue } from './frame-queue.ts';

function filled(count: number): FrameQueue {
  const queue = new FrameQueue();
  for (let i = 0; i < count; i++) queue.push(new Uint8Array(10), 2);
  return queue;
}

describe('a queue of frames', () => {
  it('hands frames out in sequence and lets them go when acknowledged', () => {
    const queue = filled(3);
    expect([queue.takeNext()?.sequence, queue.takeNext()?.sequence]).toEqual([1, 2]);
    expect(queue.acknowledge(1)).toBe(2);
    expect([queue.packets, queue.bytes, queue.firstSequence, queue.nextSequence]).toEqual([4, 20, 2, 4]);
    expect(queue.takeNext()?.sequence).toBe(3);
    expect(queue.takeNext()).toBeNull();
  });

  it('sends again from where the collector asks, and knows what it sent before', () => {
    const queue = filled(4);
    while (queue.takeNext() !== null);
    queue.push(new Uint8Array(10), 1);
    queue.acknowledge(1);
    queue.rewindTo(3);
    expect([queue.cursorWasSent, queue.takeNext()?.sequence]).toEqual([true, 3]);
    expect([queue.cursorWasSent, queue.takeNext()?.sequence]).toEqual([true, 4]);
    expect([queue.cursorWasSent, queue.takeNext()?.sequence]).toEqual([false, 5]);
    expect(queue.allSent).toBe(true);
  });

  it('believes nobody who speaks of frames that were never sent', () => {
    const queue = filled(3);
    queue.takeNext();
    expect([0, 1, 2, 3].map((sequence) => queue.mayBeReceived(sequence))).toEqual([true, true, false, false]);
  });

  it('equals a plain list under any mixture of calls', () => {
    const step = fc.record({
      kind: fc.constantFrom('push', 'take', 'acknowledge', 'rewind'),
      // Below one: a collector speaks of nothing that was never sent.
      share: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const queue = new FrameQueue();
        const kept: { sequence: number; packets: number }[] = [];
        let next = 1;
        let cursor = 1;
        for (const { kind, share } of steps) {
          const first = kept[0]?.sequence ?? next;
          if (kind === 'push') {
            const packets = 1 + Math.floor(share * 5);
            kept.push({ sequence: next++, packets });
            queue.push(new Uint8Array(packets), packets);
          } else if (kind === 'take') {
            const taken = queue.takeNext();
            expect(taken?.sequence ?? null).toBe(cursor < next ? cursor : null);
            if (taken !== null) cursor++;
          } else if (kind === 'acknowledge') {
            const sequence = first - 1 + Math.floor(share * (cursor - first + 1));
            let packets = 0;
            while ((kept[0]?.sequence ?? Infinity) <= sequence) packets += kept.shift()?.packets ?? 0;
            expect(queue.acknowledge(sequence)).toBe(packets);
          } else {
            cursor = first + Math.floor(share * (cursor - first + 1));
            if (cursor > next) cursor = next;
            queue.rewindTo(cursor);
          }
          expect(queue.packets).toBe(kept.reduce((total, { packets }) => total + packets, 0));
          expect(queue.bytes).toBe(queue.packets);
          expect([queue.firstSequence, queue.nextSequence]).toEqual([kept[0]?.sequence ?? next, next]);
          expect(queue.isEmpty).toBe(kept.length === 0);
          expect(queue.allSent).toBe(cursor === next);
        }
      }),
    );
  });
});
