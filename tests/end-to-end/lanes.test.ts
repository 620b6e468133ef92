/**
 * What waits for a collector, and in which order it leaves: spool, priority classes, live traffic before a backlog, several
 * collectors. Real sockets on loopback, real files; the collectors' stores are in memory.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Spool, type SpoolOptions } from '../../packages/forwarder/src/spool/spool.ts';
import { TunnelUplink } from '../../packages/forwarder/src/tunnel/tunnel-uplink.ts';
import type { UplinkEvents, UplinkOptions } from '../../packages/forwarder/src/tunnel/uplink.ts';
import { systemFiles } from '../../packages/shared/src/system/files.ts';
import { systemTunnelClock } from '../../packages/shared/src/tunnel/tunnel-clock.ts';
import { numberedBatch, seededRandom } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';
import { atEnd, cleanUp, until } from '../support/numbered.ts';
import { startCollector } from '../support/tunnel-ends.ts';
import { TestCollector } from '../support/tunnel-collector.ts';

afterEach(cleanUp);

function spoolDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'tapline-lanes-'));
  atEnd(() => {
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

function uplinkTo(
  ports: readonly [number, ...number[]],
  options: Partial<UplinkOptions> = {},
  spool: Partial<SpoolOptions> | null = null,
  events: UplinkEvents = {},
): TunnelUplink {
  const [first, ...others] = ports.map((port) => ({ host: '127.0.0.1', port }));
  const uplink = new TunnelUplink(
    {
      protocol: 'tunnel',
      collectors: [first as { host: string; port: number }, ...others],
      sensor: 'probe',
      compression: 'none',
      onFull: 'drop-newest',
      retryFirstMs: 2,
      retryCapMs: 20,
      ...options,
    },
    {
      events,
      random: seededRandom(1),
      spool:
        spool === null
          ? null
          : new Spool(
              { directory: '', bytesMax: 2 ** 30, mode: 'always', onFull: 'drop-oldest', ...spool },
              { files: systemFiles, clock: systemTunnelClock, events: {} },
            ),
    },
  );
  atEnd(() => uplink.drain(0));
  return uplink;
}

function balance({ counters }: TunnelUplink): void {
  const dropped = Object.values(counters.dropped).reduce((sum, packets) => sum + packets, 0);
  expect(counters.offeredPackets + counters.recoveredPackets).toBe(
    counters.acknowledgedPackets + counters.queuedPackets + dropped,
  );
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** A port on which nobody listens. */
async function deadPort(): Promise<number> {
  const collector = await new TestCollector().open();
  const { port } = collector;
  await collector.close();
  return port;
}

describe.each(['always', 'overflow'] as const)('a spool in %s mode', (mode) => {
  it('keeps over a stop what no collector has taken, and the next life delivers it once', async () => {
    const directory = spoolDirectory();
    const port = await deadPort();
    for (let life = 0; life < 3; life++) {
      const uplink = uplinkTo([port], { queueBytesMax: 4_000_000 }, { directory, mode });
      uplink.start();
      for (let i = 0; i < 100; i++) uplink.offer(numberedBatch(life * 100_000 + i * 100, 100, 900));
      balance(uplink);
      expect(await uplink.drain(60_000)).toBe(0);
      balance(uplink);
      expect(uplink.counters.queuedPackets).toBe((life + 1) * 10_000);
    }
    const collector = await startCollector();
    const last = uplinkTo([collector.port], {}, { directory, mode });
    expect(last.counters.recoveredPackets).toBe(30_000);
    last.start();
    last.offer(numberedBatch(900_000, 100));
    await until(() => last.counters.connections > 0);
    expect(await last.drain(60_000)).toBe(0);
    balance(last);
    const disk = collector.disk('probe');
    const expected = [0, 1, 2].flatMap((life) => range(life * 100_000, life * 100_000 + 9_999));
    const wanted = [...expected, ...range(900_000, 900_099)];
    expect(disk.numbers.length).toBe(wanted.length);
    expect(disk.numbers.every((number, index) => number === wanted[index])).toBe(true);
    // Between two lives nobody captured: three times that is said.
    expect(disk.gaps.map(({ reason, packets }) => [reason, packets])).toEqual(
      [1, 2, 3].map(() => ['forwarder-stopped', null]),
    );
  });
});

