/** Live capture on real interfaces: veth pairs in namespaces of their own, tcpreplay sending, tcpdump beside. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { corpusFiles, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import {
  batchOf,
  contentOf,
  packetsOf,
  packetsOfAll,
  packetsOfFile,
  withVlan,
  writeFrames,
  type SeenPacket,
} from '../../../../tests/support/captured.ts';
import {
  NAMESPACE_NEED,
  VethPair,
  canMakeNamespaces,
  enterNamespace,
  runIn,
  startTcpdump,
} from '../../../../tests/support/namespace.ts';
import { BatchFilter } from '@tapline/shared/filter/batch-filter.ts';
import {
  openCaptureSource,
  silentCaptureEvents,
  type AfPacketOptions,
  type CaptureEvents,
  type CaptureSource,
} from './capture-source.ts';
import { RING_BYTES_MIN } from './ring-format.ts';

let directory: string;
let pair: VethPair;
let source: CaptureSource | null = null;

function start(options: Partial<AfPacketOptions> = {}, events: Partial<CaptureEvents> = {}): CaptureSource {
  const interfaces = [pair.receiver.interfaceName];
  source = openCaptureSource(
    { driver: 'afpacket', interfaces, ringBytes: 8 * 1024 * 1024, ...options },
    { events: { ...silentCaptureEvents, ...events } },
  );
  return source;
}

/** Sends frames through the pair, as fast as asked (packets a second), and returns when the last is out. */
async function send(frames: readonly Buffer[], rate = 20_000): Promise<void> {
  const file = join(directory, 'sent.pcap');
  await writeFrames(file, frames);
  replay(file, ['--pps', `${rate}`]);
}

function replay(file: string, words: readonly string[]): void {
  runIn(pair.sender, ['tcpreplay', '-q', '-i', pair.sender.interfaceName, ...words, file]);
}

/** Captures while `action` runs, stops right after it, and returns what was handed out. */
async function captureDuring(capture: CaptureSource, action: () => Promise<void>): Promise<SeenPacket[]> {
  const stop = new AbortController();
  const packets = packetsOfAll(capture.batches(stop.signal));
  await action();
  stop.abort();
  return packets;
}

function expectBalance(capture: CaptureSource, sentPackets: number): void {
  const { packets, kernelDroppedPackets, abandonedPackets } = capture.counters();
  expect(packets + kernelDroppedPackets + abandonedPackets).toBe(sentPackets);
}

const MODBUS = Buffer.from(
  '00000000000200000000000108004500003412344000400600000a0000020a000001c35001f60000000100000002501801000000000000010000000601030000000a',
  'hex',
);
const OTHER = Buffer.concat([MODBUS.subarray(0, 34), Buffer.from('c3500050', 'hex'), MODBUS.subarray(38)]);

/** One frame after another, told apart by a number in the TCP sequence field. */
function numbered(count: number, frames: readonly Buffer[] = [MODBUS]): Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    const frame = Buffer.from(frames[index % frames.length] as Buffer);
    frame.writeUInt32BE(index, frame.byteLength - 4);
    return frame;
  });
}

