/**
 * Forwarder and collector halves of the one-way tunnel against each other, over real sockets and a relay that behaves as
 * badly as its seed says. The question: is every packet offered at the collector, once and in order, or in a gap that is
 * exact? And is what is missing no more than the parity had to let go?
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { GapEntry } from '../../packages/collector/src/session/gap-list.ts';
import { UdpTunnelUplink } from '../../packages/forwarder/src/tunnel/udp/udp-tunnel-uplink.ts';
import { numberedBatch, seededRandom } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';
import { atEnd, cleanUp, numbers, offerNumbers, until } from '../support/numbered.ts';
import {
  CHACHA,
  KEY,
  PACE,
  SEAL,
  headerOf,
  startCollector,
  startRelay,
  startUplink,
} from '../support/one-way-ends.ts';
import { expectExact, timeOf } from './udp-tunnel-testing.ts';

afterEach(cleanUp);

describe('the one-way tunnel', () => {
  it.each([
    ['without a seal', null],
    ['with AES-256-GCM', SEAL],
    ['with ChaCha20-Poly1305', CHACHA],
  ])('carries every packet once and in order %s', async (_, seal) => {
    const collector = await startCollector({
      keys: seal === null ? [] : [KEY],
      isKeyRequired: seal !== null,
    });
    const uplink = startUplink(collector.port, { seal }, { compression: 'zstd' });
    await offerNumbers(uplink, 1, 20_000, seededRandom(3));
    expect(await uplink.drain(30_000)).toBe(0);
    await until(() => collector.disk('probe-1').numbers.length === 20_000);
    expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 20_000));
    expect(collector.disk('probe-1').gaps).toEqual([]);
    expect(uplink.counters.acknowledgedPackets).toBe(20_000);
    expect(collector.sessions.sensors[0]?.report).toMatchObject({ final: true });
    expect(collector.tunnel.counters).toMatchObject({
      lostGroups: 0,
      repairedDatagrams: 0,
      malformedGroups: 0,
    });
    expect(collector.tunnel.missingDatagrams).toBe(0);
  });

  it('repairs every pattern of two losses in 10 + 2', async () => {
    const patterns: [number, number][] = [];
    for (let a = 0; a < 12; a++) for (let b = a + 1; b < 12; b++) patterns.push([a, b]);
    const seen = new Set<number>();
    const collector = await startCollector();
    const relay = await startRelay(collector.port, {
      drop: (_, bytes) => {
        const { dataShards, group, shard } = headerOf(bytes);
        if (dataShards !== 10) return false;
        const pattern = group % patterns.length;
        seen.add(pattern);
        return patterns[pattern]?.includes(shard) === true;
      },
    });
    const uplink = startUplink(relay.port);
    // 40 records of 16 + 330 bytes: nine to ten shards of 1,428.
    for (let first = 1; first <= 200 * 40; first += 40) {
      await uplink.waitForRoom();
      uplink.offer(numberedBatch(first, 40, 330));
    }
    expect(await uplink.drain(30_000)).toBe(0);
    await until(() => collector.sessions.sensors[0]?.isConnected === false);
    await collector.sessions.close(5000);
    expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 8000));
    expect(collector.disk('probe-1').gaps).toEqual([]);
    expect(seen.size).toBe(66);
    expect(relay.dropped).toBeGreaterThan(390);
    expect(collector.tunnel.counters.lostGroups).toBe(0);
    expect(collector.tunnel.counters.repairedDatagrams).toBeGreaterThan(300);
    expect(collector.tunnel.missingDatagrams).toBe(relay.dropped);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 7])(
    'repairs bursts of interleave × parity, wherever they begin (offset %i)',
    async (offset) => {
      const collector = await startCollector();
      // Blocks are of 48 datagrams, and 2 more where a HELLO goes along: 59 is prime to both.
      const relay = await startRelay(collector.port, { drop: (index) => (index + offset * 7) % 59 < 8 });
      const uplink = new UdpTunnelUplink(
        {
          protocol: 'udp-tunnel',
          collectors: [{ host: '127.0.0.1', port: relay.port }],
          rate: { bytesPerSecond: PACE, windows: [] },
          sensor: 'probe-1',
          compression: 'none',
          onFull: 'wait',
          heartbeatIntervalMs: 50,
        },
        { mtu: 1500, data: 10, parity: 2, interleave: 4, seal: null },
        { events: {} },
      );
      atEnd(() => uplink.drain(0));
      for (let first = 1; first <= 80 * 40; first += 40) uplink.offer(numberedBatch(first, 40, 330));
      uplink.start();
      expect(await uplink.drain(30_000)).toBe(0);
      await until(() => collector.disk('probe-1').numbers.length === 3200);
      expect(collector.disk('probe-1').gaps).toEqual([]);
      expect(relay.dropped).toBeGreaterThan(100);
    },
  );

  it.each([
    [0.05, 1, null],
    [0.05, 2, SEAL],
    [0.3, 3, null],
    [0.3, 4, SEAL],
  ])(
    'at %f random loss (seed %i) misses just the groups that lost more than their parity, and every packet stands in a gap',
    async (share, seed, seal) => {
      const random = seededRandom(seed);
      const offering = seededRandom(seed + 100);
      const collector = await startCollector({ keys: [KEY], isKeyRequired: seal !== null });
      const sensor = seal === null ? 'probe-2' : 'probe-1';
      const lossOf = new Map<number, { lost: number; shards: number; parity: number; data: boolean }>();
      const relay = await startRelay(collector.port, {
        drop: (_, bytes) => {
          const { group, dataShards, parityShards } = headerOf(bytes);
          const shards = dataShards + parityShards;
          const entry = lossOf.get(group) ?? { lost: 0, shards, parity: parityShards, data: dataShards > 1 };
          lossOf.set(group, entry);
          const isLost = random() < share;
          if (isLost) entry.lost++;
          return isLost;
        },
      });
      const uplink = startUplink(relay.port, { seal }, { sensor });
      await offerNumbers(uplink, 1, 40_000, offering);
      expect(await uplink.drain(30_000)).toBe(0);
      await until(() => collector.sessions.sensors[0]?.isConnected === false);
      await collector.close();
      const disk = collector.disk(sensor);
      const { missing } = expectExact(disk, 40_000);

      const groups = [...lossOf.values()];
      const unrepairable = groups.filter(({ lost, parity }) => lost > parity).length;
      // Those that come after the goodbye are no longer asked for.
      expect(collector.tunnel.counters.lostGroups).toBeLessThanOrEqual(unrepairable);
      expect(collector.tunnel.counters.lostGroups).toBeGreaterThanOrEqual(unrepairable - 5);

      const chances = groups.map(({ shards, parity }) => tailOf(shards, share, parity));
      const mean = chances.reduce((sum, chance) => sum + chance, 0);
      const deviation = Math.sqrt(chances.reduce((sum, chance) => sum + chance * (1 - chance), 0));
      // Five standard deviations: one run in some millions would be beyond.
      expect(unrepairable).toBeLessThanOrEqual(mean + 5 * deviation + 1);
      console.log(
        `loss ${share}: ${groups.length} groups, ${unrepairable} beyond their parity (binomial law: ${mean.toFixed(1)} ± ${deviation.toFixed(1)}), ${missing} of 40000 packets missing, ${collector.tunnel.counters.repairedDatagrams} datagrams repaired`,
      );
    },
  );

  it('restores order and drops doubles', async () => {
    const random = seededRandom(6);
    const collector = await startCollector({ keys: [KEY], isKeyRequired: true });
    const relay = await startRelay(collector.port, {
      duplicate: 0.1,
      reorder: { share: 0.2, by: 40 },
      random,
    });
    const uplink = startUplink(relay.port, { seal: SEAL });
    await offerNumbers(uplink, 1, 20_000, random);
    expect(await uplink.drain(30_000)).toBe(0);
    await until(() => collector.disk('probe-1').numbers.length === 20_000);
    expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 20_000));
    expect(collector.disk('probe-1').gaps).toEqual([]);
    expect(collector.tunnel.counters.rejected.replayed).toBeGreaterThan(10);
  });

  it.each([
    ['not sealed', null],
    ['sealed', SEAL],
  ])('takes a damaged datagram for a lost one (%s)', async (_, seal) => {
    const random = seededRandom(7);
    const collector = await startCollector({
      keys: seal === null ? [] : [KEY],
      isKeyRequired: seal !== null,
    });
    const relay = await startRelay(collector.port, { corrupt: 0.02, random });
    const uplink = startUplink(relay.port, { seal });
    await offerNumbers(uplink, 1, 20_000, random);
    expect(await uplink.drain(30_000)).toBe(0);
    await until(() => collector.sessions.sensors[0]?.isConnected === false);
    await collector.close();
    expectExact(collector.disk('probe-1'), 20_000);
    const { rejected } = collector.tunnel.counters;
    const refused = Object.values(rejected).reduce((sum, count) => sum + count, 0) - rejected['old-epoch'];
    // One whose magic was damaged does not even look like the tunnel's.
    expect(refused + collector.listener.counters.strangerDatagrams).toBe(relay.corrupted);
    expect(relay.corrupted).toBeGreaterThan(20);
    expect(collector.tunnel.counters.malformedGroups).toBe(0);
  });

  it('notices a lost tail by what is said after it', async () => {
    const collector = await startCollector();
    let isCut = false;
    const relay = await startRelay(collector.port, {
      drop: (_, bytes) => isCut && headerOf(bytes).dataShards > 1,
    });
    const uplink = startUplink(relay.port);
    await offerNumbers(uplink, 1, 1000, seededRandom(1));
    await until(() => collector.disk('probe-1').numbers.length === 1000);
    isCut = true;
    uplink.offer(numberedBatch(1001, 500, 100));
    const { gaps } = collector.disk('probe-1');
    const sum = (of: (gap: GapEntry) => number | null): number =>
      gaps.reduce((total, gap) => total + (of(gap) ?? NaN), 0);
    await until(() => sum(({ packets }) => packets) === 500);
    expect(sum(({ bytes }) => bytes)).toBe(50_000);
    expect(gaps[0]).toMatchObject({ reason: 'datagrams-lost', fromNs: String(timeOf(1000)) });
    expect(gaps.at(-1)).toMatchObject({ toNs: String(timeOf(1500)) });
    expect(await uplink.drain(5000)).toBe(0);
  });
});

/** The chance that of `shards` datagrams more than `parity` are lost: 1 - Σ C(n, i) p^i (1 - p)^(n - i). */
function tailOf(shards: number, loss: number, parity: number): number {
  let kept = 0;
  let ways = 1;
  for (let lost = 0; lost <= parity; lost++) {
    kept += ways * loss ** lost * (1 - loss) ** (shards - lost);
    ways = (ways * (shards - lost)) / (lost + 1);
  }
  return 1 - kept;
}