describe('a forwarder that was started very often during an outage', () => {
  it('delivers all of it once, though it has more lanes than numbers for them', async () => {
    const directory = spoolDirectory();
    const collector = await startCollector();
    const port = await deadPort();
    for (let life = 0; life < 300; life++) {
      const uplink = uplinkTo([port], {}, { directory });
      uplink.start();
      uplink.offer(numberedBatch(life * 10, 10));
      await uplink.drain(0);
    }
    // The first of them reaches the collector, which takes it and cannot say so: as when a kill comes in between.
    const taken = uplinkTo([collector.port], { rate: { bytesPerSecond: 1, windows: [] } }, { directory });
    taken.start();
    await until(() => (collector.sessions.sensors[0]?.counters.packets ?? 0) > 0);
    await taken.drain(0);
    const last = uplinkTo([collector.port], {}, { directory });
    last.start();
    await until(() => last.counters.queuedPackets === 0);
    await last.drain(5000);
    balance(last);
    const { numbers } = collector.disk('probe');
    expect(numbers.toSorted((a, b) => a - b)).toEqual(range(0, 2999));
  });
});

describe('a spool that is full', () => {
  it('reports what it had to drop, to the packet, and the rest arrives', async () => {
    const directory = spoolDirectory();
    const port = await deadPort();
    const bytesMax = 64 * 1024 * 1024;
    const uplink = uplinkTo([port], { queueBytesMax: 4_000_000 }, { directory, bytesMax });
    uplink.start();
    for (let i = 0; i < 120; i++) uplink.offer(numberedBatch(i * 1000, 1000, 900));
    balance(uplink);
    const dropped = uplink.counters.dropped['spool-full'];
    expect(dropped).toBeGreaterThan(20_000);
    await uplink.drain(60_000);
    const collector = await startCollector();
    const next = uplinkTo([collector.port], { onFull: 'wait' }, { directory, bytesMax });
    next.start();
    await until(() => next.counters.connections > 0);
    expect(await next.drain(60_000)).toBe(0);
    const { numbers, gaps } = collector.disk('probe');
    expect(numbers.length).toBe(120_000 - dropped);
    expect([numbers[0], numbers.at(-1)]).toEqual([dropped, 119_999]);
    expect(gaps.map(({ reason, packets }) => [reason, packets])).toEqual([['spool-full', dropped]]);
  });

  it('with on_full stop refuses the newest and says so', async () => {
    const directory = spoolDirectory();
    const port = await deadPort();
    const spool = { directory, bytesMax: 64 * 1024 * 1024, onFull: 'stop' } as const;
    const uplink = uplinkTo([port], { queueBytesMax: 4_000_000 }, spool);
    uplink.start();
    for (let i = 0; i < 120; i++) uplink.offer(numberedBatch(i * 1000, 1000, 900));
    balance(uplink);
    const dropped = uplink.counters.dropped['queue-full'];
    expect(dropped).toBeGreaterThan(20_000);
    expect(uplink.counters.dropped['spool-full']).toBe(0);
  });
});

