import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  readFileSync,
  readdirSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  NEW_YEAR,
  batchOf,
  ipv4Frame,
  openArchive,
  packetsByName,
  readSegment,
  recordEvents,
  removeTemporaryDirectories,
  temporaryDirectory,
} from './archive-test-support.ts';
import { LOCK_NAME } from './directory-lock.ts';

afterEach(removeTemporaryDirectories);

const NAME = '10.0.0.1_20260101_00.pcap';
const frame = ipv4Frame('10.0.0.1', '10.0.0.2');
const RECORD_BYTES = 16 + frame.length;
/** Header, Ethernet, IP, and a payload of up to 499 × 3 bytes. */
const CHILD_RECORD_BYTES_MAX = 16 + 14 + 20 + 499 * 3;
const packets = (count: number, first = 0): ReturnType<typeof batchOf> =>
  batchOf(Array.from({ length: count }, (_, i) => ({ seconds: NEW_YEAR + first + i, frame })));

/** A closed archive with one segment of three packets, made to look as if its writer had been killed. */
async function crashedArchive(): Promise<{ directory: string; path: string }> {
  const directory = temporaryDirectory();
  const archive = openArchive(directory);
  archive.write(packets(3));
  await archive.close();
  writeFileSync(join(directory, LOCK_NAME), 'open 1\n');
  return { directory, path: join(directory, NAME) };
}

describe('after a crash', () => {
  it.each([1, 15, 16, 17, RECORD_BYTES - 1])(
    'a tail of %i bytes is cut off, and the next segment begun',
    async (tail) => {
      const { directory, path } = await crashedArchive();
      truncateSync(path, 24 + 2 * RECORD_BYTES + tail);
      const { events, log } = recordEvents();
      const archive = openArchive(directory, {}, { events });
      expect(archive.counters.repaired).toEqual({ files: 1, bytesCut: tail, filesSetAside: 0 });
      expect(log).toEqual([['segmentRepaired', { name: NAME, bytesCut: tail }]]);
      archive.write(packets(1, 9));
      await archive.close();
      expect(readSegment(path).records.map((r) => r.seconds - NEW_YEAR)).toEqual([0, 1]);
      expect(packetsByName(directory)).toMatchObject({ '10.0.0.1_20260101_00-2.pcap': 1 });
    },
  );

  it('zeros that a power cut left behind the records are cut off', async () => {
    const { directory, path } = await crashedArchive();
    appendFileSync(path, Buffer.alloc(3_000_001));
    const archive = openArchive(directory);
    expect(archive.counters.repaired).toEqual({ files: 1, bytesCut: 3_000_001, filesSetAside: 0 });
    await archive.close();
    expect(packetsByName(directory)).toEqual({ [NAME]: 3 });
  });

  it('a packet that is all zeros itself is not taken for what a power cut left', async () => {
    const directory = temporaryDirectory();
    const first = openArchive(directory);
    first.write(batchOf([{ seconds: 0, frame: Buffer.alloc(0) }]));
    first.write(batchOf([{ seconds: 5, frame: Buffer.alloc(3, 7) }]));
    await first.close();
    writeFileSync(join(directory, LOCK_NAME), 'open 1\n');
    const second = openArchive(directory);
    expect(second.counters.repaired.files).toBe(0);
    await second.close();
    expect(packetsByName(directory)).toEqual({ 'non-ip_19700101_00.pcap': 2 });
  });

  it('a segment whose first record is torn is no segment', async () => {
    const { directory, path } = await crashedArchive();
    truncateSync(path, 30);
    const archive = openArchive(directory);
    expect(existsSync(path)).toBe(false);
    await archive.close();
  });

  it('damage in the middle is set aside whole, and a new segment begun', async () => {
    const { directory, path } = await crashedArchive();
    const bytes = Buffer.concat([readFileSync(path), Buffer.alloc(100, 0xff), Buffer.alloc(100, 7)]);
    writeFileSync(path, bytes);
    const { events, log } = recordEvents();
    const archive = openArchive(directory, {}, { events });
    archive.write(packets(1));
    await archive.close();
    expect(readFileSync(`${path}.damaged`)).toEqual(bytes);
    expect(packetsByName(directory)).toEqual({ [NAME]: 1 });
    expect(log[0]).toEqual([
      'segmentSetAside',
      { name: NAME, movedTo: `${NAME}.damaged`, offset: 24 + 3 * RECORD_BYTES },
    ]);
  });

  it('files of others are not touched, torn or not', async () => {
    const { directory } = await crashedArchive();
    // A header with tcpdump's old snap length, and a torn record behind it; and an empty file.
    const header = Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex');
    const foreign = Buffer.concat([header, Buffer.alloc(17, 1)]);
    writeFileSync(join(directory, 'plc1_20260101_00.pcap'), foreign);
    writeFileSync(join(directory, 'plc2_20260101_00.pcap'), '');
    writeFileSync(join(directory, 'notes.txt'), 'x');
    const archive = openArchive(directory);
    expect(archive.counters.repaired.files).toBe(0);
    await archive.close();
    expect(readFileSync(join(directory, 'plc1_20260101_00.pcap'))).toEqual(foreign);
    expect(statSync(join(directory, 'plc2_20260101_00.pcap')).size).toBe(0);
  });

  it('only what was written shortly before is read; after a clean end nothing is', async () => {
    const { directory } = await crashedArchive();
    const torn = (name: string): string => {
      const path = join(directory, name);
      writeFileSync(path, readFileSync(join(directory, NAME)).subarray(0, 24 + RECORD_BYTES + 5));
      return path;
    };
    const old = torn('10.0.0.1_20251201_00.pcap');
    utimesSync(old, NEW_YEAR - 86_400, NEW_YEAR - 86_400);
    const late = torn('10.0.0.1_20251201_01.pcap');
    const first = openArchive(directory);
    expect(first.counters.repaired.files).toBe(1);
    expect(statSync(old).size).toBe(24 + RECORD_BYTES + 5);
    expect(statSync(late).size).toBe(24 + RECORD_BYTES);
    await first.close();
    const recent = torn('10.0.0.9_20260101_00.pcap');
    const second = openArchive(directory);
    expect(second.counters.repaired.files).toBe(0);
    await second.close();
    // Another boot: the power may have failed after the clean end.
    writeFileSync(join(directory, LOCK_NAME), 'closed 00000000-0000-0000-0000-000000000000\n');
    const third = openArchive(directory);
    expect(third.counters.repaired.files).toBe(1);
    expect(statSync(recent).size).toBe(24 + RECORD_BYTES);
    await third.close();
  });
});

