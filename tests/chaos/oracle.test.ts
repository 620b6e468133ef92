import { describe, expect, it } from 'vitest';
import type { SeenPacket } from '../support/captured.ts';
import { isClean, judge } from './oracle.ts';

function packet(number: number, seconds = number, noise = 'x'): SeenPacket {
  const payload = Buffer.concat([Buffer.from('chaos'), Buffer.alloc(8), Buffer.from(noise)]);
  payload.writeBigUInt64LE(BigInt(number), 5);
  const frame = Buffer.concat([Buffer.alloc(42), payload]);
  return { timeNs: BigInt(seconds) * 1_000_000_000n, originalBytes: frame.byteLength, frame, interfaceId: 0 };
}

const gap = (from: number, to: number, packets: number | null) => ({
  fromNs: `${from}000000000`,
  toNs: `${to}000000000`,
  packets,
  reason: 'test',
});

describe('the oracle', () => {
  const witness = [1, 2, 3, 4, 5].map((number) => packet(number));

  it('is content when everything is there', () => {
    expect(isClean(judge(witness, witness, []))).toBe(true);
  });

  it('sees a packet that is missing without a word, and forgives one in a gap', () => {
    const archive = witness.filter((_, index) => index !== 2);
    expect(judge(witness, archive, []).silent).toEqual(['3']);
    expect(judge(witness, archive, [gap(4, 5, 1)]).silent).toEqual(['3']);
    expect(judge(witness, archive, [gap(3, 3, 1)])).toMatchObject({
      silent: [],
      reported: 1,
      understated: 0,
    });
  });

  it('sees a packet that is there twice, and one that never was', () => {
    const verdict = judge(witness, [...witness, packet(3), packet(9)], []);
    expect([verdict.twice, verdict.foreign]).toEqual([['3'], ['9']]);
  });

  it('sees a changed byte', () => {
    expect(judge(witness, [packet(1, 1, 'y')], [gap(2, 5, null)]).foreign).toEqual(['1']);
  });

  it('sees a gap that owns up to less than is missing', () => {
    expect(judge(witness, [], [gap(1, 5, 4)]).understated).toBe(1);
    expect(isClean(judge(witness, [], [gap(1, 5, null)]))).toBe(true);
  });

  it('forgives nothing for a gap without a time', () => {
    expect(
      judge(witness, [], [{ fromNs: null, toNs: null, packets: null, reason: 'x' }]).silent,
    ).toHaveLength(5);
  });
});
