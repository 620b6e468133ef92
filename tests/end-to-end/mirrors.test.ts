/**
 * Mirrors as switches and clouds send them: the plant's frames, wrapped, over a real wire into a collector. VXLAN is wrapped by the
 * kernel, the others here; tshark must see in them what we mean before the collector does.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { internetChecksum } from '@tapline/shared/packet/checksum.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile, writeFrames, type SeenPacket } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';
import { NAMESPACE_NEED, VethPair, canMakeNamespaces, runIn } from '../support/namespace.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-mirrors-'));
const plant = join(directory, 'plant.pcap');
const SWITCH = '10.55.0.1';
const SOC = '10.55.0.2';
const FRAMES = 400;
let frames: Buffer[] = [];

beforeAll(async () => {
  const simulator = new Program('forwarder', ['simulate', '-o', plant, '--duration', '20s', '--seed', '21']);
  await simulator.exited;
  frames = (await packetsOfFile(plant)).slice(0, FRAMES).map(({ frame }) => frame);
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

interface Wrapping {
  readonly protocol: string;
  /** Bytes between the outer IP header and the frame. */
  readonly wrap: (frame: Buffer, index: number) => Buffer;
  readonly ipProtocol: number;
  readonly sensor: string;
  /** What the archive should hold for a frame. */
  readonly expected?: (frame: Buffer) => Buffer;
  readonly tshark: string;
}

const udp = (port: number, payload: Buffer): Buffer => {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(40_000, 0);
  header.writeUInt16BE(port, 2);
  header.writeUInt16BE(8 + payload.byteLength, 4);
  return Buffer.concat([header, payload]);
};
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const u32 = (value: number): string => value.toString(16).padStart(8, '0');
const tagged = (frame: Buffer): Buffer =>
  Buffer.concat([frame.subarray(0, 12), hex('8100 6064'), frame.subarray(12)]);

/** Type III does not say whether the tag was taken off: it was when the frame shows none. */
const taggedOnce = (frame: Buffer): Buffer => (frame.readUInt16BE(12) === 0x8100 ? frame : tagged(frame));

const WRAPPINGS: readonly Wrapping[] = [
  { protocol: 'geneve', ipProtocol: 17, wrap: (frame) => udp(6081, Buffer.concat([hex('0000 6558 000007 00'), frame])), sensor: `geneve-${SWITCH}-7`, tshark: 'geneve.vni == 7' }, // prettier-ignore
  { protocol: 'tzsp', ipProtocol: 17, wrap: (frame) => udp(37_008, Buffer.concat([hex('01 00 0001 01'), frame])), sensor: `tzsp-${SWITCH}-0`, tshark: 'tzsp' }, // prettier-ignore
  { protocol: 'gre', ipProtocol: 47, wrap: (frame) => Buffer.concat([hex('2000 6558 00000009'), frame]), sensor: `gre-${SWITCH}-9`, tshark: 'gre.proto == 0x6558' }, // prettier-ignore
  { protocol: 'erspan', ipProtocol: 47, wrap: (frame, index) => Buffer.concat([hex(`1000 88be ${u32(index)} 1064 7005 00000000`), frame]), expected: tagged, sensor: `erspan-${SWITCH}-5`, tshark: 'erspan.vlan == 100 && erspan.spanid == 5 && erspan.cos == 3' }, // prettier-ignore
  { protocol: 'erspan', ipProtocol: 47, wrap: (frame, index) => Buffer.concat([hex(`1000 22eb ${u32(index)} 2064 6006 00000000 00000000`), frame]), expected: taggedOnce, sensor: `erspan-${SWITCH}-6`, tshark: 'erspan.vlan == 100 && erspan.spanid == 6' }, // prettier-ignore
];

function overIp(protocol: number, payload: Buffer, macs: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header.set([
    0x45,
    0,
    (20 + payload.byteLength) >> 8,
    (20 + payload.byteLength) & 255,
    0,
    0,
    0,
    0,
    64,
    protocol,
  ]);
  header.set([...SWITCH.split('.').map(Number), ...SOC.split('.').map(Number)], 12);
  header.writeUInt16BE(internetChecksum(header, 0, 20), 10);
  return Buffer.concat([macs, hex('0800'), header, payload]);
}

async function packetsIn(path: string): Promise<SeenPacket[]> {
  const packets: SeenPacket[] = [];
  for (const name of readdirSync(path))
    if (name.endsWith('.pcap')) packets.push(...(await packetsOfFile(join(path, name))));
  return packets;
}

