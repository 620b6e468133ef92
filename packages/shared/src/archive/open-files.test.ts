import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemFiles } from '../system/files.ts';
import { diskError } from './archive-test-support.ts';
import { OpenFiles } from './open-files.ts';
import type { DescriptorHolder } from './open-files.ts';

function holder(): DescriptorHolder {
  return { descriptor: -1, newer: null, older: null };
}

describe('open files', () => {
  it('close the one used longest ago, like the obvious list', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 100 }), fc.integer({ min: 1, max: 5 }), (uses, max) => {
        const open = new OpenFiles({ ...systemFiles, close: () => undefined }, max);
        const holders = Array.from({ length: 10 }, holder);
        let model: number[] = [];
        for (const use of uses) {
          const one = holders[use] as DescriptorHolder;
          if (one.descriptor >= 0) open.touch(one);
          else
            open.add(
              one,
              open.withRoom(() => 100 + use),
            );
          model = [use, ...model.filter((other) => other !== use)].slice(0, max);
          const opened = holders.flatMap(({ descriptor }, index) => (descriptor >= 0 ? [index] : []));
          expect(opened).toEqual([...model].sort((a, b) => a - b));
          expect(open.count).toBe(model.length);
        }
      }),
    );
  });

  it('never take more than half of what the process may have', () => {
    expect(new OpenFiles({ ...systemFiles, descriptorsMax: () => 64 }, 512).max).toBe(32);
    expect(new OpenFiles({ ...systemFiles, descriptorsMax: () => 1_048_576 }, 512).max).toBe(512);
  });

  it('give way when the system runs out, and give up when there is nothing left to close', () => {
    const open = new OpenFiles({ ...systemFiles, close: () => undefined }, 100);
    const first = holder();
    open.add(first, 7);
    let refusals = 1;
    const tryOpen = (): number => {
      if (refusals-- > 0) throw diskError('EMFILE');
      return 8;
    };
    expect(open.withRoom(tryOpen)).toBe(8);
    expect(first.descriptor).toBe(-1);
    refusals = 1;
    expect(() => open.withRoom(tryOpen)).toThrow('EMFILE');
  });
});
