import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { singleArchive } from '@tapline/shared/archive/archive-set.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { systemFiles, type Files } from '@tapline/shared/system/files.ts';
import { numberedBatch } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { GAP_LIST_NAME, type GapEntry } from './gap-list.ts';
import { RESUME_NAME, ResumePointFile } from './resume-point.ts';
import { ArchiveStore, type ArchiveStoreEvents } from './sensor-store.ts';

const EPOCH = '0123456789abcdef';
const SEGMENT = '02-00-00-00-00-02_20260101_00.pcap';
const RECORD_BYTES = 16 + 60;

const directories: string[] = [];
const stores: ArchiveStore[] = [];
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
});

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-store-'));
  directories.push(directory);
  return directory;
}

async function openStore(
  directory: string,
  events: ArchiveStoreEvents = {},
  files: Files = systemFiles,
): Promise<ArchiveStore> {
  const store = await ArchiveStore.open(
    { directory },
    {
      files,
      events,
      createArchives: (archiveEvents) =>
        singleArchive(
          { directory, linkType: 'ethernet', precision: 'ns', rules: [] },
          { files, events: archiveEvents },
        ),
    },
  );
  stores.push(store);
  return store;
}

function mark(sequence: number): { epoch: string; sequence: number }[] {
  return [{ epoch: EPOCH, sequence }];
}

function gap(packets: number): GapEntry {
  return {
    receivedAtMs: 1,
    epoch: EPOCH,
    sequences: [1, 1],
    packets,
    bytes: 60,
    fromNs: '1',
    toNs: '2',
    reason: 'queue-full',
  };
}

function packetsIn(directory: string, name = SEGMENT): number {
  return (statSync(join(directory, name)).size - 24) / RECORD_BYTES;
}

/** Everything with the kernel and nothing committed: what a kill leaves. The lock goes with the archive's close. */
async function kill(store: ArchiveStore): Promise<void> {
  store.archives.flush();
  await store.close();
}

describe('a store after a crash', () => {
  it('holds what was committed and knows its marks', async () => {
    const directory = temporaryDirectory();
    const first = await openStore(directory);
    expect(first.marks).toEqual([]);
    first.write(numberedBatch(1, 10));
    await first.commit(mark(1));
    first.write(numberedBatch(11, 5));
    first.writeGap(gap(3));
    await kill(first);
    expect(packetsIn(directory)).toBe(15);

    const cuts: number[] = [];
    const second = await openStore(directory, { cutBack: ({ bytesCut }) => cuts.push(bytesCut) });
    expect(second.marks).toEqual(mark(1));
    expect(cuts).toEqual([5 * RECORD_BYTES]);
    expect(packetsIn(directory)).toBe(10);
    second.write(numberedBatch(11, 5));
    await second.commit(mark(2));
    expect(packetsIn(directory)).toBe(10);
    expect(packetsIn(directory, SEGMENT.replace('.pcap', '-2.pcap'))).toBe(5);
  });

  it('has forgotten a segment that was created after the last commit, and one that never had a commit', async () => {
    const directory = temporaryDirectory();
    const first = await openStore(directory);
    first.write(numberedBatch(1, 10));
    await kill(first);
    const second = await openStore(directory);
    expect(readdirSync(directory).filter((name) => name.endsWith('.pcap'))).toEqual([]);
    await second.commit(mark(0));
    second.write(numberedBatch(1, 10));
    await second.commit(mark(1));
    second.write(numberedBatch(4_000_000, 10));
    await kill(second);
    expect(readdirSync(directory).filter((name) => name.endsWith('.pcap'))).toHaveLength(2);
    await openStore(directory);
    expect(readdirSync(directory).filter((name) => name.endsWith('.pcap'))).toEqual([SEGMENT]);
  });

  it('has forgotten the late segment that was begun after the last commit', async () => {
    const directory = temporaryDirectory();
    const first = await openStore(directory);
    first.write(numberedBatch(1, 10));
    first.archives.rotate();
    await first.commit(mark(1));
    // Closed and committed: no longer in the resume point.
    expect(readFileSync(join(directory, RESUME_NAME), 'utf8')).toContain(SEGMENT);
    first.write(numberedBatch(4_000_000, 1));
    await first.commit(mark(2));
    expect(readFileSync(join(directory, RESUME_NAME), 'utf8')).not.toContain(SEGMENT);
    first.write(numberedBatch(11, 4));
    await kill(first);
    expect(packetsIn(directory)).toBe(10);
    const late = SEGMENT.replace('.pcap', '-late.pcap');
    expect(packetsIn(directory, late)).toBe(4);
    await openStore(directory);
    expect(packetsIn(directory)).toBe(10);
    expect(existsSync(join(directory, late))).toBe(false);
  });

  it('has each gap once', async () => {
    const directory = temporaryDirectory();
    const first = await openStore(directory);
    first.writeGap(gap(1));
    await first.commit(mark(1));
    first.writeGap(gap(2));
    await kill(first);
    const second = await openStore(directory);
    second.writeGap(gap(2));
    await second.commit(mark(2));
    const lines = readFileSync(join(directory, GAP_LIST_NAME), 'utf8').trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as GapEntry).packets)).toEqual([1, 2]);
  });

  it('does not cut what retention made shorter or took away, ever after', async () => {
    const directory = temporaryDirectory();
    const first = await openStore(directory);
    first.write(numberedBatch(1, 10));
    await first.commit(mark(1));
    await kill(first);
    unlinkSync(join(directory, SEGMENT));
    const missing: string[][] = [];
    const second = await openStore(directory, { cutBack: (report) => missing.push(report.missing) });
    expect(missing).toEqual([[SEGMENT]]);
    second.write(numberedBatch(1, 30));
    await second.commit(mark(2));
    await kill(second);
    await openStore(directory);
    expect(packetsIn(directory)).toBe(30);
  });

  it('refuses to guess when its resume point is damaged', async () => {
    const directory = temporaryDirectory();
    const first = await openStore(directory);
    await first.commit(mark(1));
    await first.close();
    writeFileSync(join(directory, RESUME_NAME), '{"version":1');
    await expect(openStore(directory)).rejects.toThrow(OperatingError);
    // And lets go of the directory, so that a repaired one can be opened.
    writeFileSync(
      join(directory, RESUME_NAME),
      '{"version":1,"generation":9,"epochs":[],"positions":[],"gapBytes":0}',
    );
    expect((await openStore(directory)).marks).toEqual([]);
  });
});

