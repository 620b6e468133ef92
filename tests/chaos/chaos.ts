/**
 * `npm run chaos -- --minutes 10 --seed 7`: chaos runs until the time is over, each with a seed of its own. Prints a line per
 * run; a run that fails keeps its directory and shows its timeline. The same seed draws the same accidents again.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chaosRun } from './chaos-run.ts';
import { isClean } from './oracle.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '45' },
    rate: { type: 'string', default: '1000' },
  },
});

const endMs = performance.now() + Number(values.minutes) * 60_000;
let seed = Number(values.seed);
let kills = 0;
let runs = 0;
let failures = 0;
do {
  const directory = mkdtempSync(join(tmpdir(), `tapline-chaos-${String(seed)}-`));
  const result = await chaosRun({
    seed,
    seconds: Number(values.seconds),
    directory,
    packetsPerSecond: Number(values.rate),
  });
  const { verdict } = result;
  runs++;
  kills += result.kills;
  console.log(
    `seed ${String(seed)}: ${String(result.kills)} kills, ${String(verdict.seen)} packets seen, ${String(verdict.stored)} stored, ${String(verdict.reported)} in reported gaps, ${String(verdict.silent.length)} lost silently, ${String(verdict.twice.length)} twice, ${String(verdict.foreign.length)} foreign, ${String(verdict.understated)} understated`,
  );
  if (isClean(verdict)) rmSync(directory, { recursive: true, force: true });
  else {
    failures++;
    console.log(`FAILED, kept in ${directory}; silent: ${verdict.silent.slice(0, 20).join(' ')}; twice: ${verdict.twice.slice(0, 20).join(' ')}`); // prettier-ignore
    console.log(result.timeline.join('\n'));
  }
  seed++;
} while (performance.now() < endMs);
console.log(`${String(runs)} runs, ${String(kills)} kills, ${String(failures)} failed`);
process.exitCode = failures > 0 ? 1 : 0;
