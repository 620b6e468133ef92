/**
 * The one-way tunnel where something has no room: a queue, a group, a store, a link that is not there, a collector that crashed. Every packet is at the
 * collector, or in a gap that is exact.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { UdpTunnelUplink } from '../../packages/forwarder/src/tunnel/udp/udp-tunnel-uplink.ts';
import { numberedBatch, seededRandom } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';
import { cleanUp, expectBalance, offerNumbers, until } from '../support/numbered.ts';
import { startCollector, startRelay, startUplink } from '../support/one-way-ends.ts';
import { expectExact, timeOf } from './udp-tunnel-testing.ts';

afterEach(cleanUp);

describe('the one-way tunnel', () => {
  it('reports what a full queue had to drop, and what was given up at a stop', async () => {
    const collector = await startCollector();
    const uplink = startUplink(
      collector.port,
      {},
      {
        onFull: 'drop-newest',
        queueBytesMax: 60_000,
        rate: { bytesPerSecond: 400_000, windows: [] },
      },
    );
    for (let first = 1; first <= 5000; first += 100) {
      uplink.offer(numberedBatch(first, 100, 100));
      await new Promise((resolve) => setTimeout(resolve, 8));
      expectBalance(uplink);
    }
    const abandoned = await uplink.drain(20);
    expect(abandoned).toBeGreaterThan(0);
    expectBalance(uplink);
    await until(() => collector.sessions.sensors[0]?.isConnected === false);
    await collector.close();
    const disk = collector.disk('probe-1');
    const { missing } = expectExact(disk, 5000);
    const { dropped } = uplink.counters;
    expect(dropped['queue-full']).toBeGreaterThan(0);
    expect(dropped.stopped).toBe(abandoned);
    // A datagram that was already the system's may have arrived; nothing else can differ.
    expect(missing).toBeLessThanOrEqual(dropped['queue-full'] + dropped.stopped);
    expect(new Set(disk.gaps.map(({ reason }) => reason))).toEqual(new Set(['queue-full', 'datagrams-lost']));
  });

  it('carries jumbo packets as larger groups, and reports one that no group can hold', async () => {
    const collector = await startCollector();
    const uplink = startUplink(collector.port, { mtu: 576 }, { queueBytesMax: 8_000_000 });
    uplink.offer(numberedBatch(1, 2, 9000));
    uplink.offer(numberedBatch(3, 1, 90_000));
    uplink.offer(numberedBatch(4, 1, 200_000));
    uplink.offer(numberedBatch(5, 2));
    expect(await uplink.drain(10_000)).toBe(0);
    await until(() => collector.disk('probe-1').numbers.length === 5);
    expect(collector.disk('probe-1').numbers).toEqual([1, 2, 3, 5, 6]);
    expect(collector.disk('probe-1').gaps).toMatchObject([
      { packets: 1, bytes: 200_000, reason: 'too-large' },
    ]);
    expect(uplink.counters.dropped['too-large']).toBe(1);
    expectBalance(uplink);
  });

  it('counts what the store had no room for, exactly', async () => {
    const collector = await startCollector({ bytesMax: 200_000, uncommittedBytesMax: 50_000 });
    collector.disk('probe-1').commitMs = 60;
    const uplink = startUplink(collector.port);
    await offerNumbers(uplink, 1, 20_000, seededRandom(8));
    expect(await uplink.drain(30_000)).toBe(0);
    await until(() => collector.sessions.sensors[0]?.isConnected === false);
    await collector.close();
    const disk = collector.disk('probe-1');
    const { missing } = expectExact(disk, 20_000);
    expect(missing).toBeGreaterThan(0);
    expect(disk.gaps[0]?.reason).toBe('collector-overloaded');
    expect(collector.tunnel.counters.overloadedGroups).toBeGreaterThan(0);
    expect(collector.tunnel.heldBytes).toBe(0);
  });

  it('waits for a link that is not there, says so once, and gives up at a stop what it still holds', async () => {
    const failures: string[] = [];
    const uplink = new UdpTunnelUplink(
      {
        protocol: 'udp-tunnel',
        // Nobody may send there without asking: the system refuses every datagram.
        collectors: [{ host: '255.255.255.255', port: 9 }],
        sensor: 'probe-1',
        compression: 'none',
        onFull: 'drop-newest',
        queueBytesMax: 50_000,
      },
      { mtu: 1500, data: 10, parity: 2, interleave: 4, seal: null },
      { events: { sendFailed: ({ message }) => failures.push(message) } },
    );
    uplink.start();
    for (let first = 1; first <= 3000; first += 100) {
      uplink.offer(numberedBatch(first, 100, 100));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(uplink.hasRoom()).toBe(false);
    expect(uplink.counters.dropped['queue-full']).toBeGreaterThan(0);
    expect(uplink.counters.acknowledgedPackets).toBe(0);
    const abandoned = await uplink.drain(50);
    expect(abandoned).toBe(uplink.counters.dropped.stopped);
    expect(abandoned + uplink.counters.dropped['queue-full']).toBe(3000);
    expectBalance(uplink);
    expect(failures).toHaveLength(1);
  });

  it('goes on after a crash of the collector; what was not durable, and what came meanwhile, is one exact gap', async () => {
    const random = seededRandom(9);
    let collector = await startCollector();
    const { disks } = collector;
    const relay = await startRelay(collector.port, {});
    const uplink = startUplink(relay.port);
    await offerNumbers(uplink, 1, 8000, random);
    await until(() => collector.disk('probe-1').numbers.length > 2000);
    await collector.crash();
    const stored = collector.disk('probe-1').numbers.length;
    await offerNumbers(uplink, 8001, 12_000, random);
    await until(() => uplink.counters.queuedPackets === 0);
    collector = await startCollector({ disks });
    relay.setTarget(collector.port);
    await offerNumbers(uplink, 12_001, 20_000, random);
    expect(await uplink.drain(30_000)).toBe(0);
    await until(() => collector.sessions.sensors[0]?.isConnected === false);
    await collector.close();
    const disk = collector.disk('probe-1');
    expectExact(disk, 20_000);
    expect(disk.gaps).toHaveLength(1);
    expect(disk.gaps[0]?.fromNs).toBe(String(timeOf(stored)));
  });
});
