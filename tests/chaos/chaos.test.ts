/** A short chaos run, so that every change meets a few accidents. `npm run chaos` makes long ones. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { NAMESPACE_NEED, canMakeNamespaces } from '../support/namespace.ts';
import { chaosRun } from './chaos-run.ts';

const isAble = canMakeNamespaces() && existsSync('/dev/net/tun');
const need = isAble ? '' : NAMESPACE_NEED || ' (skipped: needs /dev/net/tun)';

it.skipIf(!isAble)(
  `kills, cuts and full disks lose nothing silently and store nothing twice${need}`,
  async () => {
    // The seed of the day: over time CI sees many, and the one that fails is in the name of the directory.
    const seed = Math.floor(Date.now() / 86_400_000);
    const directory = mkdtempSync(join(tmpdir(), `tapline-chaos-${seed}-`));
    const { verdict, kills, timeline } = await chaosRun({
      seed,
      seconds: 12,
      directory,
      packetsPerSecond: 500,
    });
    const story = `seed ${seed}, ${directory}\n${timeline.join('\n')}`;
    expect(verdict, story).toMatchObject({ silent: [], twice: [], foreign: [], understated: 0 });
    expect(kills).toBeGreaterThan(0);
    expect(verdict.stored).toBeGreaterThan(0);
    expect(verdict.stored + verdict.reported).toBe(verdict.seen);
    rmSync(directory, { recursive: true, force: true });
  },
);
