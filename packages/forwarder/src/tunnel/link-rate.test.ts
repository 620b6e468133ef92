import { describe, expect, it } from 'vitest';
import { rateAt } from './link-rate.ts';

/** Local time on a Monday and the days after it. */
function at(day: number, hours: number, minutes = 0): Date {
  return new Date(2026, 0, 5 + day, hours, minutes);
}

describe('the rate of the link', () => {
  const night = { fromMinute: 22 * 60, toMinute: 6 * 60, bytesPerSecond: 1000 };
  const options = { bytesPerSecond: 10, windows: [night] };

  it('is the window’s inside it, also past midnight, and the usual one outside', () => {
    expect([at(0, 21, 59), at(0, 22), at(0, 23, 59), at(1, 0), at(1, 5, 59), at(1, 6)].map((time) => rateAt(options, time))).toEqual([10, 1000, 1000, 1000, 1000, 10]); // prettier-ignore
  });

  it('holds on the days on which a window begins', () => {
    const mondays = { bytesPerSecond: 10, windows: [{ ...night, days: [1] }] };
    expect([at(0, 5), at(0, 23), at(1, 5), at(1, 23), at(2, 5)].map((time) => rateAt(mondays, time))).toEqual([10, 1000, 1000, 10, 10]); // prettier-ignore
  });

  it('is that of the first window that holds', () => {
    const first = { fromMinute: 0, toMinute: 24 * 60, bytesPerSecond: 7 };
    expect(rateAt({ bytesPerSecond: 10, windows: [first, night] }, at(0, 23))).toBe(7);
  });

  it('has no window that begins where it ends: that is the whole day', () => {
    const whole = { fromMinute: 300, toMinute: 300, bytesPerSecond: 7 };
    expect([at(0, 4), at(0, 6)].map((time) => rateAt({ bytesPerSecond: 10, windows: [whole] }, time))).toEqual([7, 7]); // prettier-ignore
  });
});
