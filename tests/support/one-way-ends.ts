/** The two ends of a one-way link on loopback, with a relay between them that behaves as badly as it is told. */
import type { DatagramKey } from '../../packages/collector/src/listen/key-ring.ts';
import type { UdpTunnelOptions } from '../../packages/forwarder/src/tunnel/udp/udp-tunnel-options.ts';
import { UdpTunnelUplink } from '../../packages/forwarder/src/tunnel/udp/udp-tunnel-uplink.ts';
import type { UplinkOptions } from '../../packages/forwarder/src/tunnel/uplink.ts';
import { readDatagramHeader, type DatagramHeader } from '../../packages/shared/src/tunnel/datagram.ts';
import { atEnd } from './numbered.ts';
import { UdpCollector, type UdpCollectorOptions } from './udp-collector.ts';
import { UdpRelay, type LinkFaults } from './udp-relay.ts';

export const KEY: DatagramKey = { id: 7, sensor: 'probe-1', secret: new Uint8Array(32).fill(9) };
export const SEAL: NonNullable<UdpTunnelOptions['seal']> = {
  keyId: 7,
  secret: KEY.secret,
  cipher: 'aes-256-gcm',
};
export const CHACHA: UdpTunnelOptions['seal'] = { keyId: 7, secret: KEY.secret, cipher: 'chacha20-poly1305' };
/** Slow enough that neither relay nor collector, which share this thread, lose anything themselves. */
export const PACE = 8 * 1024 * 1024;

export async function startCollector(options: UdpCollectorOptions = {}): Promise<UdpCollector> {
  const collector = await new UdpCollector(options).open();
  atEnd(() => collector.close().catch(() => undefined));
  return collector;
}

export async function startRelay(
  port: number,
  faults: LinkFaults,
  isRecording = false,
): Promise<UdpRelay & { port: number }> {
  const relay = new UdpRelay(faults, isRecording);
  const relayPort = await relay.open(port);
  atEnd(() => relay.close().catch(() => undefined));
  return Object.assign(relay, { port: relayPort });
}

export function startUplink(
  port: number,
  udp: Partial<UdpTunnelOptions> = {},
  options: Partial<UplinkOptions> = {},
): UdpTunnelUplink {
  const uplink = new UdpTunnelUplink(
    {
      protocol: 'udp-tunnel',
      collectors: [{ host: '127.0.0.1', port }],
      rate: { bytesPerSecond: PACE, windows: [] },
      sensor: 'probe-1',
      compression: 'none',
      onFull: 'wait',
      queueBytesMax: 400_000,
      heartbeatIntervalMs: 100,
      ...options,
    },
    { mtu: 1500, data: 10, parity: 2, interleave: 4, seal: null, ...udp },
    { events: {} },
  );
  atEnd(() => uplink.drain(0));
  uplink.start();
  return uplink;
}

export function headerOf(bytes: Uint8Array): DatagramHeader {
  const header = readDatagramHeader(bytes);
  if (typeof header === 'string') throw new Error(`no datagram: ${header}`);
  return header;
}
