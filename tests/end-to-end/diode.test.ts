/**
 * Both daemons on the two sides of a data diode: namespaces joined by a wire whose way back is cut. The receiver's
 * interface may send nothing (a queue that drops every packet), answers no ARP and has no route back; the sender knows its
 * neighbour from a static entry. A witness on the sender's side counts what comes back: nothing, not one packet.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packetsOfFile, writeFrames } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';
import { NAMESPACE_NEED, VethPair, canMakeNamespaces, runIn, startTcpdump } from '../support/namespace.ts';
import { readBooks } from './books.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-diode-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const PACKETS = 5000;
const PORT = 5000;

/** UDP packets of many hosts, of all sizes. */
function frames(): Buffer[] {
  return Array.from({ length: PACKETS }, (_, index) => {
    const payloadBytes = (index * 37) % 1400;
    const frame = Buffer.alloc(42 + payloadBytes, index & 0xff);
    Buffer.from('02000000000102000000000208004500', 'hex').copy(frame);
    frame.writeUInt16BE(28 + payloadBytes, 16);
    Buffer.from('000000004011000', 'hex').copy(frame, 18);
    frame.writeUInt32BE(0x0a00_0001 + (index % 50), 26);
    frame.writeUInt32BE(0x0a00_0100, 30);
    frame.writeUInt16BE(8 + payloadBytes, 38);
    frame.writeUInt32BE(index, 34);
    return frame;
  });
}

describe.skipIf(!canMakeNamespaces())(`over a data diode${NAMESPACE_NEED}`, () => {
  let pair: VethPair;
  let run: string;
  beforeEach(async () => {
    run = mkdtempSync(join(directory, 'run-'));
    pair = new VethPair();
    makeDiode(pair);
    await writeFrames(join(run, 'plant.pcap'), frames());
    const key = new Program('collector', ['udp-key', join(run, 'udp.key')]);
    expect((await key.exited).code).toBe(0);
  });
  afterEach(() => {
    pair.close();
  });

  it.each([
    ['IPv4', { bind: '10.77.0.2', host: '10.77.0.2' }],
    ['IPv6', { bind: 'fd77::2', host: 'fd77::2' }],
    ['IPv4 multicast', { bind: '0.0.0.0', host: '239.77.0.1' }],
    ['IPv6 multicast', { bind: '::', host: 'ff05::7777' }],
  ])('every packet arrives, and nothing comes back (%s)', async (name, { bind, host }) => {
    const isMulticast = name.includes('multicast');
    const interfaceOf = (end: 'sender' | 'receiver'): string =>
      host.includes(':') ? `::%${pair[end].interfaceName}` : end === 'sender' ? '10.77.0.1' : '10.77.0.2';
    const collectorFile = join(run, 'collector.yaml');
    writeFileSync(
      collectorFile,
      `bind: "${bind}"
port: ${PORT}
plain: {enable: false}
protocol: udp
udp:
  keys: [{id: 3, sensor: probe, key_file: ${join(run, 'udp.key')}}]
${isMulticast ? `  multicast: {group: "${host}", interface: "${interfaceOf('receiver')}"}\n` : ''}output_directories: {pcap_raw_output_path: ${join(run, 'soc')}}
`,
    );
    const forwarderFile = join(run, 'forwarder.yaml');
    writeFileSync(
      forwarderFile,
      `sensor: probe
capture: {driver: file, files: [${join(run, 'plant.pcap')}]}
output_directories: {pcap_raw_output_path: ${join(run, 'edge')}}
forward:
  enable: true
  host: "${host}"
  port: ${PORT}
  protocol: udp-tunnel
  max_rate: 8Mbit/s
  udp:
    key_id: 3
    key_file: ${join(run, 'udp.key')}
${isMulticast ? `    multicast_interface: "${interfaceOf('sender')}"\n    ttl: 4\n` : ''}`,
    );
    const witness = join(run, 'witness.pcap');
    const tcpdump = await startTcpdump(pair.sender, witness, ['-Q', 'in']);
    const collector = new Program('collector', ['-c', collectorFile], { wrapper: inside('receiver') });
    await collector.line('Listening for sensors.');
    const forwarder = new Program('forwarder', ['-c', forwarderFile], { wrapper: inside('sender') });
    expect((await forwarder.exited).code).toBe(0);
    await collector.line('A sensor disconnected.');
    expect(await collector.stop()).toBe(0);
    await tcpdump.stop();

    const books = await readBooks(join(run, 'edge'), join(run, 'soc/probe'));
    expect(books.edgePackets).toBe(PACKETS);
    expect(books.socPackets).toBe(PACKETS);
    for (const source of books.sources) expect(source.socPackets, source.prefix).toBe(source.edgePackets);
    expect(booksOf(forwarder).uplink).toMatchObject({
      offeredPackets: PACKETS,
      acknowledgedPackets: PACKETS,
      droppedPackets: 0,
    });
    expect(booksOf(collector).udpTunnel).toMatchObject({
      lostGroups: 0,
      malformedGroups: 0,
      missingDatagrams: 0,
    });
    expect(booksOf(collector).tunnel).toMatchObject({ packets: PACKETS, lostPackets: 0 });
    expect(await packetsOfFile(witness)).toEqual([]);
  });

  it('the way back is really blocked', () => {
    for (const [address, option] of [
      ['10.77.0.1', '-4'],
      ['fd77::1', '-6'],
    ] as const)
      expect(() => runIn(pair.receiver, ['ip', option, 'route', 'get', address])).toThrow(/unreachable/);
    // Even with a route and a neighbour nothing would leave: the queue of the interface drops it.
    const { receiver } = pair;
    runIn(receiver, ['ip', 'route', 'add', '10.77.0.1/32', 'dev', receiver.interfaceName]);
    runIn(receiver, [
      'ip',
      'neigh',
      'add',
      '10.77.0.1',
      'lladdr',
      '02:00:00:00:00:09',
      'dev',
      receiver.interfaceName,
    ]);
    const before = sentBy(pair);
    const droppedBefore = droppedBy(pair);
    for (let i = 0; i < 3; i++) runIn(receiver, ['bash', '-c', 'echo hello > /dev/udp/10.77.0.1/9 || true']);
    expect(droppedBy(pair)).toBeGreaterThanOrEqual(droppedBefore + 3);
    expect(sentBy(pair)).toBe(before);
  });

  it('a key that everybody may read is refused at the start, by its place in the configuration', async () => {
    runIn(pair.sender, ['chmod', '644', join(run, 'udp.key')]);
    const file = join(run, 'collector.yaml');
    writeFileSync(
      file,
      `bind: 127.0.0.1\nport: 0\nprotocol: udp\nudp:\n  keys: [{id: 3, sensor: probe, key_file: ${join(run, 'udp.key')}}]\noutput_directories: {pcap_raw_output_path: ${join(run, 'soc')}}\n`,
    );
    const collector = new Program('collector', ['-c', file], { wrapper: inside('receiver') });
    expect((await collector.exited).code).toBe(2);
    expect(collector.transcript()).toContain('collector.yaml:5:');
    expect(collector.transcript()).toContain('everybody may read');
  });

  it('a key is made with mode 0600, and never over another file', async () => {
    expect(statSync(join(run, 'udp.key')).mode & 0o777).toBe(0o600);
    const again = new Program('collector', ['udp-key', join(run, 'udp.key')]);
    expect((await again.exited).code).toBe(2);
    expect(again.transcript()).toContain('EEXIST');
  });

  function inside(end: 'sender' | 'receiver'): string[] {
    return ['ip', 'netns', 'exec', pair[end].namespace];
  }
});

