/**
 * What storing a packet costs: `node tests/bench/archive.bench.ts [directory]`.
 *
 * For 1, 200 and 10,000 sources it makes a nanosecond capture of mixed frame sizes, then measures in turn, each three
 * times, and prints the best:
 *
 *   route     routing and copying alone, into files that swallow everything      ns/packet
 *   split     reading the capture and storing it, one file per source            ns/packet, and beside tcpdump
 *   raw       the same as LINKTYPE_RAW with microseconds: every record rewritten  ns/packet, and beside tcpdump
 *   tcpdump   `tcpdump -r X -w Y`, which splits nothing                           ns/packet
 *
 * The directory (default: the system's temporary one) is where all of them write. Machines drift: compare ratios only.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Archive } from '@tapline/shared/archive/archive.ts';
import type { ArchiveOptions } from '@tapline/shared/archive/archive-options.ts';
import { BATCH_BYTES_MAX, BatchBuilder } from '@tapline/shared/packet/batch.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { readU32 } from '@tapline/shared/packet/record.ts';
import { encodeFileHeader } from '@tapline/shared/pcap/pcap-writer.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import type { Files } from '@tapline/shared/system/files.ts';

const RUNS = 3;
const PACKETS = 1_000_000;
const SOURCES = [1, 200, 10_000];
/** Polls and answers, some full frames: 272 bytes on average, about what OT networks with an office side carry. */
const FRAME_BYTES = [64, 66, 78, 90, 60, 64, 254, 1500];

/** The disk that swallows everything: what is left is ours. */
const voidFiles: Files = {
  ...systemFiles,
  list: () => [],
  makeDirectory: () => undefined,
  exists: () => false,
  status: () => null,
  create: () => 0,
  open: () => 0,
  byteLength: () => 0,
  read: () => 0,
  write: (_descriptor, _bytes, _offset, byteCount) => byteCount,
  truncate: () => undefined,
  close: () => undefined,
  remove: () => undefined,
  publish: () => true,
  rename: () => undefined,
  lock: () => 0,
};

/** Sources take turns in an order that no prefetcher knows; the same with every run. */
function writeCapture(path: string, sources: number): void {
  const descriptor = openSync(path, 'w');
  writeSync(descriptor, encodeFileHeader({ linkType: LINKTYPE_ETHERNET, precision: 'ns' }));
  const builder = new BatchBuilder(LINKTYPE_ETHERNET);
  const frame = new Uint8Array(1514);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45]);
  let state = 1;
  for (let i = 0; i < PACKETS; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const source = (state >>> 8) % sources;
    const length = FRAME_BYTES[(state >>> 5) % FRAME_BYTES.length] as number;
    frame.set([(length - 14) >> 8, (length - 14) & 255], 16);
    frame.set([10, 1, source >> 8, source & 255, 10, 2, 0, 1], 26);
    if (!builder.hasRoom(length)) {
      writeSync(descriptor, builder.bytes, 0, builder.byteLength);
      builder.reset();
    }
    builder.append(1_767_225_600 + Math.floor(i / 1000), (i % 1000) * 1_000_000, length, frame, 0, length);
  }
  writeSync(descriptor, builder.bytes, 0, builder.byteLength);
  closeSync(descriptor);
}

/** Reads a capture as written above, batch by batch. The plainest reader there is: the archive is what is measured. */
function readCapture(path: string, use: (bytes: Uint8Array, byteLength: number) => void): void {
  const descriptor = openSync(path, 'r');
  const bytes = new Uint8Array(BATCH_BYTES_MAX);
  let position = 24;
  for (;;) {
    const byteLength = readSync(descriptor, bytes, 0, bytes.length, position);
    let end = 0;
    while (end + 16 <= byteLength && end + 16 + readU32(bytes, end + 8) <= byteLength)
      end += 16 + readU32(bytes, end + 8);
    if (end === 0) break;
    use(bytes, end);
    position += end;
  }
  closeSync(descriptor);
}

/** Nanoseconds per packet of the best of RUNS; each run finds no output of the one before. */
async function best(run: () => void | Promise<void>): Promise<number> {
  let nanoseconds = Infinity;
  for (let i = 0; i < RUNS; i++) {
    rmSync(output, { recursive: true, force: true });
    const start = process.hrtime.bigint();
    await run();
    nanoseconds = Math.min(nanoseconds, Number(process.hrtime.bigint() - start));
  }
  return nanoseconds / PACKETS;
}

function batch(bytes: Uint8Array, byteLength: number): Parameters<Archive['write']>[0] {
  return { bytes, byteLength, packetCount: 0, linkType: LINKTYPE_ETHERNET, interfaceId: 0 };
}

async function split(
  capture: string,
  directory: string,
  options: Pick<ArchiveOptions, 'linkType' | 'precision'>,
): Promise<void> {
  const archive = new Archive({ directory, rules: [], ...options }, { files: systemFiles, events: {} });
  archive.open();
  readCapture(capture, (bytes, byteLength) => {
    archive.write(batch(bytes, byteLength));
  });
  await archive.close();
  if (archive.counters.packetsStored !== PACKETS) throw new Error('the archive lost packets');
}

const work = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'tapline-bench-'));
const capture = join(work, 'in.pcap');
const output = join(work, 'out');
const show = (nanoseconds: number, beside?: number): string =>
  `${nanoseconds.toFixed(0)} ns/packet${beside === undefined ? '' : ` = ${(beside / nanoseconds).toFixed(2)} × tcpdump`}`;
try {
  for (const sources of SOURCES) {
    writeCapture(capture, sources);
    const megabytes = (statSync(capture).size / 1e6).toFixed(0);
    console.log(`${sources} sources, ${PACKETS} packets, ${megabytes} MB`);

    const batches: Parameters<Archive['write']>[0][] = [];
    readCapture(capture, (bytes, byteLength) => batches.push(batch(bytes.slice(0, byteLength), byteLength)));
    const idle = new Archive(
      { directory: output, linkType: 'ethernet', precision: 'ns', rules: [] },
      { files: voidFiles, events: {} },
    );
    idle.open();
    const route = await best(() => {
      for (const one of batches) idle.write(one);
    });
    await idle.close();

    const tcpdump = await best(() => {
      const { status } = spawnSync('tcpdump', [
        '--nano',
        ...['-r', capture, '-w', output],
        ...(process.getuid?.() === 0 ? ['-Z', 'root'] : []),
      ]);
      if (status !== 0) throw new Error('tcpdump failed');
    });
    const whole = await best(() => split(capture, output, { linkType: 'ethernet', precision: 'ns' }));
    const raw = await best(() => split(capture, output, { linkType: 'raw', precision: 'us' }));
    console.log(`  route    ${show(route)}`);
    console.log(`  split    ${show(whole, tcpdump)}`);
    console.log(`  raw      ${show(raw, tcpdump)}`);
    console.log(`  tcpdump  ${show(tcpdump)}`);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
