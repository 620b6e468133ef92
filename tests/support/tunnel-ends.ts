/** The two ends of the tunnel over TCP, on loopback. */
import { TunnelUplink } from '../../packages/forwarder/src/tunnel/tunnel-uplink.ts';
import type { UplinkEvents, UplinkOptions } from '../../packages/forwarder/src/tunnel/uplink.ts';
import { seededRandom } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';
import { atEnd } from './numbered.ts';
import { TestCollector, type TestCollectorOptions } from './tunnel-collector.ts';

export async function startCollector(options: TestCollectorOptions = {}): Promise<TestCollector> {
  const collector = await new TestCollector(options).open();
  atEnd(() => collector.close());
  return collector;
}

export function startUplink(
  port: number,
  options: Partial<UplinkOptions> = {},
  events: UplinkEvents = {},
): TunnelUplink {
  const uplink = new TunnelUplink(
    {
      protocol: 'tunnel',
      collectors: [{ host: '127.0.0.1', port }],
      sensor: 'probe-1',
      compression: 'zstd',
      onFull: 'wait',
      retryFirstMs: 2,
      retryCapMs: 20,
      ...options,
    },
    { events, random: seededRandom(1) },
  );
  atEnd(() => uplink.drain(0));
  uplink.start();
  return uplink;
}
