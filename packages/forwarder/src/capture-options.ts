/**
 * From configuration to capture options. One thing is added to what the operator wrote: on a live interface the
 * forwarder's own tunnel is filtered out, or on a shared interface every packet sent would be captured and sent again.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { CaptureOptions } from './capture/capture-source.ts';
import type { ForwarderConfig } from './config.ts';

/** True for files and pipes, which wait while the uplink's queue is full. */
export function isReplay({ capture }: Pick<ForwarderConfig, 'capture'>): boolean {
  return capture.driver === 'file' || capture.driver === 'stdin';
}

/** The options of the configured driver. */
export async function captureOptions(config: ForwarderConfig): Promise<CaptureOptions> {
  const { capture } = config;
  const filter = capture.bpf_filter ?? '';
  const snapBytes = capture.snaplen;
  const interfaces = capture.interface === undefined ? [] : [capture.interface].flat();
  switch (capture.driver) {
    case 'afpacket': {
      const { promiscuous, ring_size: ringBytes } = capture;
      return {
        driver: 'afpacket',
        interfaces,
        promiscuous,
        ringBytes,
        snapBytes,
        filter: await withoutTunnel(filter, config),
      };
    }
    case 'cap':
      return {
        driver: 'cap',
        interfaces,
        bufferBytes: capture.ring_size,
        snapBytes,
        filter: await withoutTunnel(filter, config),
      };
    case 'file': {
      const speed = capture.speed === 'recorded' ? 1 : capture.speed;
      return { driver: 'file', paths: capture.files ?? [], speed, snapBytes, filter };
    }
    case 'stdin':
      return { driver: 'stdin', snapBytes, filter };
  }
}

/**
 * The filter with the tunnel taken out, to whichever collector it may go. One whose name cannot be resolved at the start is excluded by its port
 * alone: a little too much is better than a snowball.
 */
async function withoutTunnel(filter: string, config: ForwarderConfig): Promise<string> {
  const { forward } = config;
  if (forward?.enable !== true) return filter;
  const transport = forward.protocol.startsWith('udp') ? 'udp' : 'tcp';
  const ways = await Promise.all(
    [{ host: forward.host, port: forward.port }, ...forward.failover].map(async ({ host, port }) => {
      const hosts = (await addressesOf(host)).map((address) => `host ${address}`).join(' or ');
      return `${transport} port ${port}${hosts === '' ? '' : ` and (${hosts})`}`;
    }),
  );
  const tunnel = ways.length === 1 ? (ways[0] ?? '') : ways.map((way) => `(${way})`).join(' or ');
  return filter.trim() === '' ? `not (${tunnel})` : `(${filter}) and not (${tunnel})`;
}

async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    return (await lookup(host, { all: true })).map((entry) => entry.address);
  } catch {
    return [];
  }
}
