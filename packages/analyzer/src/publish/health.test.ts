import { describe, expect, it } from 'vitest';
import { HealthReporter, HeartbeatWatch } from './health.ts';

describe('a heartbeat', () => {
  it('says how the daemon is, with the CPU since the last one', () => {
    let nowMs = 1000;
    let cpuMicros = 0;
    const door = { wallMs: () => 5, monotonicMs: () => nowMs, cpuMicros: () => cpuMicros, rssBytes: () => 77, hostname: () => 'h' }; // prettier-ignore
    const queues = [{ name: 'eve', queued: 1, dropped: 2 }];
    const sources = { packets: () => 10, alerts: () => 2, lastSequence: () => 9, queues: () => queues };
    const reporter = new HealthReporter({ agent: 'a', version: '1', intervalMs: 30_000 }, sources, door);
    nowMs += 2000;
    cpuMicros += 500_000;
    expect(reporter.report()).toEqual({ agent: 'a', version: '1', hostname: 'h', sentAtUs: 5000, uptimeMs: 2000, packets: 10, alerts: 2, lastSequence: 9, cpuPercent: 25, rssBytes: 77, intervalMs: 30_000, queues }); // prettier-ignore
    nowMs += 1000;
    expect(reporter.report()).toMatchObject({ cpuPercent: 0, uptimeMs: 3000 });
  });
});

describe('the watch', () => {
  it('tells each silence of more than three intervals once, and its end', () => {
    let nowMs = 0;
    const told: string[] = [];
    const watch = new HeartbeatWatch(
      { expected: ['a', 'b'], intervalMs: 1000 },
      {
        missed: (name, silentMs) => told.push(`missed ${name} ${silentMs}`),
        returned: (name, silentMs) => told.push(`returned ${name} ${silentMs}`),
      },
      () => nowMs,
    );
    const at = (ms: number, ...heard: string[]): void => {
      nowMs = ms;
      for (const name of heard) watch.heard(name);
      watch.check();
    };
    at(3000, 'a');
    expect(told).toEqual([]);
    at(3500, 'a', 'stranger');
    at(4500, 'a');
    expect(told).toEqual(['missed b 3500']);
    expect(watch.silent).toEqual(['b']);
    at(7500, 'b');
    at(7501);
    expect(told).toEqual(['missed b 3500', 'returned b 7500', 'missed a 3001']);
  });
});
