import { afterEach, describe, expect, it } from 'vitest';
import {
  NEW_YEAR,
  batchOf,
  ethernet,
  imbalance,
  ipv4Frame,
  ipv6Packet,
  openArchive,
  packetsByName,
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
const BA = ipv4Frame('10.0.0.2', '10.0.0.1');
const toGroup = ipv4Frame('10.0.0.1', '224.0.0.5');
const toAll = ipv4Frame('10.0.0.1', '255.255.255.255');
const v6 = ethernet(0x86dd, ipv6Packet('fe80'.padEnd(31, '0') + '1', 'fe80'.padEnd(31, '0') + '2'));
const lldp = ethernet(0x88cc, Buffer.alloc(46));
const unicast = Buffer.concat([Buffer.from('020000000009', 'hex'), lldp.subarray(6)]);
const everything = [AB, BA, toGroup, toAll, v6, lldp, unicast].map((frame, i) => at(i, frame));

async function stored(options: Parameters<typeof openArchive>[1]): Promise<Record<string, number>> {
  const directory = temporaryDirectory();
  const archive = openArchive(directory, options);
  archive.write(batchOf(everything));
  expect(imbalance(archive)).toBe(0);
  await archive.close();
  expect(imbalance(archive)).toBe(0);
  const { counters } = archive;
  expect(counters.packetsStored).toBe(counters.packetsIn - counters.packetsFiltered + counters.packetsCopied);
  return packetsByName(directory);
}

describe('a split', () => {
  it('by host stores a packet with both its hosts, but not with groups', async () => {
    expect(await stored({ split: 'host' })).toEqual({
      '10.0.0.1_20260101_00.pcap': 4,
      '10.0.0.2_20260101_00.pcap': 2,
      'fe80--1_20260101_00.pcap': 1,
      'fe80--2_20260101_00.pcap': 1,
      '02-00-00-00-00-01_20260101_00.pcap': 2,
      '02-00-00-00-00-09_20260101_00.pcap': 1,
    });
  });

  it('by host asks the rules for each of them, and stores a packet once where both have one file', async () => {
    const rules = [{ address: '10.0.0.2', prefix: 'plc' }];
    expect(await stored({ split: 'host', rules })).toMatchObject({
      '10.0.0.1_20260101_00.pcap': 4,
      'plc_20260101_00.pcap': 2,
    });
    expect(await stored({ split: 'host', rules, defaultPrefix: 'plc' })).toMatchObject({
      'plc_20260101_00.pcap': 5,
    });
  });

  it('by pair has both directions in one file', async () => {
    expect(await stored({ split: 'pair' })).toEqual({
      '10.0.0.1_10.0.0.2_20260101_00.pcap': 2,
      '10.0.0.1_224.0.0.5_20260101_00.pcap': 1,
      '10.0.0.1_255.255.255.255_20260101_00.pcap': 1,
      'fe80--1_fe80--2_20260101_00.pcap': 1,
      '02-00-00-00-00-01_ff-ff-ff-ff-ff-ff_20260101_00.pcap': 1,
      '02-00-00-00-00-01_02-00-00-00-00-09_20260101_00.pcap': 1,
    });
  });

  it('of none is one file; under LINKTYPE_RAW what is not IP has a second', async () => {
    expect(await stored({ split: 'none' })).toEqual({ 'all_20260101_00.pcap': 7 });
    expect(await stored({ split: 'none', linkType: 'raw' })).toEqual({
      'all_20260101_00.pcap': 5,
      'all_l2_20260101_00.pcap': 2,
    });
  });

  it('stores what its filter lets through, and counts the rest', async () => {
    expect(await stored({ split: 'none', filter: 'ip host 10.0.0.2' })).toEqual({
      'all_20260101_00.pcap': 2,
    });
    expect(() => openArchive(temporaryDirectory(), { filter: 'ip hots 10.0.0.2' })).toThrow(/syntax error/);
  });

  it('keeps a thousand pairs apart, in tables that grow', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory, { split: 'pair' });
    const packets: TestPacket[] = [];
    for (let a = 1; a <= 33; a++)
      for (let b = 1; b <= 33; b++) if (a !== b) packets.push(at(0, ipv4Frame(`10.0.0.${a}`, `10.0.1.${b}`)));
    archive.write(batchOf([...packets, ...packets]));
    await archive.close();
    const names = packetsByName(directory);
    expect(Object.keys(names)).toHaveLength(33 * 32);
    expect(new Set(Object.values(names))).toEqual(new Set([2]));
  });
});

describe('a rotation', () => {
  it.each([
    [60, { '10.0.0.1_20260101_0000.pcap': 1, '10.0.0.1_20260101_0001.pcap': 2 }],
    [1, { '10.0.0.1_20260101_000000.pcap': 1, '10.0.0.1_20260101_000100.pcap': 1, '10.0.0.1_20260101_000101.pcap': 1 }], // prettier-ignore
    [86_400, { '10.0.0.1_20260101_00.pcap': 3 }],
  ])('every %i s begins at multiples of that', async (periodSeconds, names) => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory, { periodSeconds });
    archive.write(batchOf([at(0, AB), at(60, AB), at(61, AB)]));
    await archive.close();
    expect(packetsByName(directory)).toEqual(names);
  });

  it('by size begins the next segment when one is full', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory, { segmentBytesMax: 500 });
    for (let i = 0; i < 20; i++) {
      archive.write(batchOf([at(i, AB)]));
      archive.flush();
    }
    await archive.close();
    const files = readArchive(directory);
    expect([...files.values()].map(({ records }) => records.length).sort((a, b) => b - a)).toEqual([9, 9, 2]);
    expect([...files.keys()].sort()).toEqual([
      '10.0.0.1_20260101_00-2.pcap',
      '10.0.0.1_20260101_00-3.pcap',
      '10.0.0.1_20260101_00.pcap',
    ]);
    expect(archive.counters).toMatchObject({ segmentsOpened: 3, segmentsClosed: 3, packetsLate: 0 });
  });
});
