import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SequenceTracker } from './sequence.ts';

describe('sequence accounting', () => {
  it('takes each sequence once and in order', () => {
    const tracker = new SequenceTracker(4);
    expect(tracker.next).toBe(5);
    expect([
      tracker.take(5, 5),
      tracker.take(5, 5),
      tracker.take(4, 4),
      tracker.take(7, 7),
      tracker.take(6, 6),
    ]).toEqual(['accept', 'duplicate', 'duplicate', 'ahead', 'accept']);
    expect([tracker.accepted, tracker.durable]).toEqual([6, 4]);
    tracker.markDurable(6);
    expect(tracker.durable).toBe(6);
  });

  it('takes a range whose beginning it knows, and skips one it knows whole', () => {
    const tracker = new SequenceTracker(3);
    expect(tracker.take(2, 6)).toBe('accept');
    expect(tracker.take(2, 6)).toBe('duplicate');
    expect(tracker.take(8, 9)).toBe('ahead');
  });

  it('says how many frames the peer no longer has', () => {
    const tracker = new SequenceTracker(3);
    expect(tracker.skipTo(2)).toBe(0);
    expect(tracker.skipTo(4)).toBe(0);
    expect(tracker.skipTo(10)).toBe(6);
    expect(tracker.next).toBe(10);
  });

  it('accepts every frame exactly once whatever is sent again after whatever cuts', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ rewind: fc.nat(30), send: fc.nat(40) })), (connections) => {
        const tracker = new SequenceTracker(0);
        const accepted: number[] = [];
        for (const { rewind, send } of connections) {
          const start = Math.max(1, tracker.next - rewind);
          for (let sequence = start; sequence < start + send; sequence++)
            if (tracker.take(sequence, sequence) === 'accept') accepted.push(sequence);
        }
        expect(accepted).toEqual(accepted.map((_, index) => index + 1));
      }),
    );
  });
});
