/**
 * Questions to an archive, with the real programs: every question is answered the same from each layout, also while a segment grows, as tshark answers it from
 * the recording itself.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeIndex } from '@tapline/shared/catalog/segment-index.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program } from '../support/child.ts';
import { projectRoot } from '../support/project.ts';
import { LAYOUTS, at, cleanUp, plant, record, recorded, report, run, shown } from './archive-testing.ts';

beforeAll(record, 120_000);
afterAll(cleanUp);

async function exported(layout: string, ...words: string[]): Promise<SeenPacket[]> {
  const file = at('out.pcap');
  await run('forwarder', 'export', '-a', at(layout), '-w', file, ...words);
  return packetsOfFile(file);
}

describe('an export', () => {
  it.each(LAYOUTS)('of everything is the recording again, in its order: %s', async (layout) => {
    const packets = await exported(layout);
    // The split by host has most packets twice, one behind the other.
    const times = packets.map(({ timeNs }) => timeNs);
    expect(times).toEqual(times.toSorted((a, b) => Number(a - b)));
    const content = contentOf(packets);
    if (layout === 'host') expect(new Set(content)).toEqual(new Set(contentOf(recorded)));
    else expect(content.toSorted()).toEqual(contentOf(recorded).toSorted());
    if (layout === 'none') expect(content).toEqual(contentOf(recorded));
  });

  it.each([
    [
      '--host 10.1.1.10',
      'ip.addr == 10.1.1.10 || arp.src.proto_ipv4 == 10.1.1.10 || arp.dst.proto_ipv4 == 10.1.1.10',
    ],
    [
      '--host 10.1.1.10 --host 10.1.0.10 --port 502',
      '(ip.addr == 10.1.1.10 || ip.addr == 10.1.0.10) && tcp.port == 502',
    ],
    ['--net 10.1.0.0/24 --proto udp', 'ip.addr == 10.1.0.0/24 && udp'],
    ['--port 502 --port 102', 'tcp.port == 502 || tcp.port == 102'],
    ['--proto goose', 'eth.type == 0x88b8 || vlan.etype == 0x88b8'],
    ['--proto 0x8892', 'eth.type == 0x8892 || vlan.etype == 0x8892'],
    ['--proto arp', 'arp'],
    ['--proto ip6', 'ipv6'],
    ['--vlan 10', 'vlan.id == 10'],
    ['--mac ff:ff:ff:ff:ff:ff', 'eth.addr == ff:ff:ff:ff:ff:ff'],
    ['--host 192.0.2.99', 'ip.addr == 192.0.2.99'],
  ])('of %s is what tshark shows of the recording, from every layout', async (words, filter) => {
    const expected = shown(filter);
    for (const layout of ['edge', 'pair', 'none', 'packed'])
      expect((await report(layout, ...words.split(' '))).packets, layout).toBe(expected);
  });

  it('takes BPF filters, which mean what they mean to libpcap', async () => {
    const filter = 'vlan and tcp port 502';
    const lines = execFileSync('tcpdump', ['-nr', plant, filter], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 26 }); // prettier-ignore
    expect((await report('edge', '--filter', filter)).packets).toBe(lines.split('\n').length - 1);
    const bad = new Program('forwarder', ['export', '-a', at('edge'), '--count', '--filter', 'tcp prot 5']);
    expect((await bad.exited).code).toBe(2);
    expect(bad.transcript()).toContain('syntax error');
  });

  it('of a span of time reads little, the same with an index as without', async () => {
    const from = new Date(Number((recorded[0] as SeenPacket).timeNs / 1_000_000n) + 200_000).toISOString();
    const to = new Date(Date.parse(from) + 2000).toISOString();
    const words = ['--from', from, '--to', to, '--host', '10.1.1.10'];
    const indexed = await report('none', ...words);
    expect(indexed.packets).toBeGreaterThan(10);
    expect(indexed.bytesPlanned).toBeLessThan(statSync(plant).size / 20);
    for (const layout of ['edge', 'pair', 'packed']) {
      const found = await report(layout, ...words);
      expect(found.packets, layout).toBe(indexed.packets);
      for (const name of readdirSync(at(layout)))
        if (name.endsWith('.idx') && layout !== 'packed') renameSync(join(at(layout), name), join(at(layout), `${name}.away`)); // prettier-ignore
      const bare = await report(layout, ...words);
      expect(bare.packets, layout).toBe(indexed.packets);
      if (layout !== 'packed') expect(bare.bytesPlanned, layout).toBeGreaterThan(found.bytesPlanned);
      for (const name of readdirSync(at(layout)))
        if (name.endsWith('.away')) renameSync(join(at(layout), name), join(at(layout), name.replace('.away', ''))); // prettier-ignore
    }
  });

  it('into a pipe is read by tshark, as Ethernet and as RAW, in micro- and nanoseconds', async () => {
    for (const [linkType, precision] of [
      ['ethernet', 'ns'],
      ['raw', 'us'],
    ] as const) {
      const words = ['export', '-a', at('edge'), '--port', '502', '--link-type', linkType, '--precision', precision]; // prettier-ignore
      const text = words.map((word) => `'${word}'`).join(' ');
      const main = join(projectRoot, 'packages/forwarder/src/main.ts');
      const { stdout, stderr } = spawnSync('sh', ['-c', `'${process.execPath}' '${main}' ${text} | tshark -r - 2>/dev/null | wc -l`], { encoding: 'utf8' }); // prettier-ignore
      expect(Number(stdout), stderr).toBe(shown('tcp.port == 502'));
    }
    // What has no place in RAW is told.
    expect((await report('edge', '--link-type', 'raw')).unfitPackets).toBe(shown('!ip && !ipv6'));
  });

  it('refuses what it does not understand, with the remedy', async () => {
    for (const [words, remedy] of [
      [['--host', 'plc1'], 'as in 10.0.1.7'],
      [['--net', '10.0.0.0'], 'as in 10.0.1.0/24'],
      [['--proto', 'modbus'], 'one of icmp'],
      [['--from', 'yesterday'], 'as in -15m'],
      [['--port', '70000'], 'a number from 0 to 65535'],
      [['--mac', '00:11'], 'as in 00:11:22:33:44:55'],
    ] as const) {
      const child = new Program('forwarder', ['export', '-a', at('edge'), '--count', ...words]);
      expect((await child.exited).code, words.join(' ')).not.toBe(0);
      expect(child.transcript()).toContain(remedy);
    }
  });

  it('tells of a damaged segment and gives everything else', async () => {
    const name = readdirSync(at('pair')).find((one) => one.endsWith('.pcap')) as string;
    const path = join(at('pair'), name);
    const before = readFileSync(path);
    const bad = Buffer.from(before);
    bad.writeUInt32LE(0xffff_ffff, 24 + 8);
    writeFileSync(path, bad);
    const child = new Program('forwarder', ['export', '-a', at('pair'), '--count']);
    const { code } = await child.exited;
    writeFileSync(path, before);
    expect(code).toBe(7);
    expect(child.transcript()).toContain(`${name} was left out`);
  });
});

describe('an open segment', () => {
  it('is indexed while it grows, and its packets are there at once', async () => {
    const growing = at('growing');
    writeFileSync(at('growing.yaml'), `sensor: cell-1\ncapture: {driver: stdin}\narchive: {split: none, rotation: 1d, flush_interval: 50ms}\noutput_directories: {pcap_raw_output_path: ${growing}}\n`); // prettier-ignore
    const forwarder = new Program('forwarder', ['-c', at('growing.yaml')]);
    await forwarder.line('Started.');
    const bytes = readFileSync(plant);
    expect(bytes.length).toBeGreaterThan(8 * 2 ** 20);
    forwarder.child.stdin?.write(bytes);
    const index = join(growing, 'all_20260105_00.idx');
    for (let i = 0; i < 100 && !existsSync(index); i++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    const partial = decodeIndex(readFileSync(index));
    expect(partial?.coveredBytes).toBeGreaterThan(4 * 2 ** 20);
    for (let i = 0; i < 100 && statSync(join(growing, 'all_20260105_00.pcap')).size < bytes.length; i++) await new Promise((resolve) => setTimeout(resolve, 50)); // prettier-ignore
    expect((await report('growing')).packets).toBe(recorded.length);
    const some = await report('growing', '--host', '10.1.1.10', '--port', '502');
    expect(some.packets).toBe(shown('ip.addr == 10.1.1.10 && tcp.port == 502'));
    // The part without an index is read, and of the part with one what may hold them.
    expect(some.bytesPlanned).toBeLessThanOrEqual(bytes.length);
    forwarder.child.stdin?.end();
    expect((await forwarder.exited).code).toBe(0);
  }, 30_000);
});