describe('the order in which frames leave', () => {
  /** Slow enough that what is offered later can overtake. */
  const rate = { bytesPerSecond: 400_000, windows: [] };

  it('is that of the classes: what matters overtakes what waits', async () => {
    const collector = await startCollector();
    const uplink = uplinkTo([collector.port], { rate });
    uplink.start();
    for (let i = 0; i < 20; i++) uplink.offer(numberedBatch(i * 100, 100, 100), 1);
    uplink.offer(numberedBatch(900_000, 100, 100), 0);
    await uplink.drain(60_000);
    const { numbers } = collector.disk('probe');
    expect(numbers.toSorted((a, b) => a - b)).toEqual([...range(0, 1999), ...range(900_000, 900_099)]);
    expect(numbers.indexOf(900_000)).toBeLessThan(numbers.indexOf(1999));
    expect(numbers.filter((number) => number < 900_000)).toEqual(range(0, 1999));
  });

  it.each(['oldest-first', 'live-first'] as const)('after an outage is %s', async (order) => {
    const port = await deadPort();
    const uplink = uplinkTo([port], { rate, order });
    uplink.start();
    for (let i = 0; i < 20; i++) uplink.offer(numberedBatch(i * 100, 100, 100));
    const collector = await startCollector({ port });
    await until(() => uplink.counters.connections > 0);
    uplink.offer(numberedBatch(900_000, 100, 100));
    await uplink.drain(60_000);
    const { numbers, gaps } = collector.disk('probe');
    expect(numbers.toSorted((a, b) => a - b)).toEqual([...range(0, 1999), ...range(900_000, 900_099)]);
    const isLiveFirst = numbers.indexOf(900_000) < numbers.indexOf(1999);
    expect(isLiveFirst).toBe(order === 'live-first');
    expect(gaps).toEqual([]);
  });

  it('lets nothing leave while the link is closed, and keeps the connection', async () => {
    const collector = await startCollector();
    const closed = { bytesPerSecond: 0, windows: [] };
    const uplink = uplinkTo([collector.port], { rate: closed });
    uplink.start();
    await until(() => uplink.counters.connections > 0);
    uplink.offer(numberedBatch(0, 100));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(uplink.counters.sentPackets).toBe(0);
    expect(await uplink.drain(10)).toBe(100);
    balance(uplink);
  });

  it('takes at least as long as the rate says', async () => {
    const collector = await startCollector();
    const uplink = uplinkTo([collector.port], { rate: { bytesPerSecond: 200_000, windows: [] } });
    const startedAtMs = performance.now();
    uplink.start();
    for (let i = 0; i < 10; i++) uplink.offer(numberedBatch(i * 100, 100, 100));
    await uplink.drain(60_000);
    // 116,000 bytes less the burst and the last frame, which is paid for afterwards.
    const bytes = uplink.counters.sentBytes - 20_000 - 11_700;
    expect(performance.now() - startedAtMs).toBeGreaterThan((bytes / 200_000) * 1000);
    expect(collector.disk('probe').numbers).toEqual(range(0, 999));
  });
});

describe('several collectors', () => {
  it('are used in their order, and each packet is in one of their archives once', async () => {
    const second = await startCollector();
    const port = await deadPort();
    const returned: unknown[] = [];
    const uplink = uplinkTo([port, second.port], { returnAfterMs: 30 }, null, {
      returning: (collector) => returned.push(collector),
    });
    uplink.start();
    for (let i = 0; i < 10; i++) uplink.offer(numberedBatch(i * 100, 100));
    await until(() => uplink.counters.acknowledgedPackets === 1000);
    const first = await startCollector({ port });
    await until(() => returned.length > 0 && first.sessions.sensors.some(({ isConnected }) => isConnected));
    for (let i = 10; i < 20; i++) uplink.offer(numberedBatch(i * 100, 100));
    await until(() => uplink.counters.acknowledgedPackets === 2000);
    await first.close();
    await until(() => uplink.counters.connections > 2);
    for (let i = 20; i < 30; i++) uplink.offer(numberedBatch(i * 100, 100));
    expect(await uplink.drain(60_000)).toBe(0);
    balance(uplink);
    expect(first.disk('probe').numbers).toEqual(range(1000, 1999));
    expect(second.disk('probe').numbers).toEqual([...range(0, 999), ...range(2000, 2999)]);
    // What is in the one is no gap in the other.
    expect([first.disk('probe').gaps, second.disk('probe').gaps]).toEqual([[], []]);
    expect(second.sessions.sensors[0]?.counters).toMatchObject({ elsewhereFrames: 10, missingFrames: 0 });
  });

  it('still notice when one of them lost its memory', async () => {
    const collector = await startCollector();
    const { port } = collector;
    const uplink = uplinkTo([port, await deadPort()]);
    uplink.start();
    for (let i = 0; i < 3; i++) uplink.offer(numberedBatch(i * 10, 10));
    await until(() => uplink.counters.acknowledgedPackets === 30);
    await collector.close();
    const fresh = await startCollector({ port });
    uplink.offer(numberedBatch(30, 10));
    await uplink.drain(60_000);
    expect(fresh.disk('probe').numbers).toEqual(range(30, 39));
    expect(fresh.disk('probe').gaps).toMatchObject([{ reason: 'frames-missing', sequences: [1, 3] }]);
  });
});
