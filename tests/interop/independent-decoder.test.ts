/** The independent decoder against the document's vectors, and against a conversation of the real programs. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packetsOfFile } from '../support/captured.ts';
import { Program } from '../support/child.ts';
import { projectRoot } from '../support/project.ts';
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
