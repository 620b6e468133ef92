/** Files of an archive: when they appear, what they are called, how many may be open. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ManualClock,
  NEW_YEAR,
  UnreliableFiles,
  batchOf,
  ethernet,
  imbalance,
  ipv4Frame,
  ipv4Packet,
  ipv6Packet,
  openArchive,
  packetsByName,
  readSegment,
  recordEvents,
  removeTemporaryDirectories,
  temporaryDirectory,
} from './archive-test-support.ts';

afterEach(removeTemporaryDirectories);

const HOUR = 3600;
const LINK_LOCAL = 'fe800000000000000000000000000001';
const MULTICAST6 = 'ff020000000000000000000000000001';

describe('files', () => {
  it('of an earlier run are never appended to: a closed segment stays what it is', async () => {
    const directory = temporaryDirectory();
    const frame = ipv4Frame('10.0.0.1', '10.0.0.2');
    for (let run = 0; run < 3; run++) {
      const archive = openArchive(directory);
      archive.write(batchOf([{ seconds: NEW_YEAR + run, frame }]));
      await archive.close();
      expect(archive.counters.repaired).toEqual({ files: 0, bytesCut: 0, filesSetAside: 0 });
    }
    expect(packetsByName(directory)).toEqual({
      '10.0.0.1_20260101_00.pcap': 1,
      '10.0.0.1_20260101_00-2.pcap': 1,
      '10.0.0.1_20260101_00-3.pcap': 1,
    });
  });

  it('of another precision, link type or maker are left alone, and the next name is taken', async () => {
    const directory = temporaryDirectory();
    const frame = ipv4Frame('10.0.0.1', '10.0.0.2');
    const write = async (options: Parameters<typeof openArchive>[1]): Promise<void> => {
      const archive = openArchive(directory, options);
      archive.write(batchOf([{ seconds: NEW_YEAR, frame }]));
      archive.write(batchOf([{ seconds: NEW_YEAR, frame }]));
      await archive.close();
    };
    writeFileSync(
      join(directory, '10.0.0.1_20260101_00.pcap'),
      'somebody wrote this, and it is no PCAP file',
    );
    await write({ precision: 'ns' });
    await write({ precision: 'us' });
    // Its packets are gone; its name is not.
    writeFileSync(join(directory, '10.0.0.1_20260101_00-4.json'), '{}');
    await write({ linkType: 'raw' });
    expect(readFileSync(join(directory, '10.0.0.1_20260101_00.pcap'), 'utf8')).toMatch(/^somebody/);
    const shape = (name: string): unknown => {
      const { records, linkType, precision } = readSegment(join(directory, name));
      return [records.length, linkType, precision];
    };
    expect(shape('10.0.0.1_20260101_00-2.pcap')).toEqual([2, 1, 'ns']);
    expect(shape('10.0.0.1_20260101_00-3.pcap')).toEqual([2, 1, 'us']);
    expect(shape('10.0.0.1_20260101_00-5.pcap')).toEqual([2, 101, 'ns']);
  });

  it('that are moved away between two rotations are begun anew', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    const name = join(directory, '10.0.0.1_20260101_00.pcap');
    const batch = batchOf([{ seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.1', '10.0.0.2') }]);
    archive.write(batch);
    archive.rotate();
    expect(readSegment(name).records).toHaveLength(1);
    renameSync(name, join(directory, 'moved'));
    archive.write(batch);
    archive.write(batch);
    await archive.close();
    expect(readSegment(name).records).toHaveLength(2);
    expect(readSegment(join(directory, 'moved')).records).toHaveLength(1);
  });

  it('appear within the flush interval, whole, and never empty', async () => {
    const directory = temporaryDirectory();
    const clock = new ManualClock();
    const archive = openArchive(directory, { flushIntervalMs: 400 }, { clock });
    archive.write(batchOf([{ seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.1', '10.0.0.2') }]));
    expect(readdirSync(directory).filter((name) => name.endsWith('.pcap'))).toEqual([]);
    expect(archive.counters.packetsBuffered).toBe(1);
    // The timer's four ticks of one interval.
    for (let tick = 0; tick < 4; tick++) {
      clock.pass(100);
      archive.tick();
    }
    expect(packetsByName(directory)).toEqual({ '10.0.0.1_20260101_00.pcap': 1 });
    expect(archive.counters.packetsBuffered).toBe(0);
    await archive.close();
  });

  it('of three thousand sources need no more descriptors than allowed', async () => {
    const directory = temporaryDirectory();
    const disk = new UnreliableFiles();
    const clock = new ManualClock();
    const archive = openArchive(directory, { openFilesMax: 16 }, { files: disk.files, clock });
    const packets = Array.from({ length: 3000 }, (_, i) => ({
      seconds: NEW_YEAR + 1,
      frame: ipv4Frame(`10.1.${i >> 8}.${i & 255}`, '10.0.0.1'),
    }));
    for (let round = 0; round < 3; round++) {
      archive.write(batchOf(packets));
      clock.pass(1000);
      archive.tick();
      expect(archive.counters.packetsBuffered).toBe(0);
      expect(imbalance(archive)).toBe(0);
    }
    // The lock's and 16 segments'.
    expect(disk.openDescriptorsMax).toBe(17);
    expect(archive.sources()).toHaveLength(3000);
    await archive.close();
    expect(disk.openDescriptors).toBe(0);
    const counts = Object.values(packetsByName(directory));
    expect(counts).toHaveLength(3000);
    expect(counts.every((count) => count === 3)).toBe(true);
  });

  it('are written early when the memory for packets is used up', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory, { bufferBytesMax: 64 * 1024 });
    const payload = Buffer.alloc(1400);
    const packets = Array.from({ length: 300 }, (_, i) => ({
      seconds: NEW_YEAR,
      frame: ethernet(0x0800, ipv4Packet(`10.0.0.${i % 100}`, '10.0.1.1', payload)),
    }));
    archive.write(batchOf(packets));
    archive.write(batchOf([{ seconds: NEW_YEAR, frame: Buffer.alloc(200_000) }]));
    expect(archive.counters.packetsStored).toBeGreaterThan(0);
    expect(imbalance(archive)).toBe(0);
    await archive.close();
    expect(archive.counters.packetsStored).toBe(301);
    expect(Object.values(packetsByName(directory)).reduce((a, b) => a + b)).toBe(301);
  });

  it('beyond sourcesMax in an hour are one overflow file for each kind, said once, and the next hour starts anew', async () => {
    const directory = temporaryDirectory();
    const clock = new ManualClock();
    const { events, log } = recordEvents();
    const archive = openArchive(directory, { sourcesMax: 10 }, { clock, events });
    const burst = (seconds: number, first: number): void => {
      archive.write(
        batchOf([
          ...Array.from({ length: 50 }, (_, i) => ({
            seconds,
            frame: ipv4Frame(`10.0.${first}.${i}`, '10.0.0.1'),
          })),
          { seconds, frame: ethernet(0x88b8, Buffer.alloc(46)) },
        ]),
      );
    };
    burst(NEW_YEAR, 1);
    burst(NEW_YEAR, 1);
    clock.pass(10_000);
    archive.tick();
    burst(NEW_YEAR + HOUR, 2);
    clock.pass(10_000);
    archive.tick();
    burst(NEW_YEAR + HOUR + 1, 2);
    expect(imbalance(archive)).toBe(0);
    await archive.close();
    const counts = packetsByName(directory);
    expect(counts['overflow_20260101_00.pcap']).toBe(80);
    expect(counts['overflow-non-ip_20260101_00.pcap']).toBe(2);
    // The first burst of the new hour finds the old hour's sources still there; the second finds them gone.
    expect(counts['overflow_20260101_01.pcap']).toBe(90);
    expect(counts['10.0.2.9_20260101_01.pcap']).toBe(1);
    expect(archive.counters.packetsOverflowed).toBe(80 + 2 + 90 + 2);
    expect(log.filter(([name]) => name === 'sourcesExhausted')).toHaveLength(2);
    const sum = archive.sources().reduce((packets, source) => packets + source.packets, 0);
    expect(sum).toBe(4 * 51);
  });

  it('beyond sourcesMax count every packet, and a rotation within the hour lets nobody in', async () => {
    const directory = temporaryDirectory();
    const clock = new ManualClock();
    const archive = openArchive(directory, { sourcesMax: 2 }, { clock });
    const write = (...sources: number[]): void => {
      archive.write(
        batchOf(sources.map((n) => ({ seconds: NEW_YEAR, frame: ipv4Frame(`10.0.0.${n}`, '10.0.0.9') }))),
      );
    };
    write(1, 2, 3, 3, 3, 1);
    clock.pass(10_000);
    archive.rotate();
    archive.tick();
    write(4, 4, 2);
    await archive.close();
    expect(archive.counters.packetsOverflowed).toBe(5);
    expect(packetsByName(directory)).toEqual({
      '10.0.0.1_20260101_00.pcap': 2,
      '10.0.0.2_20260101_00.pcap': 1,
      '10.0.0.2_20260101_00-2.pcap': 1,
      'overflow_20260101_00.pcap': 3,
      'overflow_20260101_00-2.pcap': 2,
    });
  });

  it('open in tcpdump and capinfos without complaint', async () => {
    const directory = join(temporaryDirectory(), 'made', 'on the way');
    mkdirSync(join(directory, '..'), { recursive: true });
    for (const linkType of ['ethernet', 'raw'] as const)
      for (const precision of ['ns', 'us'] as const) {
        const archive = openArchive(directory, { linkType, precision });
        archive.write(
          batchOf([
            { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.1', '10.0.0.2', { padding: 18 }) },
            { seconds: NEW_YEAR, frame: ethernet(0x86dd, ipv6Packet(LINK_LOCAL, MULTICAST6)) },
            { seconds: NEW_YEAR, frame: ethernet(0x88cc, Buffer.alloc(46)) },
          ]),
        );
        await archive.close();
      }
    const names = readdirSync(directory).filter((name) => name.endsWith('.pcap'));
    expect(names).toHaveLength(4 * 3);
    for (const name of names) {
      const path = join(directory, name);
      const packets = readSegment(path).records.length;
      const lines = execFileSync('tcpdump', ['-nn', '-r', path], { encoding: 'utf8', stdio: 'pipe' });
      expect(lines.trim().split('\n')).toHaveLength(packets);
      const info = execFileSync('capinfos', ['-c', '-M', path], { encoding: 'utf8', stdio: 'pipe' });
      expect(info).toMatch(new RegExp(`Number of packets:\\s+${packets}\\b`));
    }
  });
});
