import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SendQueue } from './send-queue.ts';

function filled(count: number): SendQueue {
  const queue = new SendQueue();
  for (let i = 0; i < count; i++) queue.push(new Uint8Array(10), 2);
  return queue;
}

describe('the send queue', () => {
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
      amount: fc.nat(60),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const queue = new SendQueue();
        let held: { sequence: number; bytes: number; packets: number }[] = [];
        let made = 0;
        let cursor = 1;
        let sent = 0;
        for (const { kind, amount } of steps) {
          const first = held[0]?.sequence ?? made + 1;
          if (kind === 'push')
            for (let i = 0; i < amount; i++) {
              queue.push(new Uint8Array(i), i);
              held.push({ sequence: ++made, bytes: i, packets: i });
            }
          else if (kind === 'take')
            for (let i = 0; i < amount; i++) {
              const expected = cursor <= made ? cursor++ : null;
              sent = Math.max(sent, expected ?? 0);
              expect(queue.takeNext()?.sequence ?? null).toBe(expected);
            }
          else if (kind === 'acknowledge') {
            const upTo = Math.min(sent, first + amount - 1);
            const gone = held.filter(({ sequence }) => sequence <= upTo);
            held = held.filter(({ sequence }) => sequence > upTo);
            expect(queue.acknowledge(upTo)).toBe(gone.reduce((sum, { packets }) => sum + packets, 0));
            cursor = Math.max(cursor, upTo + 1);
          } else {
            cursor = Math.min(first + amount, made + 1);
            queue.rewindTo(cursor);
          }
          expect(queue.packets).toBe(held.reduce((sum, { packets }) => sum + packets, 0));
          expect(queue.bytes).toBe(held.reduce((sum, { bytes }) => sum + bytes, 0));
          expect(queue.firstSequence).toBe(held[0]?.sequence ?? made + 1);
          expect(queue.isEmpty).toBe(held.length === 0);
          expect(queue.allSent).toBe(cursor > made);
        }
      }),
    );
  });
});
