/**
 * A host × five minutes out of an archive: `export` with indexes, without, and `tcpdump -r` over every file. Whole processes,
 * start-up included; the page cache is emptied before each where this runs as root.
 *
 *   node tests/bench/export.bench.ts [directory for files] [GiB of archive]
 */
import { spawn, spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { simulatePlant } from '@tapline/forwarder/src/simulate/simulate-plant.ts';
import { Archive } from '@tapline/shared/archive/archive.ts';
import { newKeeperCounters } from '@tapline/shared/keep/keeper-protocol.ts';
import { Shelver } from '@tapline/shared/keep/shelver.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { readU32, writeU32 } from '@tapline/shared/packet/record.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { projectRoot } from '../support/project.ts';

const GIB = 2 ** 30;
const START = 1_767_225_600;
const HOST = '10.1.1.10';
const ROUNDS = 3;
const directory = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'tapline-bench-'));
const wantedBytes = Number(process.argv[3] ?? 2) * GIB;
const indexed = join(directory, 'indexed');
const bare = join(directory, 'bare');

/** An hour of the plant, again and again, an hour later each time. */
async function build(): Promise<{ packets: number; hours: number }> {
  const hour = join(directory, 'hour.pcap');
  const file = await PcapFile.create(hour, { linkType: LINKTYPE_ETHERNET, precision: 'ns' });
  for (const batch of simulatePlant({
    seed: 1,
    startNs: BigInt(START) * 1_000_000_000n,
    durationMs: 3_600_000,
    cells: 18,
  }))
    await file.write(batch);
  await file.close();
  const archive = new Archive(
    { directory: indexed, linkType: 'ethernet', precision: 'ns', rules: [], bufferBytesMax: 256 * 2 ** 20 },
    { files: systemFiles, events: {} },
  );
  archive.open();
  let hours = 0;
  for (; archive.counters.bytesStored < wantedBytes; hours++)
    for await (const batch of (await openCapture(hour)).batches()) {
      const { bytes, byteLength } = batch;
      for (let at = 0; at < byteLength; at += 16 + readU32(bytes, at + 8))
        writeU32(bytes, at, readU32(bytes, at) + hours * 3600);
      archive.write(batch);
    }
  await archive.close();
  rmSync(hour);
  const counters = newKeeperCounters();
  const shelver = new Shelver('bench', counters);
  const place = { directory: indexed, sensor: 'bench', archive: '', interfaces: [], filter: '', split: 'source', compress: 'none', gapList: '' } as const; // prettier-ignore
  mkdirSync(bare);
  for (const name of readdirSync(indexed).filter((one) => one.endsWith('.pcap'))) {
    shelver.writeSidecar(place, await shelver.shelve(place, name, { isRecovered: false, dropped: {} }));
    linkSync(join(indexed, name), join(bare, name));
  }
  return { packets: archive.counters.packetsStored, hours };
}

function forgetPages(): boolean {
  try {
    spawnSync('sync');
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}

/** Seconds to the first packet and to the end. */
function timed(words: readonly string[]): Promise<{ first: number; all: number; bytes: number }> {
  forgetPages();
  return new Promise((resolve) => {
    const start = performance.now();
    const child = spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', 'pipe', 'ignore'] });
    let bytes = 0;
    let first = NaN;
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (Number.isNaN(first) && bytes > 24) first = (performance.now() - start) / 1000;
    });
    child.on('close', () => {
      resolve({ first, all: (performance.now() - start) / 1000, bytes });
    });
  });
}

try {
  const { packets, hours } = await build();
  const files = readdirSync(bare);
  const bytes = files.reduce((sum, name) => sum + statSync(join(bare, name)).size, 0);
  const indexBytes = readdirSync(indexed).filter((name) => name.endsWith('.idx')).reduce((sum, name) => sum + statSync(join(indexed, name)).size, 0); // prettier-ignore
  console.log(`${packets} packets, ${(bytes / GIB).toFixed(1)} GiB in ${files.length} segments of ${hours} hours; indexes ${((100 * indexBytes) / bytes).toFixed(2)} %; page cache ${forgetPages() ? 'emptied before each' : 'warm'}`); // prettier-ignore
  const from = new Date((START + Math.floor(hours / 2) * 3600 + 1800) * 1000).toISOString();
  const to = new Date(Date.parse(from) + 300_000).toISOString();
  const main = join(projectRoot, 'packages/forwarder/src/main.ts');
  const query = (archive: string) => [process.execPath, main, 'export', '-a', archive, '--host', HOST, '--from', from, '--to', to]; // prettier-ignore
  for (let round = 0; round < ROUNDS; round++) {
    const withIndex = await timed(query(indexed));
    const without = await timed(query(bare));
    const tcpdump = await timed(['sh', '-c', `for f in ${bare}/*.pcap; do tcpdump -nr "$f" -w - "host ${HOST} or (vlan and host ${HOST})" 2>/dev/null; done`]); // prettier-ignore
    console.log(
      `with index: first packet ${withIndex.first.toFixed(2)} s, all ${withIndex.all.toFixed(2)} s (${withIndex.bytes} bytes) · without: ${without.all.toFixed(2)} s · tcpdump -r of every file: ${tcpdump.all.toFixed(1)} s · ${(tcpdump.all / withIndex.all).toFixed(0)} × faster than tcpdump, ${(without.all / withIndex.all).toFixed(1)} × than without`,
    );
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
