/** What speaks to a collector of one-way sensors and is none of them, or is one of them a second time: recordings, wrong names, wrong keys. */
import { afterEach, describe, expect, it } from 'vitest';
import type { UdpTunnelOptions } from '../../packages/forwarder/src/tunnel/udp/udp-tunnel-options.ts';
import { GroupEncoder } from '../../packages/forwarder/src/tunnel/udp/group-encoder.ts';
import { encodeBatch } from '../../packages/shared/src/tunnel/packet-batch.ts';
import { numberedBatch, seededRandom } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';
import { atEnd, cleanUp, numbers, offerNumbers, until } from '../support/numbered.ts';
import { KEY, SEAL, startCollector, startRelay, startUplink } from '../support/one-way-ends.ts';
import type { UdpCollector } from '../support/udp-collector.ts';
import { UdpRelay } from '../support/udp-relay.ts';

afterEach(cleanUp);

describe('a recorded stream', () => {
  async function record(): Promise<{ relay: UdpRelay & { port: number }; collector: UdpCollector }> {
    const collector = await startCollector({ keys: [KEY], isKeyRequired: true });
    const relay = await startRelay(collector.port, {}, true);
    const uplink = startUplink(relay.port, { seal: SEAL });
    await offerNumbers(uplink, 1, 5000, seededRandom(10));
    expect(await uplink.drain(30_000)).toBe(0);
    await until(() => collector.disk('probe-1').numbers.length === 5000);
    return { relay, collector };
  }

  async function replay(relay: UdpRelay): Promise<void> {
    for (const bytes of relay.recording) await relay.inject(bytes);
    await new Promise((resolve) => setTimeout(resolve, 400));
  }

  it('is worth nothing to the collector that took it', async () => {
    const { relay, collector } = await record();
    await replay(relay);
    expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 5000));
    expect(collector.disk('probe-1').gaps).toEqual([]);
    expect(collector.tunnel.counters.rejected.replayed).toBe(relay.recording.length);
  });

  it('is worth nothing after a restart', async () => {
    const { relay, collector } = await record();
    await collector.close();
    const next = await startCollector({ keys: [KEY], isKeyRequired: true, disks: collector.disks });
    relay.setTarget(next.port);
    await replay(relay);
    await next.close();
    expect(next.disk('probe-1').numbers).toEqual(numbers(1, 5000));
    expect(next.disk('probe-1').gaps).toEqual([]);
    expect(next.sessions.sensors[0]?.counters).toMatchObject({ packets: 0, gaps: 0, lostPackets: 0 });
  });

  it('of an older epoch is refused by name, before and after a restart', async () => {
    const { relay, collector } = await record();
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const uplink = startUplink(relay.port, { seal: SEAL });
    const recorded = relay.recording.splice(0);
    uplink.offer(numberedBatch(5001, 100));
    expect(await uplink.drain(10_000)).toBe(0);
    await until(() => collector.disk('probe-1').numbers.length === 5100);
    relay.recording.splice(0, Infinity, ...recorded);
    await replay(relay);
    expect(collector.tunnel.counters.rejected['old-epoch']).toBe(recorded.length);
    await collector.close();
    const refusals: string[] = [];
    const next = await startCollector({
      keys: [KEY],
      isKeyRequired: true,
      disks: collector.disks,
      events: { epochRefused: ({ reason }) => refusals.push(reason) },
    });
    relay.setTarget(next.port);
    await replay(relay);
    expect(next.tunnel.counters.rejected['old-epoch']).toBe(recorded.length);
    expect(refusals[0]).toContain('a later epoch of this sensor is known');
    await next.close();
    expect(next.disk('probe-1').numbers).toEqual(numbers(1, 5100));
    expect(next.disk('probe-1').gaps).toEqual([]);
  });
});

describe('a collector of one-way sensors', () => {
  it('lets nobody speak for another: wrong name, wrong key, no key', async () => {
    const refusals: string[] = [];
    const collector = await startCollector({
      keys: [KEY, { id: 8, sensor: 'probe-8', secret: new Uint8Array(32).fill(8) }],
      events: { epochRefused: ({ reason }) => refusals.push(reason) },
    });
    const { rejected } = collector.tunnel.counters;
    const send = async (udp: Partial<UdpTunnelOptions>, sensor = 'probe-1'): Promise<void> => {
      const uplink = startUplink(collector.port, udp, { sensor });
      uplink.offer(numberedBatch(1, 10));
      await uplink.drain(5000);
    };
    await send({ seal: { ...SEAL, keyId: 8, secret: new Uint8Array(32).fill(8) } });
    await until(() => refusals.length === 1);
    expect(refusals[0]).toContain('its key belongs to probe-8');
    await send({ seal: { ...SEAL, secret: new Uint8Array(32).fill(1) } });
    await until(() => rejected['not-authentic'] > 0);
    await send({ seal: { ...SEAL, keyId: 99 } });
    await until(() => rejected['unknown-key'] > 0);
    await send({ seal: null });
    await until(() => refusals.length === 2);
    expect(refusals[1]).toContain('must seal');
    expect(collector.disk('probe-1').numbers).toEqual([]);
    await send({ seal: null }, 'probe-9');
    await until(() => collector.disk('probe-9').numbers.length === 10);
    await send({ seal: SEAL });
    await until(() => collector.disk('probe-1').numbers.length === 10);
  });

  it('takes nothing without a seal where keys are required', async () => {
    const collector = await startCollector({ isKeyRequired: true });
    const uplink = startUplink(collector.port);
    uplink.offer(numberedBatch(1, 10));
    await uplink.drain(5000);
    await until(() => collector.tunnel.counters.rejected['key-required'] > 10);
    expect(collector.tunnel.epochCount).toBe(0);
  });

  it('keeps a bounded memory whatever epochs are invented, and serves those it has', async () => {
    const collector = await startCollector({ bytesMax: 1_000_000 });
    const uplink = startUplink(collector.port);
    await offerNumbers(uplink, 1, 2000, seededRandom(11));
    const stranger = new UdpRelay({});
    await stranger.open(collector.port);
    atEnd(() => stranger.close());
    for (let i = 0; i < 3000; i++) {
      const encoder = new GroupEncoder(
        { mtu: 1500, overheadBytes: 28, ratio: { data: 10, parity: 2 }, seal: null, epochRandom: i % 200 },
        1_800_000_000_000 + i,
      );
      const frame = encodeBatch(numberedBatch(1, 100, 100), 1, 'none');
      const datagram = encoder.encodeBlock([{ bytes: frame, sequence: 0, packetCount: 0, standsFor: null }])[
        i % 3
      ];
      await stranger.inject(datagram?.bytes as Buffer);
      expect(collector.tunnel.heldBytes).toBeLessThan(1_000_000);
      expect(collector.tunnel.epochCount).toBeLessThan(20);
    }
    await offerNumbers(uplink, 2001, 4000, seededRandom(11));
    expect(await uplink.drain(10_000)).toBe(0);
    await until(() => collector.disk('probe-1').numbers.length === 4000);
    expect(collector.tunnel.counters.rejected['no-hello']).toBeGreaterThan(100);
  });

  it('is spoken to over IPv6', async () => {
    const collector = await startCollector({ listen: { host: '::1' } });
    const uplink = startUplink(collector.port, {}, { collectors: [{ host: '::1', port: collector.port }] });
    await offerNumbers(uplink, 1, 3000, seededRandom(12));
    expect(await uplink.drain(10_000)).toBe(0);
    await until(() => collector.disk('probe-1').numbers.length === 3000);
  });
});
