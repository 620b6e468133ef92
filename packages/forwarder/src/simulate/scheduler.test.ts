import { Prng } from '@tapline/shared/base/prng.ts';
import { describe, expect, it } from 'vitest';
import { Scheduler, type Process } from './scheduler.ts';

function* note(log: string[], name: string, sleeps: readonly number[]): Process {
  for (const ns of sleeps) {
    log.push(name);
    yield ns;
  }
  log.push(`${name} ends`);
}

function runAll(scheduler: Scheduler): void {
  while (scheduler.nextNs < Infinity) scheduler.step();
}

describe('the scheduler', () => {
  it('runs processes in the order of their moments', () => {
    const scheduler = new Scheduler();
    const log: string[] = [];
    scheduler.start(note(log, 'a', [10, 10]), 0);
    scheduler.start(note(log, 'b', [4]), 7);
    runAll(scheduler);
    expect(log).toEqual(['a', 'b', 'a', 'b ends', 'a ends']);
    expect(scheduler.nowNs).toBe(20);
  });

  it('runs processes of the same moment in the order in which they went to sleep', () => {
    const scheduler = new Scheduler();
    const log: string[] = [];
    for (const name of ['a', 'b', 'c', 'd', 'e']) scheduler.start(note(log, name, [5]), 3);
    runAll(scheduler);
    expect(log.join(' ')).toBe('a b c d e a ends b ends c ends d ends e ends');
  });

  it('lets a process start others at its own moment', () => {
    const scheduler = new Scheduler();
    const log: string[] = [];
    scheduler.start(
      (function* (): Process {
        scheduler.start(note(log, 'child', []), 0);
        log.push('parent');
        yield 1;
      })(),
    );
    runAll(scheduler);
    expect(log).toEqual(['parent', 'child ends']);
  });

  it('is the sorted list of all wake-ups, for any processes', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Prng(seed);
      const scheduler = new Scheduler();
      const wakeUps: number[] = [];
      let expected = 0;
      for (let i = 0; i < 50; i++) {
        const sleeps = Array.from({ length: random.below(20) }, () => random.below(100));
        expected += sleeps.length + 1;
        scheduler.start(
          (function* (): Process {
            for (const ns of sleeps) {
              wakeUps.push(scheduler.nowNs);
              yield ns;
            }
            wakeUps.push(scheduler.nowNs);
          })(),
          random.below(100),
        );
      }
      runAll(scheduler);
      expect(wakeUps, `seed ${seed}`).toHaveLength(expected);
      expect(wakeUps, `seed ${seed}`).toEqual(wakeUps.toSorted((a, b) => a - b));
    }
  });
});
