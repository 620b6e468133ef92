/**
 * Forwarder and collector halves of the tunnel against each other, over real sockets. The question is always the same:
 * is every packet offered either at the collector, once and in order, or in a gap or a counter that says so?
 */
import { afterEach, describe, expect, it } from 'vitest';
import { OperatingError } from '../../packages/shared/src/base/errors.ts';
import { type Refuse } from '../../packages/shared/src/tunnel/messages.ts';
import { numberedBatch, seededRandom } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';
import { CuttingProxy } from '../support/cutting-proxy.ts';
import { atEnd, cleanUp, expectBalance, numbers, offerNumbers, until } from '../support/numbered.ts';
import { startCollector, startUplink } from '../support/tunnel-ends.ts';

afterEach(cleanUp);

describe('the tunnel', () => {
  it.each(['zstd', 'lz4', 'none'] as const)(
    'carries every packet once and in order with %s',
    async (compression) => {
      const collector = await startCollector();
      const uplink = startUplink(collector.port, { compression });
      await offerNumbers(uplink, 1, 20_000, seededRandom(3), true);
      expect(await uplink.drain(30_000)).toBe(0);
      expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 20_000));
      expect(uplink.counters.acknowledgedPackets).toBe(20_000);
      const intake = collector.sessions.sensors[0];
      expect(intake?.counters).toMatchObject({
        packets: 20_000,
        duplicateFrames: 0,
        missingFrames: 0,
        gaps: 0,
      });
      expect(intake?.report).toMatchObject({ final: true, counters: { uplink_offered_packets: 20_000 } });
    },
  );

  it.each([1, 2, 3, 4, 5, 6])(
    'loses and doubles nothing when connections are cut at random (seed %i)',
    async (seed) => {
      const random = seededRandom(seed);
      const collector = await startCollector();
      const proxy = new CuttingProxy({
        targetPort: () => collector.port,
        bytesUntilCut: () => Math.floor(random() * random() * 400_000),
      });
      atEnd(() => {
        proxy.close();
      });
      const uplink = startUplink(await proxy.open(), { queueBytesMax: 300_000, compression: 'none' });
      await offerNumbers(uplink, 1, 30_000, random, true);
      expect(await uplink.drain(60_000)).toBe(0);
      expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 30_000));
      expect(proxy.cuts).toBeGreaterThan(3);
      expectBalance(uplink);
    },
  );

  it.each([11, 12, 13, 14])(
    'loses and doubles nothing when the collector crashes at random (seed %i)',
    async (seed) => {
      const random = seededRandom(seed);
      let collector = await startCollector();
      const { disks } = collector;
      const proxy = new CuttingProxy({ targetPort: () => collector.port, bytesUntilCut: () => Infinity });
      atEnd(() => {
        proxy.close();
      });
      const uplink = startUplink(await proxy.open(), { queueBytesMax: 300_000, compression: 'none' });
      let crashes = 0;
      const offering = offerNumbers(uplink, 1, 30_000, random, true);
      while (uplink.counters.offeredPackets < 30_000) {
        await new Promise((resolve) => setTimeout(resolve, 20 + random() * 60));
        collector.crash();
        crashes++;
        collector = await startCollector({ disks });
      }
      await offering;
      expect(await uplink.drain(60_000)).toBe(0);
      expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 30_000));
      expect(crashes).toBeGreaterThan(2);
    },
  );

  it('tells the collector to the packet what a full queue had to drop', async () => {
    const collector = await startCollector();
    const { port } = collector;
    await collector.close();
    const gaps: number[] = [];
    const uplink = startUplink(
      port,
      { onFull: 'drop-newest', queueBytesMax: 100_000, compression: 'none' },
      { gapEnded: ({ packets }) => gaps.push(packets) },
    );
    for (let first = 1; first <= 5000; first += 100) uplink.offer(numberedBatch(first, 100, 100));
    const dropped = uplink.counters.dropped['queue-full'];
    expect(dropped).toBeGreaterThan(3000);
    expectBalance(uplink);
    const second = await startCollector({ port });
    await until(() => uplink.counters.queuedPackets === 0);
    uplink.offer(numberedBatch(5001, 10));
    expect(await uplink.drain(30_000)).toBe(0);
    const disk = second.disk('probe-1');
    const kept = 5000 - dropped;
    expect(disk.numbers).toEqual([...numbers(1, kept), ...numbers(5001, 5010)]);
    expect(gaps).toEqual([dropped]);
    expect(disk.gaps).toMatchObject([{ packets: dropped, bytes: dropped * 100, reason: 'queue-full' }]);
    // Packet 1001 was captured one second after the new year, packet 5000 five.
    expect(disk.gaps[0]?.fromNs).toBe(
      `${String(1_767_225_600 + Math.floor((kept + 1) / 1000))}${String((kept + 1) % 1000).padStart(3, '0')}000000`,
    );
    expect(disk.gaps[0]?.toNs).toBe('1767225605000000000');
    expect(second.sessions.sensors[0]?.counters).toMatchObject({ gaps: 1, gapPackets: dropped });
    expectBalance(uplink);
  });

  it('holds a replay back while the collector is slow, and drops nothing', async () => {
    const collector = await startCollector({ uncommittedBytesMax: 50_000, bytesMax: 20_000 });
    collector.disk('probe-1').commitMs = 30;
    const uplink = startUplink(collector.port, { queueBytesMax: 60_000, compression: 'none' });
    for (let first = 1; first <= 10_000; first += 100) {
      await uplink.waitForRoom();
      expect(uplink.counters.queuedBytes).toBeLessThan(60_000);
      uplink.offer(numberedBatch(first, 100, 100));
    }
    expect(await uplink.drain(60_000)).toBe(0);
    expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 10_000));
  });

  it('acknowledges nothing while the disk refuses, and goes on when it is back', async () => {
    const failures: string[] = [];
    const collector = await startCollector({
      events: { commitFailed: ({ message }) => failures.push(message) },
    });
    collector.disk('probe-1').failure = new OperatingError('ARCHIVE_FAILED', 'no space left');
    const uplink = startUplink(collector.port);
    uplink.offer(numberedBatch(1, 100));
    await until(() => failures.length > 0);
    expect(uplink.counters.acknowledgedPackets).toBe(0);
    collector.disk('probe-1').failure = null;
    expect(await uplink.drain(30_000)).toBe(0);
    expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 100));
  });

  it('gives up at the deadline of a stop without a collector, and counts what it gave up', async () => {
    const abandoned: number[] = [];
    const uplink = startUplink(1, {}, { abandoned: ({ packets }) => abandoned.push(packets) });
    uplink.offer(numberedBatch(1, 70));
    expect(await uplink.drain(50)).toBe(70);
    expect(uplink.offer(numberedBatch(71, 30))).toBe(false);
    expect(uplink.counters.dropped.stopped).toBe(100);
    expect(abandoned).toEqual([70]);
    expectBalance(uplink);
  });

  it('does not wait for a collector when a stop finds nothing to send', async () => {
    const uplink = startUplink(1);
    const startedAtMs = performance.now();
    expect(await uplink.drain(20_000)).toBe(0);
    expect(performance.now() - startedAtMs).toBeLessThan(10_000);
  });

  it('lets a second connection of a sensor take over the first', async () => {
    const closed: string[] = [];
    const collector = await startCollector({
      events: { sessionClosed: ({ reason }) => closed.push(reason) },
    });
    const first = startUplink(collector.port, { retryFirstMs: 60_000, retryCapMs: 60_000 });
    first.offer(numberedBatch(1, 10));
    await until(() => first.counters.acknowledgedPackets === 10);
    const second = startUplink(collector.port);
    second.offer(numberedBatch(11, 10));
    expect(await second.drain(10_000)).toBe(0);
    expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 20));
    expect(closed[0]).toContain('took over');
    expect(collector.sessions.sensors).toHaveLength(1);
  });

  it('keeps sensors apart', async () => {
    const collector = await startCollector();
    const uplinks = ['a', 'b', 'c'].map((sensor) => startUplink(collector.port, { sensor }));
    uplinks.forEach((uplink, index) => uplink.offer(numberedBatch(index * 100, 50)));
    for (const uplink of uplinks) expect(await uplink.drain(10_000)).toBe(0);
    expect(collector.disk('b').numbers).toEqual(numbers(100, 149));
    expect(collector.disk('c').numbers).toEqual(numbers(200, 249));
  });

  it('notes the frames that are gone when the collector lost its memory', async () => {
    let collector = await startCollector();
    const lost: number[] = [];
    const proxy = new CuttingProxy({ targetPort: () => collector.port, bytesUntilCut: () => Infinity });
    atEnd(() => {
      proxy.close();
    });
    const uplink = startUplink(await proxy.open());
    for (let i = 0; i < 5; i++) uplink.offer(numberedBatch(i * 10, 10));
    await until(() => uplink.counters.acknowledgedPackets === 50);
    collector.crash();
    collector = await startCollector({ events: { framesMissing: ({ frames }) => lost.push(frames) } });
    uplink.offer(numberedBatch(50, 10));
    expect(await uplink.drain(10_000)).toBe(0);
    expect(lost).toEqual([5]);
    expect(collector.disk('probe-1').numbers).toEqual(numbers(50, 59));
    expect(collector.disk('probe-1').gaps).toMatchObject([{ sequences: [1, 5], reason: 'frames-missing' }]);
  });

  it('ends a stop of the collector with everything received acknowledged', async () => {
    const collector = await startCollector({ intervalMs: 60_000 });
    const uplink = startUplink(collector.port, { retryFirstMs: 60_000, retryCapMs: 60_000 });
    uplink.offer(numberedBatch(1, 10));
    await until(() => collector.sessions.sensors[0]?.counters.packets === 10);
    expect(uplink.counters.acknowledgedPackets).toBe(0);
    await collector.close();
    await until(() => uplink.counters.acknowledgedPackets === 10);
  });

  it('asks for a person when it is refused for good', async () => {
    const collector = await startCollector({ sensorsMax: 0 });
    const refusals: Refuse[] = [];
    startUplink(collector.port, {}, { refused: (refusal) => refusals.push(refusal) });
    await until(() => refusals.length > 0);
    expect(refusals[0]).toMatchObject({ code: 'sensor', retryMs: 20 });
  });

  it('refuses a name that would leave the directory before any connection is made', () => {
    expect(() => startUplink(1, { sensor: '../etc' })).toThrow(OperatingError);
  });
});
