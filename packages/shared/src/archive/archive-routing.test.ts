/** Which file a packet goes to, and what of it is in there. */
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ManualClock,
  NEW_YEAR,
  batchOf,
  ethernet,
  ipv4Frame,
  ipv4Packet,
  ipv6Packet,
  openArchive,
  packetsByName,
  readArchive,
  readSegment,
  recordEvents,
  removeTemporaryDirectories,
  temporaryDirectory,
} from './archive-test-support.ts';

afterEach(removeTemporaryDirectories);

const HOUR = 3600;
const LINK_LOCAL = 'fe800000000000000000000000000001';
const LOOPBACK6 = '00000000000000000000000000000001';
const MULTICAST6 = 'ff020000000000000000000000000001';

describe('routing', () => {
  it('gives each source address its segments', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    archive.write(
      batchOf([
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.1.7', '10.0.1.8') },
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.1.8', '10.0.1.7') },
        { seconds: NEW_YEAR, frame: ethernet(0x86dd, ipv6Packet(LINK_LOCAL, MULTICAST6)) },
        { seconds: NEW_YEAR, frame: ethernet(0x86dd, ipv6Packet(LOOPBACK6, LOOPBACK6)) },
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.1.7', '10.0.1.8', { vlan: 7 }) },
      ]),
    );
    await archive.close();
    expect(packetsByName(directory)).toEqual({
      '0--1_20260101_00.pcap': 1,
      '10.0.1.7_20260101_00.pcap': 2,
      '10.0.1.8_20260101_00.pcap': 1,
      'fe80--1_20260101_00.pcap': 1,
    });
  });

  it('matches a rule by source or destination, and the first in the list wins', async () => {
    const directory = temporaryDirectory();
    const rules = [
      { address: '10.0.0.2', prefix: 'plc2' },
      { address: '10.0.0.1', prefix: 'plc1' },
      { address: '10.0.0.1', prefix: 'never' },
      { address: 'fe80::1', prefix: 'six' },
    ];
    const archive = openArchive(directory, { rules });
    archive.write(
      batchOf([
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.1', '10.0.0.2') },
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.2', '10.0.0.1') },
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.1', '10.0.0.9') },
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.9', '10.0.0.1') },
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.9', '10.0.0.8') },
        { seconds: NEW_YEAR, frame: ethernet(0x86dd, ipv6Packet(MULTICAST6, LINK_LOCAL)) },
      ]),
    );
    await archive.close();
    expect(packetsByName(directory)).toEqual({
      '10.0.0.9_20260101_00.pcap': 1,
      'plc1_20260101_00.pcap': 2,
      'plc2_20260101_00.pcap': 2,
      'six_20260101_00.pcap': 1,
    });
  });

  it('sends what no rule names to the default prefix, but frames that are not IP to their MAC', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory, {
      rules: [{ address: '10.0.0.1', prefix: 'plc1' }],
      defaultPrefix: 'traffic_misc',
    });
    const goose = ethernet(0x88b8, Buffer.alloc(50), { sourceMac: '00:11:22:33:44:55' });
    const malformed = ethernet(0x0800, Buffer.from([0x45, 0]), { sourceMac: '00:11:22:33:44:66' });
    archive.write(
      batchOf([
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.1', '10.0.0.9') },
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.9', '10.0.0.8') },
        { seconds: NEW_YEAR, frame: goose },
        { seconds: NEW_YEAR, frame: malformed },
        { seconds: NEW_YEAR, frame: Buffer.alloc(3) },
      ]),
    );
    await archive.close();
    expect(packetsByName(directory)).toEqual({
      '00-11-22-33-44-55_20260101_00.pcap': 1,
      '00-11-22-33-44-66_20260101_00.pcap': 1,
      'non-ip_20260101_00.pcap': 1,
      'plc1_20260101_00.pcap': 1,
      'traffic_misc_20260101_00.pcap': 1,
    });
  });

  it('follows new rules from the next packet on, and refuses what is not an address', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    const batch = batchOf([{ seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.1', '10.0.0.2') }]);
    archive.write(batch);
    archive.setRules([{ address: '10.0.0.2', prefix: 'plc' }]);
    archive.write(batch);
    expect(() => {
      archive.setRules([{ address: '10.0.0.0/8', prefix: 'x' }]);
    }).toThrow(/10\.0\.0\.0\/8/);
    archive.write(batch);
    archive.setRules([], 'rest');
    archive.write(batch);
    await archive.close();
    expect(packetsByName(directory)).toEqual({
      '10.0.0.1_20260101_00.pcap': 1,
      'plc_20260101_00.pcap': 2,
      'rest_20260101_00.pcap': 1,
    });
  });

  it('shares a segment between a rule and an address of the same spelling', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory, { rules: [{ address: '10.0.0.1', prefix: '10.0.0.2' }] });
    archive.write(
      batchOf([
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.1', '10.0.0.3') },
        { seconds: NEW_YEAR, frame: ipv4Frame('10.0.0.2', '10.0.0.3') },
      ]),
    );
    await archive.close();
    expect(packetsByName(directory)).toEqual({ '10.0.0.2_20260101_00.pcap': 2 });
  });

  it('keeps capture link types in files of their own', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    const ip = ipv4Packet('10.0.0.1', '10.0.0.2');
    const cooked = Buffer.concat([
      Buffer.from('000000010006001122334455000008 00'.replace(' ', ''), 'hex'),
      ip,
    ]);
    archive.write(batchOf([{ seconds: NEW_YEAR, frame: ethernet(0x0800, ip) }]));
    archive.write(batchOf([{ seconds: NEW_YEAR, frame: cooked }], 113));
    archive.write(batchOf([{ seconds: NEW_YEAR, frame: ip }], 101));
    archive.write(batchOf([{ seconds: NEW_YEAR, frame: Buffer.alloc(9) }], 147));
    archive.write(batchOf([{ seconds: NEW_YEAR, frame: ip }], 0x10001));
    expect(archive.counters.dropped['link-type']).toBe(1);
    await archive.close();
    const stored = readArchive(directory);
    expect([...stored].map(([name, { linkType }]) => [name, linkType])).toEqual([
      ['10.0.0.1.raw_20260101_00.pcap', 101],
      ['10.0.0.1.sll_20260101_00.pcap', 113],
      ['10.0.0.1_20260101_00.pcap', 1],
      ['non-ip.linktype147_20260101_00.pcap', 147],
    ]);
  });
});

