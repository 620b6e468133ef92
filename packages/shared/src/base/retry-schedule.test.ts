import { describe, expect, it } from 'vitest';
import { RetrySchedule } from './retry-schedule.ts';

describe('a retry schedule', () => {
  it('doubles up to its cap and starts anew after a success', () => {
    const retry = new RetrySchedule({ firstMs: 100, capMs: 1000 }, () => 1 - Number.EPSILON);
    const delays = Array.from({ length: 6 }, () => Math.round(retry.nextDelayMs()));
    expect(delays).toEqual([100, 200, 400, 800, 1000, 1000]);
    expect(retry.attempts).toBe(6);
    retry.reset();
    expect(Math.round(retry.nextDelayMs())).toBe(100);
  });

  it('never waits less than half of what it may', () => {
    const retry = new RetrySchedule({ firstMs: 100, capMs: 1000 }, () => 0);
    expect(Array.from({ length: 5 }, () => retry.nextDelayMs())).toEqual([50, 100, 200, 400, 500]);
  });

  it('stays at its cap after years of failures', () => {
    const retry = new RetrySchedule({ firstMs: 1, capMs: 60_000 }, () => 0);
    for (let i = 0; i < 5000; i++) retry.nextDelayMs();
    expect(retry.nextDelayMs()).toBe(30_000);
  });
});
