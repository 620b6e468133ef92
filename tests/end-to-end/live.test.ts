/**
 * The whole way on real interfaces: tcpreplay in one namespace, forwarder and collector in the other, tcpdump beside them.
 *
 *   tcpreplay ─ veth ─▶ tapline-forwarder ═ tunnel ═▶ tapline-collector
 *                  └──▶ tcpdump: the witness
 *
 * Edge and SOC must hold what the witness saw: the same packets, per source in the same order, the same bytes, lengths and
 * VLAN tags; and both the same nanoseconds.
 */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { split } from '@tapline/forwarder/src/split-command.ts';
import { parseSegmentName } from '@tapline/shared/archive/segment-name.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';
import { corpusDirectory, corpusPath } from '../support/corpus.ts';
import { NAMESPACE_NEED, VethPair, canMakeNamespaces, runIn, startTcpdump } from '../support/namespace.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-live-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Real captures with tags, non-IP frames and every OT protocol; all Ethernet, all within the MTU. */
const CAPTURES = [
  'ot/profinet',
  'ot/iec61850',
  'ot/modbus',
  'ot/s7',
  'ot/dnp3',
  'linktypes/qinq',
  'linktypes/vlan',
];

/** Every packet of an archive, by prefix, in the order of its segments. */
async function readArchive(path: string): Promise<Map<string, SeenPacket[]>> {
  const byPrefix = new Map<string, SeenPacket[]>();
  for (const name of readdirSync(path).sort()) {
    const prefix = parseSegmentName(name)?.prefix;
    if (prefix === undefined) continue;
    byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), ...(await packetsOfFile(join(path, name)))]);
  }
  return byPrefix;
}

/** What an archive should hold: the witness's capture, split offline. */
async function expected(witness: string, linkType: 'ethernet' | 'raw'): Promise<Map<string, SeenPacket[]>> {
  const output = mkdtempSync(join(directory, 'expected-'));
  await split([witness], {
    output,
    filter: '',
    snaplen: PACKET_BYTES_MAX,
    linkType,
    precision: 'ns',
    rule: [],
    json: false,
  });
  return readArchive(output);
}

function compare(found: Map<string, SeenPacket[]>, wanted: Map<string, SeenPacket[]>): void {
  expect([...found.keys()].sort()).toEqual([...wanted.keys()].sort());
  for (const [prefix, packets] of wanted)
    expect(contentOf(found.get(prefix) ?? []), prefix).toEqual(contentOf(packets));
}

function times(archive: Map<string, SeenPacket[]>): string[] {
  return [...archive]
    .flatMap(([prefix, packets]) => packets.map((packet) => `${prefix} ${packet.timeNs}`))
    .sort();
}

