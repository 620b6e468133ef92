import { describe, expect, it } from 'vitest';
import {
  PREFIX_BYTES_MAX,
  cleanPrefix,
  formatSegmentName,
  parseSegmentName,
  periodStamp,
  prefixWithLinkType,
} from './segment-name.ts';

describe('segment names', () => {
  it.each([
    [0, '19700101_00'],
    [1_767_225_599, '20251231_23'],
    [1_767_225_600, '20260101_00'],
    [1_709_164_800, '20240229_00'],
    [0xffffffff, '21060207_06'],
  ])('name second %i by its UTC hour', (seconds, stamp) => {
    expect(periodStamp(Math.floor(seconds / 3600) * 3600, 3600)).toBe(stamp);
  });

  it.each([
    [86_400, '20260101_00'],
    [600, '20260101_0010'],
    [10, '20260101_001030'],
  ])('say no more of a period of %i s than it needs', (periodSeconds, stamp) => {
    const seconds = 1_767_225_600 + 630;
    const start = Math.floor(seconds / periodSeconds) * periodSeconds;
    expect(periodStamp(start, periodSeconds)).toBe(stamp);
    const name = formatSegmentName('x', start / periodSeconds, periodSeconds, true, 3);
    expect(name).toBe(`x_${stamp}-late-3.pcap`);
    expect(parseSegmentName(name)).toMatchObject({ startSeconds: start, isLate: true, ordinal: 3 });
  });

  it('can be taken apart again', () => {
    for (const [prefix, ordinal] of [
      ['10.0.1.7', 1],
      ['fe80--1', 2],
      ['plc_1_20200101_00', 13],
      ['línea 1', 1],
    ] as const) {
      const name = formatSegmentName(prefix, 1_767_225_600 / 3600, 3600, false, ordinal);
      expect(parseSegmentName(name)).toEqual({
        prefix,
        startSeconds: 1_767_225_600,
        unitSeconds: 3600,
        isLate: false,
        ordinal,
        compression: 'none',
      });
      expect(parseSegmentName(`${name}.zst`)).toMatchObject({ prefix, ordinal, compression: 'zstd' });
    }
  });

  it.each([
    '.hidden_20260101_00.pcap',
    'a.pcap',
    'a_20260101.pcap',
    'a_20260101_00.pcap.damaged',
    '_20260101_00.pcap',
  ])('do not include %s', (name) => {
    expect(parseSegmentName(name)).toBeNull();
  });

  it.each([
    ['plc1_traffic', 'plc1_traffic'],
    ['../../etc/passwd', '_._.._etc_passwd'],
    ['a/b\\c:d e%f', 'a_b_c_d_e_f'],
    ['.hidden', '_hidden'],
    ['-rf', '_rf'],
    ['', '_'],
    ['línea-1', 'línea-1'],
    ['a\u0000b\nc', 'a_b_c'],
  ])('keep nothing dangerous of the prefix %j', (text, clean) => {
    expect(cleanPrefix(text)).toBe(clean);
  });

  it('fit a file name however long the prefix is', () => {
    const prefix = cleanPrefix('ñ😀'.repeat(500));
    expect(Buffer.byteLength(prefix)).toBeLessThanOrEqual(PREFIX_BYTES_MAX);
    expect(prefix.isWellFormed()).toBe(true);
    const longest = `${formatSegmentName(`${prefix}.linktype65535`, 0, 1, true, 9999)}.zst`;
    expect(Buffer.byteLength(longest)).toBeLessThan(256);
  });

  it('carry the link type where the plain name belongs to another', () => {
    expect(prefixWithLinkType('10.0.1.7', 1, 'ethernet')).toBe('10.0.1.7');
    expect(prefixWithLinkType('10.0.1.7', 113, 'ethernet')).toBe('10.0.1.7.sll');
    expect(prefixWithLinkType('10.0.1.7', 101, 'ethernet')).toBe('10.0.1.7.raw');
    expect(prefixWithLinkType('10.0.1.7', 101, 'raw')).toBe('10.0.1.7');
    expect(prefixWithLinkType('10.0.1.7', 147, 'raw')).toBe('10.0.1.7.linktype147');
  });
});
