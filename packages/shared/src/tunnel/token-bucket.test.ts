import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TunnelClock } from './tunnel-clock.ts';
import { TokenBucket } from './token-bucket.ts';

class HandClock implements TunnelClock {
  nowMs = 0;
  monotonicMs(): number {
    return this.nowMs;
  }
  wallMs(): number {
    return this.nowMs;
  }
  after(): () => void {
    return () => undefined;
  }
}

describe('the token bucket', () => {
  it('lets a burst through at once and then asks for patience', () => {
    const clock = new HandClock();
    const bucket = new TokenBucket({ bytesPerSecond: 1000, burstBytes: 500 }, clock);
    expect(bucket.waitMs()).toBe(0);
    bucket.spend(500);
    expect(bucket.waitMs()).toBeGreaterThan(0);
    clock.nowMs += 100;
    expect(bucket.waitMs()).toBe(0);
  });

  it('delays a frame that is larger than the burst, and does not block it', () => {
    const clock = new HandClock();
    const bucket = new TokenBucket({ bytesPerSecond: 1000, burstBytes: 100 }, clock);
    bucket.spend(2100);
    expect(bucket.waitMs()).toBe(2001);
    clock.nowMs += 2001;
    expect(bucket.waitMs()).toBe(0);
  });

  it('never lets more through than rate × time + burst + one frame', () => {
    const steps = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 3000 }), pauseMs: fc.nat(50) }), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(steps, fc.integer({ min: 100, max: 100_000 }), (frames, bytesPerSecond) => {
        const clock = new HandClock();
        const burstBytes = 1500;
        const bucket = new TokenBucket({ bytesPerSecond, burstBytes }, clock);
        let sent = 0;
        for (const { bytes, pauseMs } of frames) {
          clock.nowMs += pauseMs + bucket.waitMs();
          if (bucket.waitMs() > 0) continue;
          bucket.spend(bytes);
          sent += bytes;
          expect(sent).toBeLessThanOrEqual((bytesPerSecond * clock.nowMs) / 1000 + burstBytes + 3000);
        }
      }),
    );
  });
});