describe.skipIf(!canMakeNamespaces())(`live on a veth pair${NAMESPACE_NEED}`, () => {
  let pair: VethPair;
  let run: string;
  let plant: string;
  beforeEach(async () => {
    pair = new VethPair();
    run = mkdtempSync(join(directory, 'run-'));
    plant = join(run, 'plant.pcap');
    const simulator = new Program('forwarder', [
      'simulate',
      '-o',
      plant,
      '--duration',
      '60s',
      '--seed',
      '7',
      '--attack',
      'all',
    ]);
    expect((await simulator.exited).code).toBe(0);
  });
  afterEach(() => {
    pair.close();
  });

  const inside = (): string[] => ['ip', 'netns', 'exec', pair.receiver.namespace];

  async function startCollector(port = 0): Promise<{ collector: Program; port: number }> {
    const file = join(run, 'collector.yaml');
    writeFileSync(
      file,
      `bind: 127.0.0.1\nport: ${port}\nprotocol: tcp\noutput_directories: {pcap_raw_output_path: ${join(run, 'soc')}}\n`,
    );
    const collector = new Program('collector', ['-c', file], { wrapper: inside() });
    const listening = await collector.line('Listening for sensors.');
    return { collector, port: Number(listening['port']) };
  }

  async function startForwarder(port: number, more = '', wrapper = inside()): Promise<Program> {
    const file = join(run, 'forwarder.yaml');
    const { interfaceName } = pair.receiver;
    writeFileSync(
      file,
      `sensor: probe\ncapture: {interface: ${interfaceName}, ring_size: 64MiB}\noutput_directories: {pcap_raw_output_path: ${join(run, 'edge')}}\nforward: {enable: true, host: 127.0.0.1, port: ${port}, protocol: tcp}\n${more}`,
    );
    const forwarder = new Program('forwarder', ['-c', file], { wrapper });
    await forwarder.line('Capturing.');
    return forwarder;
  }

  /** Sends capture files one after the other; few enough packets a second that the witness keeps up too. */
  function replay(files: readonly string[]): void {
    for (const file of files)
      runIn(pair.sender, ['tcpreplay', '-q', '-K', '--pps', '20000', '-i', pair.sender.interfaceName, file]);
  }

  function corpusCaptures(): string[] {
    if (corpusDirectory() === null) return [];
    return CAPTURES.flatMap((folder) => {
      const path = corpusPath(folder);
      return readdirSync(path)
        .filter((name) => name.endsWith('.pcap'))
        .slice(0, 6)
        .map((name) => join(path, name));
    });
  }

  it(`the edge and the SOC hold what tcpdump saw, packet by packet${corpusDirectory() === null ? ' (without the corpus: plant only)' : ''}`, async () => {
    const { collector, port } = await startCollector();
    const forwarder = await startForwarder(port);
    await forwarder.line('Connected to the collector.');
    const witness = join(run, 'witness.pcap');
    const tcpdump = await startTcpdump(pair.receiver, witness);
    replay([plant, ...corpusCaptures()]);
    expect(await tcpdump.stop()).toContain('0 packets dropped by kernel');

    expect(await forwarder.stop()).toBe(0);
    expect(await collector.stop()).toBe(0);
    const edge = await readArchive(join(run, 'edge'));
    const soc = await readArchive(join(run, 'soc/probe'));
    compare(edge, await expected(witness, 'ethernet'));
    compare(soc, await expected(witness, 'raw'));
    expect(times(soc)).toEqual(times(edge));

    const total = (await packetsOfFile(witness)).length;
    const books = booksOf(forwarder);
    expect(total).toBeGreaterThan(1000);
    expect(books.capture).toMatchObject({ packets: total, kernelDroppedPackets: 0, abandonedPackets: 0 });
    expect(books.archive).toMatchObject({
      packetsIn: total,
      packetsStored: total,
      packetsDropped: 0,
      packetsBufferedNow: 0,
    });
    expect(books.uplink).toMatchObject({
      offeredPackets: total,
      acknowledgedPackets: total,
      droppedPackets: 0,
      queuedPacketsNow: 0,
    });
  });

  it('a forwarder that starts before its collector hands over everything once there is one', async () => {
    mkdirSync(join(run, 'soc'));
    const port = 40_000 + (process.pid % 10_000);
    const forwarder = await startForwarder(port);
    replay([plant]);
    await forwarder.line('The collector cannot be reached.');
    const { collector } = await startCollector(port);
    await forwarder.line('Connected to the collector.');
    expect(await forwarder.stop()).toBe(0);
    expect(await collector.stop()).toBe(0);
    const edge = await readArchive(join(run, 'edge'));
    const soc = await readArchive(join(run, 'soc/probe'));
    expect(times(soc)).toEqual(times(edge));
    expect(booksOf(forwarder).uplink).toMatchObject({ droppedPackets: 0, queuedPacketsNow: 0 });
  });

  it('kill -9 of the forwarder costs at most what it had not written; a restart appends, and every file is whole', async () => {
    const { collector, port } = await startCollector();
    const first = await startForwarder(port, 'archive: {flush_interval: 100ms}\n');
    replay([plant]);
    await sleep(500);
    first.child.kill('SIGKILL');
    await first.exited;
    const before = await readArchive(join(run, 'edge'));
    const second = await startForwarder(port, 'archive: {flush_interval: 100ms}\n');
    await second.line('Connected to the collector.');
    replay([plant]);
    expect(await second.stop()).toBe(0);
    expect(await collector.stop()).toBe(0);
    const after = await readArchive(join(run, 'edge'));
    const sent = (await packetsOfFile(plant)).length;
    const count = (archive: Map<string, SeenPacket[]>): number =>
      [...archive.values()].reduce((sum, packets) => sum + packets.length, 0);
    // The flush interval had passed long before the kill: nothing of the first run is missing.
    expect(count(before)).toBe(sent);
    expect(count(after)).toBe(2 * sent);
    for (const [prefix, packets] of before)
      expect(contentOf(after.get(prefix) ?? []).slice(0, packets.length)).toEqual(contentOf(packets));
  });

  it('SIGHUP takes over new rules and SIGTERM ends cleanly, with traffic going on', async () => {
    const { collector, port } = await startCollector();
    const forwarder = await startForwarder(port);
    replay([plant]);
    const file = join(run, 'forwarder.yaml');
    const text = `sensor: probe\ncapture: {interface: ${pair.receiver.interfaceName}, ring_size: 64MiB}\noutput_directories: {pcap_raw_output_path: ${join(run, 'edge')}}\nforward: {enable: true, host: 127.0.0.1, port: ${port}, protocol: tcp}\n`;
    writeFileSync(file, 'capture: {}\nnonsense: 1\n');
    forwarder.child.kill('SIGHUP');
    await forwarder.line('The new configuration is not usable; the old one stays in force.');
    writeFileSync(file, `${text}default_output_prefix: everything\n`);
    forwarder.child.kill('SIGHUP');
    await forwarder.line('Reloaded.');
    replay([plant]);
    expect(await forwarder.stop()).toBe(0);
    expect(await collector.stop()).toBe(0);
    const edge = await readArchive(join(run, 'edge'));
    const ipPackets = (edge.get('everything') ?? []).length;
    const others = [...edge]
      .filter(([prefix]) => prefix !== 'everything')
      .reduce((sum, [, packets]) => sum + packets.length, 0);
    expect(ipPackets).toBeGreaterThan(0);
    expect(ipPackets + others).toBe(2 * (await packetsOfFile(plant)).length);
  });

  it('CAP_NET_RAW is all the forwarder needs', async () => {
    const { collector, port } = await startCollector();
    const caps = ['--inh-caps=-all,+net_raw', '--ambient-caps=-all,+net_raw', '--bounding-set=-all,+net_raw'];
    // Without the securebit, user 0 would get every capability of the bounding set by being 0; it has one either way.
    const wrapper = [...inside(), 'setpriv', '--securebits=+noroot', ...caps];
    const forwarder = await startForwarder(port, '', wrapper);
    const status = readFileSync(`/proc/${forwarder.child.pid}/status`, 'utf8');
    expect(/^CapEff:\s*(\S+)$/m.exec(status)?.[1]).toBe('0000000000002000');
    await forwarder.line('Connected to the collector.');
    replay([plant]);
    expect(await forwarder.stop()).toBe(0);
    expect(await collector.stop()).toBe(0);
    expect(booksOf(forwarder).capture).toMatchObject({
      packets: (await packetsOfFile(plant)).length,
      kernelDroppedPackets: 0,
    });
  });

  it('an interface that does not exist, and a filter that does not compile, stop the start with the reason', async () => {
    const file = join(run, 'wrong.yaml');
    writeFileSync(
      file,
      `capture: {interface: none0}\noutput_directories: {pcap_raw_output_path: ${join(run, 'none')}}\n`,
    );
    const missing = new Program('forwarder', ['-c', file], { wrapper: inside() });
    expect((await missing.exited).code).toBe(3);
    expect(missing.transcript()).toContain('none0');
    writeFileSync(
      file,
      `capture:\n  interface: ${pair.receiver.interfaceName}\n  bpf_filter: tcp prot 502\noutput_directories: {pcap_raw_output_path: ${join(run, 'none')}}\n`,
    );
    const wrong = new Program('forwarder', ['-c', file], { wrapper: inside() });
    expect((await wrong.exited).code).toBe(2);
    expect(wrong.transcript()).toContain('wrong.yaml:3:15');
    expect(wrong.transcript()).toContain('capture.bpf_filter');
  });
});