describe('hours', () => {
  it('follow the packet, not its arrival: either side of the border, out of order, over a day and a year', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    const frame = ipv4Frame('10.0.0.1', '10.0.0.2');
    const times = [
      NEW_YEAR,
      NEW_YEAR - 1,
      NEW_YEAR + HOUR - 1,
      NEW_YEAR + HOUR,
      NEW_YEAR - 1,
      NEW_YEAR - HOUR,
      0,
    ];
    const packets = times.map((seconds) => ({ seconds, nanoseconds: 999_999_999, frame }));
    archive.write(batchOf(packets));
    archive.write(batchOf(packets));
    await archive.close();
    expect(packetsByName(directory)).toEqual({
      '10.0.0.1_19700101_00-late.pcap': 2,
      '10.0.0.1_20251231_23.pcap': 6,
      '10.0.0.1_20260101_00.pcap': 4,
      '10.0.0.1_20260101_01.pcap': 2,
    });
  });

  it('that are over are closed when nothing more comes; a late packet has a segment of its own', async () => {
    const directory = temporaryDirectory();
    const clock = new ManualClock();
    const { events, log } = recordEvents();
    const archive = openArchive(directory, {}, { clock, events });
    const frame = ipv4Frame('10.0.0.1', '10.0.0.2');
    archive.write(batchOf([{ seconds: NEW_YEAR, frame }]));
    clock.pass(10_000);
    archive.tick();
    archive.tick();
    expect(archive.counters.segmentsClosed).toBe(0);
    // By packet time: a packet of the next hour.
    archive.write(batchOf([{ seconds: NEW_YEAR + HOUR + 10, frame }]));
    clock.pass(10_000);
    archive.tick();
    expect(archive.counters.segmentsClosed).toBe(1);
    // By the wall clock: nothing comes at all.
    clock.pass(2 * HOUR * 1000);
    archive.tick();
    archive.tick();
    expect(archive.counters.segmentsClosed).toBe(2);
    archive.write(batchOf([{ seconds: NEW_YEAR + 1, frame }]));
    await archive.close();
    expect(packetsByName(directory)).toEqual({
      '10.0.0.1_20260101_00.pcap': 1,
      '10.0.0.1_20260101_00-late.pcap': 1,
      '10.0.0.1_20260101_01.pcap': 1,
    });
    expect(log.filter(([name]) => name === 'segmentOpened').map(([, details]) => details)).toEqual([
      { name: '10.0.0.1_20260101_00.pcap', bytes: 0 },
      { name: '10.0.0.1_20260101_01.pcap', bytes: 0 },
      { name: '10.0.0.1_20260101_00-late.pcap', bytes: 0 },
    ]);
  });
});

