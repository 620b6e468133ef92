/** The plain modes against each other and against hand-made clients: one datagram or one connection is one packet. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { PlainIntake } from '../../packages/collector/src/listen/plain-intake.ts';
import { UdpListener } from '../../packages/collector/src/listen/udp-listener.ts';
import { createUplink, type Uplink, type UplinkOptions } from '../../packages/forwarder/src/tunnel/uplink.ts';
import { BatchBuilder } from '../../packages/shared/src/packet/batch.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '../../packages/shared/src/packet/link-type.ts';
import { numberedBatch, numbersOf } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';
import { systemTunnelClock as clock } from '../../packages/shared/src/tunnel/tunnel-clock.ts';
import { TestCollector } from '../support/tunnel-collector.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function startUplink(
  protocol: UplinkOptions['protocol'],
  port: number,
  options: Partial<UplinkOptions> = {},
): Uplink {
  const uplink = createUplink(
    {
      protocol,
      collectors: [{ host: '127.0.0.1', port }],
      sensor: 'p',
      compression: 'none',
      onFull: 'wait',
      ...options,
    },
    { events: {} },
  );
  cleanups.push(() => uplink.drain(0));
  uplink.start();
  return uplink;
}

async function startTcp(options = {}): Promise<TestCollector> {
  const collector = await new TestCollector(options).open();
  cleanups.push(() => collector.close());
  return collector;
}

async function startUdp(): Promise<{
  port: number;
  plain: PlainIntake;
  numbers: number[];
  listener: UdpListener;
}> {
  const numbers: number[] = [];
  const plain = new PlainIntake('auto', { clock, deliver: (_, batch) => numbers.push(...numbersOf(batch)) });
  const listener = new UdpListener({ host: '127.0.0.1', port: 0 }, { plain, events: {} });
  const { port } = await listener.open();
  cleanups.push(() => listener.close().catch(() => undefined));
  return { port, plain, numbers, listener };
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

function balance({ counters }: Uplink): number {
  const dropped = Object.values(counters.dropped).reduce((sum, count) => sum + count, 0);
  return counters.offeredPackets - counters.acknowledgedPackets - counters.queuedPackets - dropped;
}

/** Frames of these sizes. */
function sizedBatch(...sizes: number[]): ReturnType<BatchBuilder['take']> {
  const builder = new BatchBuilder(LINKTYPE_ETHERNET);
  for (const size of sizes) builder.append(1, 2, size, new Uint8Array(size), 0, size);
  return builder.take();
}

describe('udp-plain', () => {
  it('carries every frame as one datagram', async () => {
    const { port, plain, numbers, listener } = await startUdp();
    const uplink = startUplink('udp-plain', port);
    const batch = numberedBatch(1, 500);
    uplink.offer(batch);
    batch.bytes.fill(0); // Its lender has it back.
    expect(await uplink.drain(5000)).toBe(0);
    await until(() => plain.counters.packets === 500);
    plain.flush();
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
    expect(uplink.counters.acknowledgedPackets).toBe(500);
    expect(balance(uplink)).toBe(0);
    expect(listener.kernelDroppedPackets()).toBe(0);
  });

  it('counts what no datagram can hold', async () => {
    const { port, plain } = await startUdp();
    const uplink = startUplink('udp-plain', port);
    uplink.offer(sizedBatch(60, 65_507, 65_508));
    expect(await uplink.drain(5000)).toBe(0);
    expect(uplink.counters).toMatchObject({ acknowledgedPackets: 2, dropped: { 'too-large': 1 } });
    await until(() => plain.counters.packets === 2);
  });

  it('counts what the kernel of the receiver had to drop', async () => {
    const plain = new PlainIntake('auto', { clock, deliver: () => undefined });
    const small: number[] = [];
    const listener = new UdpListener(
      { host: '127.0.0.1', port: 0, receiveBufferBytes: 2 ** 30 },
      { plain, events: { receiveBufferSmall: ({ grantedBytes }) => small.push(grantedBytes) } },
    );
    const { port } = await listener.open();
    // Nobody has a receive buffer of a GiB.
    expect(small).toHaveLength(1);
    const sender = createSocket('udp4');
    const count = 1000 + Math.ceil((small[0] ?? 0) / 10_000);
    // Sent without giving this thread, which is the receiver too, a turn to read.
    const sent = Array.from({ length: count }, () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      sender.send(new Uint8Array(20_000), port, '127.0.0.1', () => {
        resolve();
      });
      return promise;
    });
    await Promise.all(sent);
    await until(() => plain.counters.packets + listener.kernelDroppedPackets() === count);
    sender.close();
    await listener.close();
  });

  it('tells IP packets from Ethernet frames, and drops what is neither', async () => {
    const linkTypes: number[] = [];
    const plain = new PlainIntake('auto', { clock, deliver: (_, batch) => linkTypes.push(batch.linkType) });
    const ipv4 = new Uint8Array(46);
    ipv4.set([0x45, 0, 0, 40]);
    const ipv6 = new Uint8Array(60);
    ipv6.set([0x60, 0, 0, 0, 0, 20]);
    const macLikeIpv4 = new Uint8Array(60);
    macLikeIpv4.set([0x45, 0x12, 0x99, 0x01]);
    for (const bytes of [ipv4, ipv6, macLikeIpv4, new Uint8Array(60)]) {
      plain.take('10.0.0.1', bytes);
      plain.flush();
    }
    expect(linkTypes).toEqual([LINKTYPE_RAW, LINKTYPE_RAW, LINKTYPE_ETHERNET, LINKTYPE_ETHERNET]);
    plain.take('10.0.0.1', new Uint8Array(13));
    plain.take('10.0.0.1', new Uint8Array(262_145));
    expect(plain.counters).toMatchObject({ packets: 4, dropped: { 'too-short': 1, 'too-large': 1 } });
  });

  it('keeps senders apart, also when there are more of them than slots', () => {
    const delivered: [string, number][] = [];
    const plain = new PlainIntake('auto', {
      clock,
      deliver: (peer, batch) => delivered.push([peer, batch.packetCount]),
    });
    for (let i = 0; i < 300; i++) plain.take(`10.0.0.${String(i)}`, new Uint8Array(60));
    plain.flush();
    expect(delivered).toEqual(Array.from({ length: 300 }, (_, i) => [`10.0.0.${String(i)}`, 1]));
  });
});

