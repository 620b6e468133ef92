import { describe, expect, it } from 'vitest';
import { parseTime } from './time-option.ts';

const NOW = Date.UTC(2026, 0, 5, 12, 0, 0, 250);
const at = (ns: string): string => new Date(Number(BigInt(ns) / 1_000_000n)).toISOString();

describe('a time', () => {
  it.each([
    ['now', '2026-01-05T12:00:00.250Z'],
    ['-15m', '2026-01-05T11:45:00.250Z'],
    ['-1.5h', '2026-01-05T10:30:00.250Z'],
    ['-2w', '2025-12-22T12:00:00.250Z'],
    ['06:00', '2026-01-05T06:00:00.000Z'],
    ['06:00:30', '2026-01-05T06:00:30.000Z'],
    ['2026-01-02', '2026-01-02T00:00:00.000Z'],
    ['2026-01-02 03:04', '2026-01-02T03:04:00.000Z'],
    ['2026-01-02T03:04:05.5', '2026-01-02T03:04:05.500Z'],
    ['2026-01-02T03:04:05+02:00', '2026-01-02T01:04:05.000Z'],
    ['1767225600', '2026-01-01T00:00:00.000Z'],
  ])('written %s is %s', (text, iso) => {
    expect(at(parseTime(text, NOW))).toBe(iso);
  });

  it('keeps its nanoseconds', () => {
    expect(parseTime('1767225600.000000001')).toBe('1767225600000000001');
    expect(parseTime('2026-01-01T00:00:00.123456789')).toBe('1767225600123456789');
  });

  it.each(['', 'yesterday', '-15', '-m', '25:00', '2026-13-01', '2026-01-01T1', '1e9', '15m'])(
    'is not %j',
    (text) => {
      expect(() => parseTime(text, NOW)).toThrow(/as in -15m/);
    },
  );
});
