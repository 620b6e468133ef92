/** What `npm start` runs, as a user runs it: over the plant, over a capture, over what is none. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { projectRoot } from '../support/project.ts';
import type { Run } from './summary.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-start-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

function start(...words: string[]) {
  const script = join(projectRoot, 'tests/end-to-end/first-light.ts');
  return spawnSync(process.execPath, [script, '-o', join(directory, 'out'), ...words], { encoding: 'utf8' });
}

it('the simulated plant goes the whole way, and the books balance on both disks', () => {
  const result = start('--json', '--duration', '1m');
  expect(result.status, result.stderr).toBe(0);
  const run = JSON.parse(result.stdout) as Run;
  expect(run.packetsTotal).toBeGreaterThan(1000);
  for (const packets of [
    run.edgePackets,
    run.socPackets,
    run.forwarder.capture.packets,
    run.forwarder.uplink?.acknowledgedPackets,
  ])
    expect(packets).toBe(run.packetsTotal);
  expect(run.sources.length).toBeGreaterThan(20);
  for (const source of run.sources) expect(source.socPackets, source.prefix).toBe(source.edgePackets);
  expect(existsSync(join(directory, 'out/plant-labels.csv'))).toBe(true);
});

it('a capture is replayed, and the summary names the file to open', () => {
  const plant = join(directory, 'out/plant.pcap');
  const result = start(plant, '--compression', 'lz4');
  expect(result.status, result.stderr).toBe(0);
  expect(result.stdout).toContain('✓ the books balance to the packet');
  const file = /tshark -r (\S+) \| head/.exec(result.stdout)?.[1] ?? '';
  expect(spawnSync('tshark', ['-r', file, '-c', '5'], { cwd: process.cwd() }).status).toBe(0);
});

it('what is no capture, no file or no option is said in a sentence', () => {
  const none = join(directory, 'none.pcap');
  writeFileSync(none, 'hello, this is a text, and a long one');
  expect(start(none)).toMatchObject({ status: 7, stderr: expect.stringContaining('PCAP magic') as string });
  expect(start(join(directory, 'missing.pcap'))).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('no such file') as string,
  });
  expect(start('--nonsense')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('npm start') as string,
  });
});