describe('tcp-plain', () => {
  it('carries every frame as one connection', async () => {
    const collector = await startTcp();
    const uplink = startUplink('tcp-plain', collector.port);
    uplink.offer(numberedBatch(1, 100));
    uplink.offer(sizedBatch(262_144));
    expect(await uplink.drain(10_000)).toBe(0);
    await until(() => collector.plain.counters.packets === 101);
    collector.plain.flush();
    expect(collector.plain.counters.bytes).toBe(100 * 60 + 262_144);
    expect(uplink.counters.acknowledgedPackets).toBe(101);
    expect(balance(uplink)).toBe(0);
    expect(new Set(collector.plainBatches.map(({ peer }) => peer))).toEqual(new Set(['127.0.0.1']));
  });

  it('makes one packet of a connection whose bytes come in many pieces, however slowly its neighbours speak', async () => {
    const collector = await startTcp();
    // The silent one that blocked the collectors of old.
    const silent = connect(collector.port, '127.0.0.1');
    const socket = connect(collector.port, '127.0.0.1');
    socket.setNoDelay(true);
    await once(socket, 'connect');
    for (let i = 0; i < 30; i++) {
      socket.write(new Uint8Array(2).fill(i));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    socket.end();
    await until(() => collector.plain.counters.packets === 1);
    expect(collector.plain.counters.bytes).toBe(60);
    silent.destroy();
  });

  it('counts connections that break, stall or bring too much, and none that bring nothing', async () => {
    const collector = await startTcp({ plainTimeoutMs: 100 });
    const connectTo = async (): Promise<ReturnType<typeof connect>> => {
      const socket = connect(collector.port, '127.0.0.1').on('error', () => undefined);
      await once(socket, 'connect');
      return socket;
    };
    const broken = await connectTo();
    broken.write(new Uint8Array(60));
    await new Promise((resolve) => setTimeout(resolve, 20));
    broken.resetAndDestroy();
    const stalled = await connectTo();
    stalled.write(new Uint8Array(60));
    const large = await connectTo();
    large.end(new Uint8Array(300_000));
    const short = await connectTo();
    short.end(new Uint8Array(3));
    (await connectTo()).end();
    await until(() => {
      const { dropped } = collector.plain.counters;
      return dropped.incomplete === 2 && dropped['too-large'] === 1 && dropped['too-short'] === 1;
    });
    expect(collector.plain.counters.packets).toBe(0);
  });

  it('drops and counts what an absent collector does not take', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    const uplink = startUplink('tcp-plain', port);
    uplink.offer(numberedBatch(1, 20));
    expect(await uplink.drain(10_000)).toBe(0);
    expect(uplink.counters.dropped['send-failed']).toBe(20);
    expect(balance(uplink)).toBe(0);
  });
});

describe.each(['udp-plain', 'tcp-plain'] as const)('%s under pressure', (protocol) => {
  it('drops the newest when its queue is full, and gives up the rest at the deadline of a stop', async () => {
    const options = { onFull: 'drop-newest', queueBytesMax: 10_000 } as const;
    const uplink = createUplink(
      {
        protocol,
        collectors: [{ host: '127.0.0.1', port: 9 }],
        sensor: 'p',
        compression: 'none',
        ...options,
      },
      { events: {} },
    );
    // Not started: nothing leaves.
    for (let i = 0; i < 10; i++) uplink.offer(numberedBatch(i * 50, 50, 60));
    expect(uplink.counters.dropped['queue-full']).toBe(300);
    expect(balance(uplink)).toBe(0);
    expect(await uplink.drain(10)).toBe(200);
    expect(uplink.counters).toMatchObject({ queuedPackets: 0, queuedBytes: 0, dropped: { stopped: 200 } });
    expect(balance(uplink)).toBe(0);
  });
});