describe('a commit that the disk refuses', () => {
  it('rejects, and the next one that succeeds covers its packets too', async () => {
    const directory = temporaryDirectory();
    let isFull = false;
    const files: Files = {
      ...systemFiles,
      rename: (from, to) => {
        if (isFull) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
        systemFiles.rename(from, to);
      },
    };
    const first = await openStore(directory, {}, files);
    first.write(numberedBatch(1, 10));
    await first.commit(mark(1));
    isFull = true;
    first.write(numberedBatch(11, 10));
    await expect(first.commit(mark(2))).rejects.toThrow('no space');
    expect(first.marks).toEqual(mark(1));
    isFull = false;
    first.write(numberedBatch(21, 10));
    await first.commit(mark(3));
    first.write(numberedBatch(31, 10));
    await kill(first);
    expect((await openStore(directory)).marks).toEqual(mark(3));
    expect(packetsIn(directory)).toBe(30);
  });
});

describe('the journal of opened segments', () => {
  it('loses nothing to a torn last line, and never meets a newer resume point', async () => {
    const directory = temporaryDirectory();
    const file = new ResumePointFile(systemFiles, directory);
    file.noteOpened('a_20260101_00.pcap', 100);
    file.close();
    writeFileSync(join(directory, '.tapline-opened.0'), '["a_20260101_00.pcap",100]\n["b_2026');
    const second = new ResumePointFile(systemFiles, directory);
    second.load();
    second.noteOpened('b_20260101_00.pcap', 24);
    second.close();
    expect(new ResumePointFile(systemFiles, directory).load()?.positions).toHaveLength(2);
    rmSync(join(directory, '.tapline-opened.1'));
    expect(second.load()?.positions).toEqual([{ name: 'a_20260101_00.pcap', bytes: 100 }]);
    await second.save({ epochs: mark(5), positions: [], gapBytes: 7 });
    second.close();
    expect(readdirSync(directory)).toEqual([RESUME_NAME]);
    expect(new ResumePointFile(systemFiles, directory).load()).toEqual({
      epochs: mark(5),
      positions: [],
      gapBytes: 7,
    });
  });
});
