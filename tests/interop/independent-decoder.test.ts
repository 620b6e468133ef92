/** The independent decoder against the document's vectors, and against a conversation of the real programs. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packetsOfFile } from '../support/captured.ts';
import { Program } from '../support/child.ts';
import { projectRoot } from '../support/project.ts';
import { decodeDatagrams } from './independent-datagram-decoder.ts';
import { decodeStream, type DecodedPacket } from './independent-decoder.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-decoder-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** What passed between the two programs, each direction for itself. */
async function conversation(codec: string): Promise<{ sent: Buffer; answered: Buffer; archive: string }> {
  const archive = join(directory, `soc-${codec}`);
  const capture = join(directory, 'plant.pcap');
  const simulator = new Program('forwarder', ['simulate', '-o', capture, '--duration', '20s', '--seed', '5']);
  await simulator.exited;
  const collectorConfig = join(directory, `collector-${codec}.yaml`);
  writeFileSync(
    collectorConfig,
    `port: 0\nbind: 127.0.0.1\nprotocol: tcp\narchive: {link_type: ethernet}\noutput_directories: {pcap_raw_output_path: ${archive}}\n`,
  );
  const collector = new Program('collector', ['-c', collectorConfig]);
  const collectorPort = Number((await collector.line('Listening for sensors.'))['port']);
  const sent: Buffer[] = [];
  const answered: Buffer[] = [];
  const tap = createServer((client) => {
    const target = connect(collectorPort, '127.0.0.1');
    client.on('data', (chunk) => sent.push(chunk)).pipe(target);
    target.on('data', (chunk) => answered.push(chunk)).pipe(client);
  });
  await new Promise<void>((resolve) => tap.listen(0, '127.0.0.1', resolve));
  const forwarderConfig = join(directory, `forwarder-${codec}.yaml`);
  writeFileSync(
    forwarderConfig,
    `sensor: probe\ncapture: {driver: file, files: [${capture}]}\narchive: {enable: false}\nforward: {enable: true, host: 127.0.0.1, port: ${(tap.address() as AddressInfo).port}, protocol: tcp, compression: ${codec}, priority: [tcp port 502]}\n`,
  );
  const forwarder = new Program('forwarder', ['-c', forwarderConfig]);
  expect((await forwarder.exited).code).toBe(0);
  expect(await collector.stop()).toBe(0);
  tap.close();
  return { sent: Buffer.concat(sent), answered: Buffer.concat(answered), archive: join(archive, 'probe') };
}

const contentOf = ({ seconds, nanoseconds, originalBytes, frame }: DecodedPacket): string =>
  `${seconds}${String(nanoseconds).padStart(9, '0')} ${originalBytes} ${frame.toString('hex')}`;

describe('a decoder written from docs/protocol.md alone', () => {
  it('reads every vector in the document', () => {
    const text = readFileSync(join(projectRoot, 'docs/protocol.md'), 'utf8');
    const vectors = [...text.matchAll(/^```hex ([\w ]+)\n([0-9a-f \n]+)```$/gm)];
    expect(vectors.length).toBeGreaterThanOrEqual(12);
    for (const [, name = '', hex = ''] of vectors) {
      const frames = decodeStream(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));
      expect(frames, name).toHaveLength(1);
      if (name.startsWith('BATCH ')) expect(frames[0]?.packets.map(({ seconds }) => seconds - 1_767_225_600)).toEqual([0, 1, 2]); // prettier-ignore
    }
  });

  it.each(['zstd', 'lz4', 'none'])(
    'finds in a real conversation what the collector stored (%s)',
    async (codec) => {
      const { sent, answered, archive } = await conversation(codec);
      const frames = decodeStream(sent);
      const packets = frames.flatMap((frame) => frame.packets).map(contentOf);
      const stored: string[] = [];
      for (const name of readdirSync(archive).filter((file) => file.endsWith('.pcap')))
        for (const packet of await packetsOfFile(join(archive, name)))
          stored.push(`${packet.timeNs} ${packet.originalBytes} ${packet.frame.toString('hex')}`);
      expect(packets.length).toBeGreaterThan(1000);
      expect(packets.toSorted()).toEqual(stored.toSorted());
      // Lane by lane the sequences are whole, and all of them were acknowledged in the end.
      const last = new Map<number, number>();
      for (const { type, lane, sequence } of frames) {
        if (type !== 3) continue;
        expect(sequence).toBe((last.get(lane) ?? 0) + 1);
        last.set(lane, sequence);
      }
      expect(last.size).toBe(2);
      const acknowledged = new Map<number, number>();
      for (const { type, lane, sequence } of decodeStream(answered))
        if (type === 5) acknowledged.set(lane, sequence);
      expect(new Map([...acknowledged].sort())).toEqual(new Map([...last].sort()));
    },
  );
});

