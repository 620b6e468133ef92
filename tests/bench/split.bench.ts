/**
 * `tapline-forwarder split` beside `tcpdump -r X -w Y`, which copies the same file without splitting it. Whole processes,
 * start-up included, in turn; prints the ratio of their speeds for each pair.
 *
 *   node tests/bench/split.bench.ts [directory for files] [MiB of capture]
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { simulatePlant } from '@tapline/forwarder/src/simulate/simulate-plant.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { projectRoot } from '../support/project.ts';

const PAIRS = 5;
const MIB = 2 ** 20;
/** 11 sources a cell: about 200 sources. */
const CELLS = 18;

const directory = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'tapline-bench-'));
const wantedBytes = Number(process.argv[3] ?? 500) * MIB;

async function makeCapture(file: string): Promise<number> {
  const capture = await PcapFile.create(file, { linkType: LINKTYPE_ETHERNET, precision: 'ns' });
  let bytes = 0;
  let packets = 0;
  // The plant repeats nothing; the hour it starts in is crossed, as in any capture of that size.
  for (const batch of simulatePlant({
    seed: 1,
    startNs: 1_767_225_600_000_000_000n,
    durationMs: 24 * 3_600_000,
    cells: CELLS,
  })) {
    await capture.write(batch);
    packets += batch.packetCount;
    bytes += batch.byteLength;
    if (bytes >= wantedBytes) break;
  }
  await capture.close();
  return packets;
}

function seconds(program: string, words: readonly string[]): number {
  const start = performance.now();
  execFileSync(program, words, { stdio: 'ignore' });
  return (performance.now() - start) / 1000;
}

try {
  const file = join(directory, 'capture.pcap');
  const packets = await makeCapture(file);
  const bytes = statSync(file).size;
  console.log(
    `${packets} packets, ${(bytes / MIB).toFixed(0)} MiB; speed relative to tcpdump -r X -w Y, ${PAIRS} pairs`,
  );
  const ratios: number[] = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    const output = join(directory, 'split');
    const copy = join(directory, 'copy.pcap');
    const theirs = seconds('tcpdump', ['-r', file, '-w', copy, '--nano', '-Z', 'root']);
    const ours = seconds(process.execPath, [
      join(projectRoot, 'packages/forwarder/src/main.ts'),
      'split',
      '-o',
      output,
      file,
    ]);
    ratios.push(theirs / ours);
    console.log(
      `  tcpdump ${theirs.toFixed(2)} s   split ${ours.toFixed(2)} s   ${(theirs / ours).toFixed(2)} ×   ${(packets / ours / 1e6).toFixed(2)} M packets/s`,
    );
    rmSync(output, { recursive: true });
    rmSync(copy);
  }
  ratios.sort((a, b) => a - b);
  console.log(`median ${(ratios[Math.floor(PAIRS / 2)] ?? 0).toFixed(2)} × (goal: 0.7 ×)`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