/** Addresses, static neighbours, and a receiver that cannot send. */
function makeDiode({ sender, receiver }: VethPair): void {
  const ip = (end: typeof sender, ...words: string[]): string => runIn(end, ['ip', ...words]);
  const set = (end: typeof sender, key: string, value: number): string =>
    runIn(end, ['sh', '-c', `echo ${value} > /proc/sys/net/${key.replace('IF', end.interfaceName)}`]);
  // First of all, so that not even the kernel's own greetings get out.
  runIn(receiver, [
    'tc',
    'qdisc',
    'add',
    'dev',
    receiver.interfaceName,
    'root',
    'tbf',
    'rate',
    '8bit',
    'burst',
    '10',
    'limit',
    '10',
  ]);
  for (const end of [sender, receiver]) {
    ip(end, 'link', 'set', end.interfaceName, 'mtu', '1500', 'arp', 'off');
    set(end, 'ipv6/conf/IF/accept_dad', 0);
    set(end, 'ipv6/conf/IF/disable_ipv6', 0);
    set(end, 'ipv4/conf/IF/rp_filter', 0);
    set(end, 'ipv4/conf/all/rp_filter', 0);
  }
  const mac = /link\/ether (\S+)/.exec(ip(receiver, 'link', 'show', receiver.interfaceName))?.[1] ?? '';
  ip(sender, 'addr', 'add', '10.77.0.1/30', 'dev', sender.interfaceName);
  ip(sender, '-6', 'addr', 'add', 'fd77::1/64', 'dev', sender.interfaceName, 'nodad');
  for (const address of ['10.77.0.2', 'fd77::2'])
    ip(sender, 'neigh', 'add', address, 'lladdr', mac, 'nud', 'permanent', 'dev', sender.interfaceName);
  ip(receiver, 'addr', 'add', '10.77.0.2/32', 'dev', receiver.interfaceName);
  ip(receiver, '-6', 'addr', 'add', 'fd77::2/128', 'dev', receiver.interfaceName, 'nodad');
}

/** Packets that left the receiver's interface. */
function sentBy({ receiver }: VethPair): number {
  return Number(runIn(receiver, ['cat', `/sys/class/net/${receiver.interfaceName}/statistics/tx_packets`]));
}

/** Packets that its queue dropped instead. */
function droppedBy({ receiver }: VethPair): number {
  const shown = runIn(receiver, ['tc', '-s', 'qdisc', 'show', 'dev', receiver.interfaceName]);
  return Number(/dropped (\d+)/.exec(shown)?.[1]);
}