describe.skipIf(!canMakeNamespaces())(`mirrors${NAMESPACE_NEED}`, () => {
  async function startCollector(pair: VethPair, soc: string): Promise<Program> {
    const { sender, receiver } = pair;
    runIn(sender, ['ip', 'addr', 'add', `${SWITCH}/24`, 'dev', sender.interfaceName]);
    runIn(receiver, ['ip', 'addr', 'add', `${SOC}/24`, 'dev', receiver.interfaceName]);
    const file = join(directory, 'collector.yaml');
    const mirrors = ['vxlan', 'geneve', 'tzsp', 'gre', 'erspan'].map((protocol) => `{protocol: ${protocol}, bind: ${SOC}${protocol === 'vxlan' ? `, names: [{source: ${SWITCH}, id: 42, sensor: cell-42}]` : ''}}`); // prettier-ignore
    writeFileSync(
      file,
      `port: 0\nbind: 127.0.0.1\nprotocol: tcp\narchive: {link_type: ethernet}\nmirrors: [${mirrors.join(', ')}]\noutput_directories: {pcap_raw_output_path: ${soc}}\n`,
    );
    const collector = new Program('collector', ['-c', file], {
      wrapper: ['ip', 'netns', 'exec', receiver.namespace],
    });
    await collector.line('Listening for sensors.');
    return collector;
  }

  it.each(WRAPPINGS)(
    'of $protocol are unwrapped into $sensor',
    async ({ protocol, wrap, ipProtocol, sensor, expected, tshark }) => {
      // prettier-ignore
      const pair = new VethPair();
      try {
        const soc = join(directory, `soc-${sensor}`);
        const collector = await startCollector(pair, soc);
        const mac = (end: { namespace: string; interfaceName: string }): Buffer =>
          hex(
            runIn(end, ['cat', `/sys/class/net/${end.interfaceName}/address`])
              .trim()
              .replaceAll(':', ''),
          );
        const macs = Buffer.concat([mac(pair.receiver), mac(pair.sender)]);
        const wrapped = frames.map((frame, index) => overIp(ipProtocol, wrap(frame, index), macs));
        // One that is lost on the way, where the mirror counts.
        if (protocol === 'erspan') wrapped.splice(100, 1);
        const capture = join(directory, `${sensor}.pcap`);
        await writeFrames(capture, wrapped);
        const seen = execFileSync('tshark', ['-r', capture, '-Y', `${tshark} && !_ws.malformed`, '-T', 'fields', '-e', 'frame.number'], { encoding: 'utf8' }); // prettier-ignore
        expect(seen.trim().split('\n')).toHaveLength(wrapped.length);
        runIn(pair.sender, ['tcpreplay', '--pps=4000', '-i', pair.sender.interfaceName, capture]);
        await sleep(500);
        expect(await collector.stop()).toBe(0);
        const wanted = frames.filter((_, index) => protocol !== 'erspan' || index !== 100);
        const found = contentOf(await packetsIn(join(soc, sensor))).map((content) => content.split(' ')[1]);
        expect(found.sort()).toEqual(
          wanted.map((frame) => (expected?.(frame) ?? frame).toString('hex')).sort(),
        );
        expect(booksOf(collector)['mirrors']).toMatchObject({ packets: wanted.length, missingPackets: protocol === 'erspan' ? 1 : 0 }); // prettier-ignore
      } finally {
        pair.close();
      }
    },
  );

  it('of VXLAN, wrapped by the kernel, go to the sensor they were named for', async () => {
    const pair = new VethPair();
    try {
      const soc = join(directory, 'soc-vxlan');
      const collector = await startCollector(pair, soc);
      const { sender } = pair;
      runIn(sender, ['ip', 'link', 'add', 'vx', 'type', 'vxlan', 'id', '42', 'remote', SOC, 'local', SWITCH, 'dstport', '4789', 'dev', sender.interfaceName]); // prettier-ignore
      runIn(sender, ['ip', 'link', 'set', 'vx', 'mtu', '1500', 'up']);
      runIn(sender, ['ip', 'neigh', 'replace', SOC, 'lladdr', runIn(pair.receiver, ['cat', `/sys/class/net/${pair.receiver.interfaceName}/address`]).trim(), 'dev', sender.interfaceName]); // prettier-ignore
      const capture = join(directory, 'vxlan.pcap');
      await writeFrames(capture, frames);
      runIn(sender, ['tcpreplay', '--pps=4000', '-i', 'vx', capture]);
      await sleep(500);
      expect(await collector.stop()).toBe(0);
      const found = contentOf(await packetsIn(join(soc, 'cell-42'))).map((content) => content.split(' ')[1]);
      expect(found.sort()).toEqual(frames.map((frame) => frame.toString('hex')).sort());
    } finally {
      pair.close();
    }
  });
});

describe('a plain TCP stream of IP packets', () => {
  it('is cut into packets, from many senders at once, with garbage between them', async () => {
    const soc = join(directory, 'soc-stream');
    const file = join(directory, 'stream.yaml');
    writeFileSync(
      file,
      `port: 0\nbind: 127.0.0.1\nprotocol: tcp\noutput_directories: {pcap_raw_output_path: ${soc}}\n`,
    );
    const collector = new Program('collector', ['-c', file]);
    const port = Number((await collector.line('Listening for sensors.'))['port']);
    const packets = frames.filter((frame) => frame.readUInt16BE(12) === 0x0800).map((frame) => frame.subarray(14, 14 + frame.readUInt16BE(16))); // prettier-ignore
    const send = (garbage: number): Promise<void> =>
      new Promise((resolve, reject) => {
        const half = packets.length >> 1;
        const stream = Buffer.concat([
          ...packets.slice(0, half),
          Buffer.alloc(garbage, 0xee),
          ...packets.slice(half),
        ]);
        const socket = connect(port, '127.0.0.1', () => {
          for (let at = 0; at < stream.byteLength; at += 999) socket.write(stream.subarray(at, at + 999));
          socket.end();
        });
        socket.resume().on('error', reject).on('close', () => {
          resolve();
        }); // prettier-ignore
      });
    await Promise.all([send(0), send(0), send(300), send(0)]);
    expect(await collector.stop()).toBe(0);
    const found = contentOf(await packetsIn(join(soc, '127.0.0.1'))).map((content) => content.split(' ')[1]);
    const wanted = packets.map((packet) => packet.toString('hex'));
    expect(found.sort()).toEqual([...wanted, ...wanted, ...wanted, ...wanted].sort());
    expect((booksOf(collector)['plain']?.['droppedByReason'] as Record<string, number>)['garbage']).toBe(1);
  });
});