describe('records', () => {
  it('stay byte for byte, with nanoseconds and the length on the wire', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory);
    // Lengths around every limit of the copy: words, the short copy, and the largest packet there is.
    const lengths = [14, 33, 34, 41, 127, 128, 129, 1514, 9000, 65_535, 262_144];
    const packets = lengths.map((length, index) => {
      const frame = Buffer.alloc(length, index + 1);
      ipv4Frame('10.0.0.1', '10.0.0.2', { vlan: 5 }).copy(frame);
      return { seconds: NEW_YEAR + index, nanoseconds: 123_456_789, originalBytes: length + 4, frame };
    });
    for (const packet of packets) archive.write(batchOf([packet]));
    archive.write(batchOf(packets.slice(0, 8)));
    await archive.close();
    const records = [...readArchive(directory).values()].flatMap((segment) => segment.records);
    expect(records).toHaveLength(lengths.length + 8);
    for (const { seconds, nanoseconds, originalBytes, frame } of packets)
      expect(records).toContainEqual({
        seconds,
        fraction: nanoseconds,
        originalBytes,
        frame: frame.toString('hex'),
      });
  });

  it('are rounded down to microseconds where the archive says so', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory, { precision: 'us' });
    const frame = ipv4Frame('10.0.0.1', '10.0.0.2');
    archive.write(batchOf([{ seconds: NEW_YEAR, nanoseconds: 999_999_999, frame }]));
    await archive.close();
    const segment = readSegment(join(directory, '10.0.0.1_20260101_00.pcap'));
    expect(segment).toMatchObject({ precision: 'us', linkType: 1 });
    expect(segment.records).toEqual([
      { seconds: NEW_YEAR, fraction: 999_999, originalBytes: frame.length, frame: frame.toString('hex') },
    ]);
  });

  it('lose link header, VLAN tag and padding under LINKTYPE_RAW, and frames that are not IP stay whole', async () => {
    const directory = temporaryDirectory();
    const archive = openArchive(directory, { linkType: 'raw' });
    const ip = ipv4Packet('10.0.0.1', '10.0.0.2', Buffer.alloc(4, 7));
    const six = ipv6Packet(LINK_LOCAL, MULTICAST6, Buffer.alloc(4, 9));
    const arp = ethernet(0x0806, Buffer.alloc(28), { sourceMac: '00:11:22:33:44:55', padding: 18 });
    const cut = ethernet(0x0800, ip).subarray(0, 14 + 22);
    archive.write(
      batchOf([
        { seconds: NEW_YEAR, frame: ethernet(0x0800, ip, { padding: 22 }) },
        { seconds: NEW_YEAR + 1, frame: ethernet(0x0800, ip, { vlan: 100, padding: 18 }) },
        { seconds: NEW_YEAR + 2, frame: cut, originalBytes: 60 },
        { seconds: NEW_YEAR, frame: ethernet(0x86dd, six, { padding: 3 }) },
        { seconds: NEW_YEAR, frame: arp },
      ]),
    );
    archive.write(batchOf([{ seconds: NEW_YEAR + 3, frame: ip }], 101));
    await archive.close();
    const stored = readArchive(directory);
    expect([...stored.keys()]).toEqual([
      '00-11-22-33-44-55_20260101_00.pcap',
      '10.0.0.1_20260101_00.pcap',
      'fe80--1_20260101_00.pcap',
    ]);
    const whole = { fraction: 0, originalBytes: ip.length, frame: ip.toString('hex') };
    expect(stored.get('10.0.0.1_20260101_00.pcap')).toEqual({
      linkType: 101,
      precision: 'ns',
      records: [
        { ...whole, seconds: NEW_YEAR },
        { ...whole, seconds: NEW_YEAR + 1 },
        { ...whole, seconds: NEW_YEAR + 2, frame: ip.toString('hex', 0, 22) },
        { ...whole, seconds: NEW_YEAR + 3 },
      ],
    });
    expect(stored.get('fe80--1_20260101_00.pcap')?.records[0]?.frame).toBe(six.toString('hex'));
    expect(stored.get('00-11-22-33-44-55_20260101_00.pcap')).toMatchObject({
      linkType: 1,
      records: [{ frame: arp.toString('hex'), originalBytes: arp.length }],
    });
  });
});