describe('a decoder of datagrams written from docs/protocol.md alone', () => {
  it('reads the vectors in the document, sealed ones too, with any shard missing', () => {
    const text = readFileSync(join(projectRoot, 'docs/protocol.md'), 'utf8');
    const vectors = new Map(
      [...text.matchAll(/^```datagram (\w+)\n([0-9a-f \n]+)```$/gm)].map(([, name = '', hex = '']) => [name, Buffer.from(hex.replaceAll(/\s/g, ''), 'hex')]), // prettier-ignore
    );
    const plain = [0, 1, 2, 3].map((index) => vectors.get(`DATAGRAM${String(index)}`) ?? Buffer.alloc(0));
    const secret = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
    for (const first of [plain[0], vectors.get('SEALED'), vectors.get('SEALED2')]) {
      const all = [first ?? Buffer.alloc(0), ...plain.slice(1)];
      for (let missing = 0; missing < 4; missing++) {
        const [group] = decodeDatagrams(all.filter((_, index) => index !== missing), secret); // prettier-ignore
        expect(group).toMatchObject({ group: 5, sequence: 2, packets: 4, frame: { type: 9, message: { reason: 'done' } } }); // prettier-ignore
      }
    }
  });

  it('finds every packet in what a real forwarder sends, with two shards of each group lost', async () => {
    const capture = join(directory, 'plant-udp.pcap');
    await new Program('forwarder', ['simulate', '-o', capture, '--duration', '10s', '--seed', '6']).exited;
    const key = join(directory, 'udp.key');
    writeFileSync(key, `${'ab'.repeat(32)}\n`, { mode: 0o600 });
    const datagrams: Buffer[] = [];
    const receiver = createSocket('udp4').on('message', (bytes) => datagrams.push(bytes));
    await new Promise<void>((resolve) => receiver.bind(0, '127.0.0.1', resolve));
    receiver.setRecvBufferSize(4 * 1024 * 1024);
    const file = join(directory, 'forwarder-udp.yaml');
    writeFileSync(file, `sensor: probe\ncapture: {driver: file, files: [${capture}]}\narchive: {enable: false}\nforward: {enable: true, host: 127.0.0.1, port: ${receiver.address().port}, protocol: udp-tunnel, max_rate: 100Mbit/s, udp: {key_id: 1, key_file: ${key}}}\n`); // prettier-ignore
    const forwarder = new Program('forwarder', ['-c', file]);
    expect((await forwarder.exited).code, forwarder.transcript()).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 100));
    receiver.close();
    // Of each group as many datagrams are lost as it has parity shards: another choice for each.
    const lost = (datagram: Buffer): boolean => {
      const [index = 0, k = 0, m = 0] = datagram.subarray(36, 39);
      return (index + datagram.readUIntLE(24, 6) * 7) % (k + m) < m;
    };
    const groups = decodeDatagrams(datagrams.filter((datagram) => !lost(datagram)), Buffer.alloc(32, 0xab)); // prettier-ignore
    const found = groups.flatMap(({ frame }) => frame.packets).map(contentOf);
    const sent = (await packetsOfFile(capture)).map(({ timeNs, originalBytes, frame }) => `${timeNs} ${originalBytes} ${frame.toString('hex')}`); // prettier-ignore
    expect(found.length).toBeGreaterThan(1000);
    expect(found).toEqual(sent);
    expect(groups.at(-1)?.packets).toBe(sent.length);
  });
});