describe.skipIf(!canMakeNamespaces())(`live capture${NAMESPACE_NEED}`, () => {
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tapline-capture-'));
    pair = new VethPair();
    enterNamespace(pair.receiver);
  });
  afterEach(async () => {
    await source?.close();
    source = null;
    pair.close();
    rmSync(directory, { recursive: true, force: true });
  });

  describeWithCorpus('of real traffic', () => {
    it('hands out what tcpdump captures beside it: packets, order, bytes, lengths, VLAN tags', async () => {
      const frames = await mixedFrames();
      expect(frames.length).toBeGreaterThan(1000);
      expect(frames.filter((frame) => frame.readUInt16BE(12) === 0x8100).length).toBeGreaterThan(20);
      expect(frames.filter((frame) => frame.readUInt16BE(12) === 0x88a8).length).toBeGreaterThan(0);
      const capture = start();
      await capture.open();
      const tcpdump = await startTcpdump(pair.receiver, join(directory, 'tcpdump.pcap'));
      const before = BigInt(Date.now()) * 1_000_000n;
      const packets = await captureDuring(capture, () => send(frames));
      await tcpdump.stop();
      expect(contentOf(packets)).toEqual(
        frames.map((frame) => `${frame.byteLength} ${frame.toString('hex')}`),
      );
      expect(contentOf(packets)).toEqual(contentOf(await packetsOfFile(join(directory, 'tcpdump.pcap'))));
      let last = before;
      for (const { timeNs } of packets) {
        expect(timeNs >= last).toBe(true);
        last = timeNs;
      }
      expect(last <= BigInt(Date.now()) * 1_000_000n + 1_000_000n).toBe(true);
      expect(packets.some(({ timeNs }) => timeNs % 1000n !== 0n)).toBe(true);
      expectBalance(capture, frames.length);
    });
  });

  const tagged = [
    MODBUS,
    withVlan(MODBUS, 10),
    withVlan(MODBUS, 11),
    withVlan(OTHER, 10),
    withVlan(withVlan(MODBUS, 10), 100, 0x88a8),
    OTHER,
  ];

  it.each([
    'tcp port 502',
    'vlan',
    'vlan 10',
    'vlan 10 and tcp port 502',
    'vlan 100 and vlan 10',
    'not vlan',
  ])('filters "%s" in the kernel as tcpdump does, tags or not', async (filter) => {
    const frames = numbered(60, tagged);
    const capture = start({ filter });
    await capture.open();
    const tcpdump = await startTcpdump(pair.receiver, join(directory, 'tcpdump.pcap'), [filter]);
    const packets = await captureDuring(capture, () => send(frames));
    await tcpdump.stop();
    expect(contentOf(packets)).toEqual(contentOf(await packetsOfFile(join(directory, 'tcpdump.pcap'))));
    // The one difference between the two kinds of programs: the kernel has taken the outer tag out of the frame, so a live
    // filter that says nothing of VLANs matches behind it; over a file it does not.
    const inFile = filter.includes('vlan') ? frames : frames.map((frame) => withoutVlan(frame));
    const offline = new BatchFilter({ expression: filter, snapBytes: 262_144 }).apply(batchOf(inFile));
    expect(packets.length).toBe(offline?.packetCount);
    if (filter.includes('vlan')) expect(contentOf(packets)).toEqual(offline && contentOf(packetsOf(offline)));
  });

  it.each([14, 40, 64, 66, 68, 9000])(
    'cuts at %d bytes with the tag in, and keeps the original length',
    async (snapBytes) => {
      const frames = numbered(12, tagged);
      for (const filter of ['', 'tcp or vlan']) {
        const capture = start({ snapBytes, filter });
        await capture.open();
        const packets = await captureDuring(capture, () => send(frames));
        expect(contentOf(packets)).toEqual(
          frames.map((frame) => `${frame.byteLength} ${frame.subarray(0, snapBytes).toString('hex')}`),
        );
        expect(capture.counters().truncatedPackets).toBe(
          frames.filter((frame) => frame.byteLength > snapBytes).length,
        );
      }
    },
  );

  it('counts every packet that a full ring could not take', async () => {
    const told: number[] = [];
    const capture = start(
      { ringBytes: RING_BYTES_MIN },
      { packetsDropped: (_, packets) => told.push(packets) },
    );
    await capture.open();
    const frames = numbered(500, [Buffer.concat([MODBUS, Buffer.alloc(1400)])]);
    await writeFrames(join(directory, 'burst.pcap'), frames);
    // Nobody reads while 28 MB come in: the buffers take 8 MiB, the ring half a MiB.
    replay(join(directory, 'burst.pcap'), ['--topspeed', '--loop', '40', '-K']);
    const packets = await captureDuring(capture, async () => undefined);
    const { kernelDroppedPackets, kernelFreezes, abandonedPackets } = capture.counters();
    expect(kernelDroppedPackets).toBeGreaterThan(1000);
    expect(kernelFreezes).toBeGreaterThan(0);
    expect(abandonedPackets).toBe(0);
    expect(packets.length + kernelDroppedPackets).toBe(20_000);
    expect(told.reduce((sum, count) => sum + count, 0)).toBe(kernelDroppedPackets);
  });

  it('hands out what the kernel still holds when it is stopped', async () => {
    for (let round = 0; round < 5; round++) {
      const capture = start();
      await capture.open();
      const packets = await captureDuring(capture, () => send(numbered(round * 700 + 1), 1_000_000));
      expect(packets.length).toBe(round * 700 + 1);
      expectBalance(capture, packets.length);
      await capture.close();
    }
  });

  it('says how many packets a reader who left has left behind', async () => {
    const capture = start();
    await capture.open();
    await send(numbered(3000), 1_000_000);
    await sleep(100);
    for await (const batch of capture.batches(new AbortController().signal)) {
      expect(batch.packetCount).toBeGreaterThan(0);
      break;
    }
    await capture.close();
    expectBalance(capture, 3000);
  });

  it('survives an interface that goes down, and goes on when it is up again', async () => {
    const log: string[] = [];
    const recovered = Promise.withResolvers<void>();
    const capture = start(
      {},
      {
        interfaceLost: (_, reason) => log.push(`lost ${reason}`),
        interfaceRecovered: () => {
          log.push('recovered');
          recovered.resolve();
        },
      },
    );
    await capture.open();
    const packets = await captureDuring(capture, async () => {
      await send(numbered(10));
      pair.set(pair.receiver, 'down');
      await sleep(300);
      pair.set(pair.receiver, 'up');
      await recovered.promise;
      await send(numbered(20));
    });
    expect(log).toEqual(['lost ENETDOWN', 'recovered']);
    expect(packets.length).toBe(30);
    expect(capture.counters().interruptions).toBe(1);
  });

  it.each([true, false])(
    'finds an interface again that was deleted and made anew (promiscuous: %s)',
    async (promiscuous) => {
      const recovered = Promise.withResolvers<void>();
      const capture = start(
        { promiscuous, filter: 'tcp port 502' },
        { interfaceRecovered: () => { recovered.resolve(); } }, // prettier-ignore
      );
      await capture.open();
      const packets = await captureDuring(capture, async () => {
        await send(numbered(10));
        pair.disconnect();
        await sleep(400);
        pair.connect();
        await recovered.promise;
        await send(numbered(20, [MODBUS, OTHER]));
        expect(/promiscuity (\d)/.exec(linkDetails())?.[1]).toBe(promiscuous ? '1' : '0');
      });
      expect(packets.length).toBe(20);
    },
  );

  it('takes what this machine sends only when asked to', async () => {
    for (const [direction, count] of [
      ['both', 5],
      ['in', 0],
    ] as const) {
      // The other end: what the receiver hears, this one sends.
      enterNamespace(pair.sender);
      const capture = start({ interfaces: [pair.sender.interfaceName], direction });
      await capture.open();
      const packets = await captureDuring(capture, () => send(numbered(5)));
      expect(packets.length).toBe(count);
    }
  });

  it('sees each packet on loopback once', async () => {
    const capture = start({ interfaces: ['lo'], filter: 'udp' });
    await capture.open();
    const packets = await captureDuring(capture, async () => {
      const socket = createSocket('udp4');
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
      for (let i = 0; i < 10; i++) socket.send('hello', socket.address().port, '127.0.0.1');
      await sleep(50);
      socket.close();
    });
    expect(capture.interfaces).toEqual([{ name: 'lo', linkType: 1 }]);
    expect(packets.length).toBe(10);
  });

  it('takes several interfaces at once and says which one a packet is from', async () => {
    const capture = start({ interfaces: ['lo', pair.receiver.interfaceName] });
    await capture.open();
    const packets = await captureDuring(capture, async () => {
      await send(numbered(7));
      const socket = createSocket('udp4');
      socket.send('hello', 9, '127.0.0.1');
      await sleep(50);
      socket.close();
    });
    expect(capture.interfaces.map(({ name }) => name)).toEqual(['lo', pair.receiver.interfaceName]);
    expect(packets.filter(({ interfaceId }) => interfaceId === 1).length).toBe(7);
    // The datagram, and the answer that nobody listens on port 9.
    expect(packets.filter(({ interfaceId }) => interfaceId === 0).length).toBe(2);
  });

  it('gives plain IP packets their own link type', async () => {
    runIn(pair.receiver, ['ip', 'tuntap', 'add', 'tun0', 'mode', 'tun']);
    runIn(pair.receiver, ['ip', 'link', 'set', 'tun0', 'up']);
    const capture = start({ interfaces: ['tun0'] });
    await capture.open();
    expect(capture.interfaces).toEqual([{ name: 'tun0', linkType: 101 }]);
  });

  it('refuses with a remedy what cannot be captured', async () => {
    await expect(start({ interfaces: ['nowhere0'] }).open()).rejects.toThrow(/no such interface/);
    await expect(start({ interfaces: ['nowhere0'], filter: 'tcp' }).open()).rejects.toThrow(
      /no such interface/,
    );
    await expect(start({ interfaces: ['a-name-that-is-too-long'] }).open()).rejects.toThrow(
      /no interface has a name/,
    );
    await expect(start({ filter: 'tcp prt 502' }).open()).rejects.toThrow(/syntax error/);
    await expect(start({ ringBytes: 2 ** 45 }).open()).rejects.toThrow(/smaller/);
    pair.set(pair.receiver, 'down');
    await expect(start().open()).rejects.toThrow(/is down; `ip link set/);
    await expect(start({ filter: 'tcp' }).open()).rejects.toThrow(/is down; `ip link set/);
  });
});

