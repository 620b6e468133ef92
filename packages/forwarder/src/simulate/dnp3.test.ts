import { describe, expect, it } from 'vitest';
import { dnp3Crc } from './dnp3.ts';

describe('the CRC of DNP3', () => {
  it('is the one of the published check string', () => {
    // The catalogue of parametrised CRC algorithms gives 0xea82 for the digits 1 to 9 under CRC-16/DNP.
    const digits = Uint8Array.from('123456789', (digit) => digit.charCodeAt(0));
    expect(dnp3Crc(digits, 0, digits.byteLength)).toBe(0xea82);
  });
});
