/**
 * Labelled captures of the simulated plant, as `tapline-analyzer train` and `evaluate` read them: ordinary days, and days with one kind of attack each.
 *
 *   node tests/simulation/labelled-plant.ts DIRECTORY
 *
 * The same bytes every time; the shipped models are trained with these beside real captures.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../support/project.ts';

const FORWARDER = join(projectRoot, 'packages/forwarder/src/main.ts');
const ATTACKS = ['scan', 'brute-force', 'modbus-write', 'ransomware', 'udp-flood', 'syn-flood'];
const BENIGN_DAYS = 4;
const TESTBED = 'simulated plant';

/** Writes captures, MANIFEST.tsv, LABELS.tsv and the packets of each attack. */
export function writeLabelledPlant(directory: string): void {
  mkdirSync(directory, { recursive: true });
  const manifest = ['path\tsha256\tlabel\torigin_repo'];
  const labels = ['path\tclass\tattack_type\trule_machine\tpacket_label_file'];
  for (let day = 0; day < BENIGN_DAYS; day++) {
    const name = `plant-${day}.pcap`;
    simulate(directory, name, ['--seed', String(100 + day), '--cells', String(1 + (day % 2))]);
    manifest.push(`${name}\t${sha256(join(directory, name))}\tbenign\t${TESTBED}`);
  }
  ATTACKS.forEach((attack, index) => {
    const name = `plant-${attack}.pcap`;
    simulate(directory, name, ['--seed', String(200 + index), '--cells', '1', '--attack', attack, '--labels', join(directory, `${attack}.csv`)]); // prettier-ignore
    writeFileSync(
      join(directory, `${attack}.attack-ranges.csv`),
      packetRanges(join(directory, `${attack}.csv`)),
    );
    manifest.push(`${name}\t${sha256(join(directory, name))}\tattack:${attack}\t${TESTBED}`);
    labels.push(`${name}\tmixed\t${attack}\t\t${attack}.attack-ranges.csv`);
  });
  writeFileSync(join(directory, 'MANIFEST.tsv'), `${manifest.join('\n')}\n`);
  writeFileSync(join(directory, 'LABELS.tsv'), `${labels.map((line) => (line.startsWith('path') ? `${line}\tattack_packets` : `${line}\t1`)).join('\n')}\n`); // prettier-ignore
}

function simulate(directory: string, name: string, options: readonly string[]): void {
  execFileSync(process.execPath, [FORWARDER, 'simulate', '-o', join(directory, name), '--duration', '6m', ...options], { stdio: 'ignore' }); // prettier-ignore
}

/** `first,last` of every range in the labels' last column. */
function packetRanges(path: string): string {
  const ranges = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .flatMap((line) => (line.split(',').at(-1) ?? '').split(' '))
    .map((range) => (range.includes('-') ? range.split('-') : [range, range]).map(Number) as [number, number])
    .sort(([a], [b]) => a - b);
  return `first_packet,last_packet\n${ranges.map(([first, last]) => `${first},${last}\n`).join('')}`;
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

const [, script, directory] = process.argv;
if (script === import.meta.filename && directory !== undefined) writeLabelledPlant(directory);
