import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { systemFiles, type Files } from '@tapline/shared/system/files.ts';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CHECKPOINT_VERSION,
  decodeCheckpoint,
  encodeCheckpoint,
  readCheckpoint,
  writeCheckpoint,
} from './checkpoint.ts';
import { Checkpointer } from './checkpointer.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tapline-checkpoint-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const RULES = createHash('sha256').update('rules').digest();
const SECTIONS = [
  { map: new Map([['a', { n: 1 }]]), bytes: new Uint8Array([1, 2, 3]) },
  { values: new Float64Array([1.5, -2]), text: 'ä', nothing: null },
];

function encoded(sections: Iterable<unknown> = SECTIONS, version = CHECKPOINT_VERSION): Buffer {
  return Buffer.concat(encodeCheckpoint(RULES, sections, version).parts);
}

describe('a checkpoint', () => {
  it('gives back what went in: maps, typed arrays, and what is referred to twice as one', () => {
    const shared = { n: 1 };
    const checkpoint = decodeCheckpoint(encoded([...SECTIONS, { a: shared, b: shared }]));
    if (checkpoint.kind === 'refused') throw new Error(checkpoint.reason);
    expect(checkpoint.rulesHash).toEqual(RULES);
    expect(checkpoint.sections.slice(0, 2)).toEqual(SECTIONS);
    const { a, b } = checkpoint.sections[2] as { a: object; b: object };
    expect(a).toBe(b);
  });

  it('writes of a view only what the view shows', () => {
    const large = new Uint8Array(1_000_000);
    expect(encoded([large.subarray(10, 20)]).byteLength).toBeLessThan(200);
  });

  it('is refused whatever byte of it is changed, and wherever it ends too early', () => {
    const whole = encoded();
    for (let at = 0; at < whole.byteLength; at++) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] as number) ^ 0x40;
      expect(decodeCheckpoint(bytes).kind, `byte ${at}`).toBe('refused');
      expect(decodeCheckpoint(whole.subarray(0, at)).kind).toBe('refused');
    }
  });

  it('of another version says so', () => {
    expect(decodeCheckpoint(encoded(SECTIONS, CHECKPOINT_VERSION + 1))).toEqual({
      kind: 'refused',
      reason: `it is of version ${CHECKPOINT_VERSION + 1}, and this program writes version ${CHECKPOINT_VERSION}`,
    });
  });

  it('that is any bytes at all is refused without a throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(decodeCheckpoint(Buffer.from(bytes)).kind).toBe('refused');
      }),
    );
  });

  it('replaces the one before as a whole, in this order: written, on the disk, renamed, the name on the disk', async () => {
    const path = join(directory, 'x');
    const calls: string[] = [];
    const files: Files = {
      ...systemFiles,
      write: (...words) => (calls.push('write'), systemFiles.write(...words)),
      sync: async (name) => {
        calls.push('sync');
        await systemFiles.sync(name);
      },
      rename: (from, to) => {
        calls.push('rename');
        systemFiles.rename(from, to);
      },
      syncDirectory: async (name) => {
        calls.push('syncDirectory');
        await systemFiles.syncDirectory(name);
      },
    };
    expect(readCheckpoint(files, path)).toBeNull();
    for (const n of [1, 2]) await writeCheckpoint(files, path, encodeCheckpoint(RULES, [n]));
    expect(calls.filter((call, index) => call !== calls[index - 1])).toEqual(['write', 'sync', 'rename', 'syncDirectory', 'write', 'sync', 'rename', 'syncDirectory']); // prettier-ignore
    expect(readCheckpoint(files, path)).toMatchObject({ kind: 'checkpoint', sections: [2] });
  });
});

describe('the checkpointer', () => {
  function rig(files: Files = systemFiles) {
    const clock = { ms: 0 };
    const failed: unknown[] = [];
    const make = (): Checkpointer =>
      new Checkpointer(
        directory,
        10_000,
        { failed: (_path, error) => failed.push(error) },
        { files, monotonicMs: () => clock.ms },
      );
    return { clock, failed, make };
  }

  it('is due after the interval, and later where one takes more than a twentieth of it', async () => {
    const { clock, make } = rig();
    const checkpointer = make();
    expect(checkpointer.isDue).toBe(false);
    clock.ms = 10_000;
    expect(checkpointer.isDue).toBe(true);
    const slow = {
      snapshot: (): number => {
        clock.ms += 2000;
        return 1;
      },
    };
    const results: boolean[] = [];
    const taken = checkpointer.take(RULES, 0, [slow], (isOnDisk) => results.push(isOnDisk));
    expect(checkpointer.isDue).toBe(false);
    await taken;
    expect(results).toEqual([true]);
    clock.ms = 12_000 + 37_900;
    expect(checkpointer.isDue).toBe(false);
    clock.ms = 12_000 + 38_100;
    expect(checkpointer.isDue).toBe(true);
    checkpointer.close();
  });

  it('is of one moment, though its parts are taken down by and by', async () => {
    const { clock, make } = rig();
    const checkpointer = make();
    const parts = Array.from({ length: 50 }, (_, i) => ({ n: i, snapshot: () => ({ n: parts[i]?.n }) }));
    // A part that takes its time, so that the others have theirs.
    const slow = { snapshot: () => (clock.ms += 100) };
    const taken = checkpointer.take(RULES, 'whole', [slow, ...parts], () => undefined);
    expect(checkpointer.isDue).toBe(false);
    const [first, last] = [parts[0], parts[49]];
    if (first === undefined || last === undefined) throw new Error('no parts');
    for (const part of [last, first]) {
      expect(checkpointer.awaits(part)).toBe(true);
      checkpointer.secure(part);
      expect(checkpointer.awaits(part)).toBe(false);
      part.n = -1;
    }
    await taken;
    const checkpoint = checkpointer.read();
    if (checkpoint?.kind !== 'checkpoint') throw new Error('refused');
    const seen = checkpoint.sections.slice(2) as { n: number }[];
    expect(seen.map(({ n }) => n).sort((a, b) => a - b)).toEqual(parts.map((_, i) => i));
    checkpointer.close();
  });

  it('is alone in its directory', () => {
    const { make } = rig();
    const first = make();
    expect(make).toThrow(/another analyzer/);
    first.close();
    make().close();
  });

  it('a full disk, or what cannot be written down, is told, and the checkpoint before stays', async () => {
    let isFull = false;
    const files: Files = {
      ...systemFiles,
      write: (...words) => {
        if (isFull) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        return systemFiles.write(...words);
      },
    };
    const { failed, make } = rig(files);
    const checkpointer = make();
    await checkpointer.take(RULES, 1, [], () => undefined);
    const before = readFileSync(checkpointer.path);
    isFull = true;
    const results: boolean[] = [];
    await checkpointer.take(RULES, 2, [], (isOnDisk) => results.push(isOnDisk));
    isFull = false;
    await checkpointer.take(
      RULES,
      () => 1,
      [],
      (isOnDisk) => results.push(isOnDisk),
    );
    expect(results).toEqual([false, false]);
    expect(failed).toHaveLength(2);
    expect(readFileSync(checkpointer.path)).toEqual(before);
    await checkpointer.take(RULES, 3, [], (isOnDisk) => results.push(isOnDisk));
    expect(checkpointer.read()).toMatchObject({ sections: [3] });
    writeFileSync(checkpointer.path, 'x');
    expect(checkpointer.read()?.kind).toBe('refused');
    await checkpointer.remove();
    expect(checkpointer.read()).toBeNull();
    checkpointer.close();
  });
});
