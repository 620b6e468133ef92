import { describe, expect, it } from 'vitest';
import { integer, text, tlv } from './ber.ts';

describe('BER', () => {
  it('writes lengths in the shortest form', () => {
    expect([...tlv(4, new Uint8Array(127)).subarray(0, 2)]).toEqual([4, 127]);
    expect([...tlv(4, new Uint8Array(128)).subarray(0, 3)]).toEqual([4, 0x81, 128]);
    expect([...tlv(4, new Uint8Array(300)).subarray(0, 4)]).toEqual([4, 0x82, 1, 44]);
  });

  it('writes integers as short as their sign allows', () => {
    expect([...integer(2, 0)]).toEqual([2, 1, 0]);
    expect([...integer(2, 127)]).toEqual([2, 1, 127]);
    expect([...integer(2, 128)]).toEqual([2, 2, 0, 128]);
    expect([...integer(2, 70_000)]).toEqual([2, 3, 1, 0x11, 0x70]);
  });

  it('puts parts behind one another', () => {
    expect([...tlv(0x30, integer(2, 5), text(0x1a, 'ab'))]).toEqual([0x30, 7, 2, 1, 5, 0x1a, 2, 97, 98]);
  });
});
