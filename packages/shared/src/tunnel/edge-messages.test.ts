import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OperatingError } from '../base/errors.ts';
import { decodeAnswer, decodeAnswered, decodeCredit, decodeQuery, encodeAnswer } from './edge-messages.ts';
import { FRAME_ANSWER, encodeFrame, type Frame } from './frame.ts';
import { decodeChunks } from './tunnel-test-support.ts';

const frameOf = (payload: Uint8Array): Frame =>
  decodeChunks([encodeFrame(FRAME_ANSWER, 0, payload)])[0] as Frame;

describe('messages of the edge', () => {
  it('that are damaged are refused, and nothing else happens', () => {
    for (const decode of [decodeAnswer, decodeAnswered, decodeCredit, decodeQuery])
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (payload) => {
          try {
            decode(frameOf(payload));
          } catch (error) {
            expect(error).toBeInstanceOf(OperatingError);
          }
        }),
      );
  });

  it('that promise little and unpack to much are refused before that', () => {
    const records = Buffer.alloc(40_000);
    for (let at = 0; at < records.length; at += 40) records.writeUInt32LE(24, at + 8);
    const good = decodeChunks([encodeAnswer({ id: 1, packets: 1000, linkType: 1, records })])[0] as Frame;
    expect(decodeAnswer(good).records).toEqual(records);
    const bomb = Buffer.from(good.payload);
    bomb.writeUInt32LE(100, 8);
    expect(() => decodeAnswer(frameOf(bomb))).toThrow(OperatingError);
    const miscounted = Buffer.from(good.payload);
    miscounted.writeUInt32LE(999, 4);
    expect(() => decodeAnswer(frameOf(miscounted))).toThrow(OperatingError);
  });
});
