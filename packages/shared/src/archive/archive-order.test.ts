/**
 * Inside a file time never runs backwards, whatever the order in which packets come, how full the buffers are and how
 * little memory there is. The obvious twin: all packets, with the place that each belongs to.
 */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  NEW_YEAR,
  ManualClock,
  batchOf,
  ethernet,
  imbalance,
  ipv4Frame,
  ipv4Packet,
  openArchive,
  readArchive,
  removeTemporaryDirectories,
  temporaryDirectory,
} from './archive-test-support.ts';
import type { TestPacket } from './archive-test-support.ts';

afterEach(removeTemporaryDirectories);

const at = (seconds: number, frame: Uint8Array, nanoseconds = 0): TestPacket => ({
  seconds: NEW_YEAR + seconds,
  nanoseconds,
  frame,
});
const AB = ipv4Frame('10.0.0.1', '10.0.0.2');
const large = (source: number, byteCount: number): Uint8Array =>
  ethernet(0x0800, ipv4Packet(`10.0.0.${source}`, '10.0.0.9', Buffer.alloc(byteCount)));

describe('order', () => {
  const times = (directory: string): Record<string, number[]> =>
    Object.fromEntries(
      [...readArchive(directory)].map(([name, { records }]) => [
        name.replace('10.0.0.1_20260101_00', ''),
        records.map(({ seconds }) => seconds - NEW_YEAR),
      ]),
    );

  it('is made among what waits for its write', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    archive.write(batchOf([at(3, AB), at(1, AB), at(2, AB)]));
    archive.write(batchOf([at(2, AB, 5), at(0, AB)]));
    await archive.close();
    expect(times(directory)).toEqual({ '.pcap': [0, 1, 2, 2, 3] });
    expect(archive.counters).toMatchObject({ packetsReordered: 4, packetsLate: 0 });
  });

  it('keeps packets of one time as they came', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    const payloads = [9, 3, 7].map((n) => ipv4Frame('10.0.0.1', '10.0.0.2', { padding: n }));
    archive.write(batchOf([at(1, AB), ...payloads.map((frame) => at(0, frame))]));
    await archive.close();
    const [segment] = readArchive(directory).values();
    expect(segment?.records.map(({ originalBytes }) => originalBytes - AB.length)).toEqual([9, 3, 7, 0]);
  });

  it('of a backlog between the present is kept in late segments, and everything is counted', async () => {
    const directory = temporaryDirectory();
    const clock = new ManualClock();
    const archive = openArchive(directory, {}, { clock });
    for (let i = 0; i < 5; i++) {
      archive.write(batchOf([at(1000 + i, AB)]));
      archive.flush();
      archive.write(batchOf([at(10 + i, AB)]));
      archive.write(batchOf([at(500 + i, AB)]));
      archive.flush();
    }
    expect(imbalance(archive)).toBe(0);
    await archive.close();
    const files = times(directory);
    for (const [name, seconds] of Object.entries(files)) expect(seconds, name).toEqual(seconds.toSorted((a, b) => a - b)); // prettier-ignore
    expect(Object.values(files).flat()).toHaveLength(15);
    expect(files['.pcap']).toEqual([1000, 1001, 1002, 1003, 1004]);
    expect(Object.keys(files).length).toBeLessThanOrEqual(4);
    expect(archive.counters.packetsLate).toBe(10);
  });

  it('that is always the wrong way round costs a bounded number of files', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    for (let i = 0; i < 2000; i++) archive.write(batchOf([at(3000 - i, AB)]));
    await archive.close();
    expect(Object.keys(times(directory)).length).toBeLessThan(4);
  });

  it('is kept by a packet that finds the buffer full of younger ones', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    // Three quarters of a buffer, and then an older packet that does not fit behind them.
    archive.write(batchOf([at(10, large(1, 48_000)), at(5, large(1, 30_000)), at(11, AB)]));
    await archive.close();
    expect(times(directory)).toEqual({ '.pcap': [10, 11], '-late.pcap': [5] });
    expect(archive.counters).toMatchObject({ packetsReordered: 0, packetsLate: 1 });
  });

  it('is kept by a full late segment, too', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    archive.write(batchOf([at(100, AB)]));
    archive.flush();
    archive.write(batchOf([at(10, large(1, 48_000)), at(5, large(1, 30_000)), at(11, AB)]));
    await archive.close();
    expect(times(directory)).toEqual({ '.pcap': [100], '-late.pcap': [10, 11], '-late-2.pcap': [5] });
    expect(archive.counters).toMatchObject({ packetsReordered: 0, packetsLate: 3 });
  });

  const packet = fc
    .tuple(
      fc.integer({ min: -2, max: 12 }),
      fc.nat(3).map((n) => n * 333_333),
      fc.integer({ min: 1, max: 2 }),
      fc.oneof(fc.nat(200), fc.nat(20_000), fc.nat(65_000)),
    )
    .map(([seconds, nanoseconds, source, byteCount]) => at(seconds, large(source, byteCount), nanoseconds));

  it('holds for packets of any size in any order, with little memory and with much, and none is lost', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(packet, { maxLength: 12 }), { maxLength: 12 }),
        fc.record({
          split: fc.constantFrom('source', 'host', 'none'),
          linkType: fc.constantFrom('ethernet', 'raw'),
          precision: fc.constantFrom('ns', 'us'),
          bufferBytesMax: fc.constantFrom(4096, 150_000, 2 ** 24),
          segmentBytesMax: fc.constantFrom(50_000, Infinity),
          sourcesMax: fc.constantFrom(1, 1000),
        }),
        async (batches, options) => {
          const directory = temporaryDirectory();
          const archive = openArchive(directory, options);
          for (const packets of batches) {
            archive.write(batchOf(packets));
            expect(imbalance(archive)).toBe(0);
          }
          await archive.close();
          let packets = 0;
          for (const [name, { records }] of readArchive(directory)) {
            const stamps = records.map(({ seconds, fraction }) => seconds * 1e6 + fraction / 1000);
            expect(stamps, name).toEqual(stamps.toSorted((a, b) => a - b));
            packets += records.length;
          }
          expect(packets).toBe(batches.flat().length + archive.counters.packetsCopied);
          removeTemporaryDirectories();
        },
      ),
      { numRuns: 150 },
    );
  });
});