describe('kill -9', () => {
  it('in the middle of writing leaves at most one torn record in all, and the next run repairs it and goes on', async () => {
    const directory = temporaryDirectory();
    const script = new URL('./archive-crash-child.ts', import.meta.url).pathname;
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = once(child, 'exit');
      await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, 40 + 37 * round));
      child.kill('SIGKILL');
      await ended;
      const names = readdirSync(directory).filter((name) => name.endsWith('.pcap'));
      expect(names.length).toBeGreaterThan(0);
      let torn = 0;
      for (const name of names)
        try {
          readSegment(join(directory, name));
        } catch {
          torn++;
        }
      expect(torn).toBeLessThanOrEqual(1);
      const archive = openArchive(directory);
      expect(archive.counters.repaired).toMatchObject({ files: torn, filesSetAside: 0 });
      expect(archive.counters.repaired.bytesCut).toBeLessThan(CHILD_RECORD_BYTES_MAX);
      const counts = packetsByName(directory);
      archive.write(
        batchOf(
          Array.from({ length: 5 }, (_, i) => ({
            seconds: NEW_YEAR,
            frame: ipv4Frame(`10.0.0.${i}`, '10.0.0.9'),
          })),
        ),
      );
      await archive.close();
      const after = packetsByName(directory);
      for (const [name, count] of Object.entries(counts)) expect(after[name]).toBe(count);
      expect(Object.keys(after)).toHaveLength(Object.keys(counts).length + 5);
    }
  });
});

describe('two archives on one directory', () => {
  it('are refused, within a process and across processes', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    expect(() => openArchive(directory)).toThrow(
      expect.objectContaining({
        code: 'ARCHIVE_FAILED',
        message: expect.stringContaining(`already being written by process ${process.pid}`) as string,
      }),
    );
    const script = new URL('./archive-crash-child.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'ignore', 'pipe'] });
    const text: Buffer[] = [];
    child.stderr.on('data', (chunk: Buffer) => text.push(chunk));
    const [code] = (await once(child, 'close')) as [number];
    expect(code).not.toBe(0);
    expect(Buffer.concat(text).toString()).toContain(`already being written by process ${process.pid}`);
    await archive.close();
    await openArchive(directory).close();
  });
});

describe('recovery to a checkpoint', () => {
  it('cuts back what was appended after it, and removes what was created after it', async () => {
    const directory = temporaryDirectory();
    const checkpoint = new Map<string, number>();
    const first = openArchive(
      directory,
      {},
      {
        events: {
          segmentOpened: ({ name, bytes }) => {
            if (!checkpoint.has(name)) checkpoint.set(name, bytes);
          },
        },
      },
    );
    const late = batchOf([{ seconds: NEW_YEAR - 3600, frame }]);
    first.write(late);
    await first.sync();
    expect(first.positions()).toEqual([{ name: '10.0.0.1_20251231_23.pcap', bytes: 24 + RECORD_BYTES }]);
    first.rotate();
    // The old segment leaves the checkpoint; a late packet will get one of its own.
    checkpoint.clear();
    first.write(packets(3));
    await first.sync();
    for (const { name, bytes } of first.positions()) checkpoint.set(name, bytes);
    first.write(packets(2, 5));
    first.write(late);
    first.write(batchOf([{ seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.3', '10.0.0.2') }]));
    first.flush();
    expect(Object.keys(packetsByName(directory))).toHaveLength(4);
    await first.close();

    const second = openArchive(directory);
    const listed = [...checkpoint].map(([name, bytes]) => ({ name, bytes }));
    const report = second.truncateTo([
      ...listed,
      { name: 'gone_20260101_00.pcap', bytes: 99 },
      { name: '../outside_20260101_00.pcap', bytes: 0 },
      { name: LOCK_NAME, bytes: 0 },
    ]);
    expect(report).toEqual({
      filesCut: 1,
      filesRemoved: 2,
      bytesCut: 2 * RECORD_BYTES + 2 * (24 + RECORD_BYTES),
      missing: ['gone_20260101_00.pcap'],
      short: [],
    });
    second.write(packets(2));
    await second.close();
    expect(packetsByName(directory)).toEqual({
      [NAME]: 3,
      '10.0.0.1_20260101_00-2.pcap': 2,
      '10.0.0.1_20251231_23.pcap': 1,
    });
  });

  it('says when the disk lost what it had promised', async () => {
    const { directory } = await crashedArchive();
    const archive = openArchive(directory);
    expect(archive.truncateTo([{ name: NAME, bytes: 10_000 }]).short).toEqual([NAME]);
    await archive.close();
  });
});