/** The frame as the kernel keeps it: its outer tag, if any, taken out. */
function withoutVlan(frame: Buffer): Buffer {
  const isTagged = [0x8100, 0x88a8].includes(frame.readUInt16BE(12));
  return isTagged ? Buffer.concat([frame.subarray(0, 12), frame.subarray(16)]) : frame;
}

function linkDetails(): string {
  return runIn(pair.receiver, ['ip', '-d', 'link', 'show', pair.receiver.interfaceName]);
}

/** Every Ethernet frame that a veth pair can carry, out of the corpus' protocols and encapsulations. */
async function mixedFrames(): Promise<Buffer[]> {
  const folders = [
    'ot/modbus',
    'ot/profinet',
    'ot/iec61850',
    'linktypes/vlan',
    'linktypes/qinq',
    'linktypes/mpls',
    'linktypes/llc-snap-stp',
  ];
  const frames: Buffer[] = [];
  const perFile = 60;
  for (const { path } of folders.flatMap((folder) => corpusFiles(folder))) {
    for (const { frame } of await ethernetPackets(path)) {
      if (frame.byteLength >= 15 && frame.byteLength <= 1518) frames.push(frame);
      if (frames.length % perFile === 0) break;
    }
  }
  return frames;
}

async function ethernetPackets(path: string): Promise<SeenPacket[]> {
  try {
    const file = openCaptureSource({ driver: 'file', paths: [path] }, { events: silentCaptureEvents });
    await file.open();
    const packets = await packetsOfAll(file.batches(new AbortController().signal));
    await file.close();
    return file.interfaces.every(({ linkType }) => linkType === 1) ? packets : [];
  } catch {
    return [];
  }
}
