/** Sampled values: frames by hand, noise, and what tshark reads out of a real capture. */
import { describe, expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import type { Memory } from './dissector.ts';
import { checkTotal, fromHex, hear, hearCapture, tally, tsharkValues } from './ot-test-support.ts';
import { sampledValues } from './sampled-values.ts';

/** A frame with one ASDU per count, of the stream `4001`; its samples are -2 and `sample`. */
function frame(counts: readonly number[], sample = 0, announced = counts.length): Uint8Array {
  const byte = (value: number): string => value.toString(16).padStart(2, '0');
  const field = (tag: string, content: string): string => tag + byte(content.length / 2) + content;
  const asdus = counts.map((count) =>
    field('30', `800434303031 8202${count.toString(16).padStart(4, '0')} 830400000001 850102 8708fffffffe000000${byte(sample)}`.replaceAll(' ', '')),
  ); // prettier-ignore
  const pdu = field('60', field('80', byte(announced)) + field('a2', asdus.join('')));
  return fromHex(`4001 ${(pdu.length / 2 + 8).toString(16).padStart(4, '0')} 0000 0000 ${pdu}`);
}

function after(...frames: Uint8Array[]): string[] {
  const memory: Memory = {};
  return frames.map((bytes) => hear(sampledValues, bytes, { memory })).at(-1)?.violations as string[];
}

describe('frames by hand', () => {
  test('a frame names its stream, its ASDUs and the first sample', () => {
    const { operations, violations, facts } = hear(sampledValues, frame([5, 6]));
    expect(violations).toEqual([]);
    expect(operations).toMatchObject([
      { protocol: 'sampled-values', name: 'samples', action: 'report', unit: 0x4001, object: '4001', count: 2, value: -2 },
    ]); // prettier-ignore
    expect(facts).toEqual([['conf-rev', '4001=1']]);
  });

  test('the count goes up, or begins again', () => {
    expect(after(frame([5]), frame([6]))).toEqual([]);
    expect(after(frame([5]), frame([9]))).toEqual([]);
    expect(after(frame([3999]), frame([0]))).toEqual([]);
    expect(after(frame([5]), frame([5]))).toEqual([]);
    expect(after(frame([5]), frame([5], 1))).toEqual(['smpCnt repeated with other data']);
    expect(after(frame([5]), frame([4]))).toEqual(['smpCnt went back']);
    expect(after(frame([5, 6]), frame([6, 7]))).toEqual([]);
  });

  test('what was sent lately may come again, and not with other data; a second count beside the first is told', () => {
    const run = [10, 11, 12, 13, 14].map((count) => frame([count], count));
    expect(after(...run, frame([11], 11))).toEqual([]);
    expect(after(...run, frame([11], 99))).toEqual(['smpCnt repeated with other data']);
    expect(after(...run, frame([11], 99), frame([15], 15))).toEqual([]);
    expect(after(...run, frame([900], 1), frame([15], 15))).toEqual(['two counts are published at once']);
    // A restart: the count that it fell from does not go on.
    expect(after(frame([900]), frame([5]), frame([6]))).toEqual([]);
    // One that is late.
    expect(after(frame([5]), frame([7]), frame([6]), frame([8]))).toEqual([]);
  });

  test('what does not add up is told', () => {
    expect(after(frame([1], 0, 2))).toEqual(['noASDU and the sequence disagree']);
    expect(after(fromHex('4001 0008 0000 0000'))).toEqual(['no savPdu in the frame']);
    expect(after(frame([1]).subarray(0, 30))).toContain('field longer than the frame');
    expect(after(fromHex('4001 0011 0000 0000 6007 800101 a202 3000'))).toEqual([
      'mandatory field is missing',
    ]);
  });
});

test('noise and damaged frames', () => checkTotal(sampledValues, [frame([1]), frame([7, 8]), frame([0], 9)]));

describeWithCorpus('against tshark', () => {
  test('the same streams and numbers of ASDUs, and a count that keeps its order', async () => {
    const path = corpusPath('ot/iec61850/SV_Normal_Traffic.pcap.gz');
    const { operations, violations } = await hearCapture(sampledValues, path);
    expect(violations).toEqual([]);
    expect(operations.length).toBe(10_161);
    expect(tally(operations.map(({ object }) => object))).toEqual(tally(tsharkValues(path, 'sv.svID')));
    expect(tally(operations.map(({ count }) => count))).toEqual(tally(tsharkValues(path, 'sv.noASDU')));
  });
});
