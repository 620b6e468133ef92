/** Live capture on real interfaces: which packets are handed out, beside tcpdump, and how every one of them is counted. */
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
import { NAMESPACE_NEED, canMakeNamespaces, startTcpdump } from '../../../../tests/support/namespace.ts';
import { BatchFilter } from '@tapline/shared/filter/batch-filter.ts';
import { openCaptureSource, silentCaptureEvents } from './capture-source.ts';
import { RING_BYTES_MIN } from './ring-format.ts';
import {
  MODBUS,
  OTHER,
  captureDuring,
  directory,
  expectBalance,
  numbered,
  pair,
  replay,
  send,
  setUp,
  start,
  tearDown,
} from './afpacket-testing.ts';

describe.skipIf(!canMakeNamespaces())(`live capture${NAMESPACE_NEED}`, () => {
  beforeEach(setUp);
  afterEach(tearDown);

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
});

/** The frame as the kernel keeps it: its outer tag, if any, taken out. */
function withoutVlan(frame: Buffer): Buffer {
  const isTagged = [0x8100, 0x88a8].includes(frame.readUInt16BE(12));
  return isTagged ? Buffer.concat([frame.subarray(0, 12), frame.subarray(16)]) : frame;
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
