/**
 * From the configuration's `forward` to the options of the stations on the way to the collector: what of the capture is sent, where
 * it waits, and how it travels.
 */
import { messageOf } from '@tapline/shared/base/errors.ts';
import { readKeyFile } from '@tapline/shared/config/key-file.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { packageVersion } from '@tapline/shared/daemon/run.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { isReplay } from './capture-options.ts';
import type { ForwarderConfig } from './config.ts';
import { ForwardSelection } from './filter/forward-selection.ts';
import type { SpoolOptions } from './spool/spool.ts';
import { UDP_BYTES_PER_SECOND, type UdpTunnelOptions } from './tunnel/udp/udp-tunnel-options.ts';
import type { UplinkOptions } from './tunnel/uplink.ts';

/** What of the capture is sent. Throws CONFIG_INVALID with the place of a filter that libpcap does not understand. */
export function createSelection(loaded: LoadedConfig<ForwarderConfig>): ForwardSelection {
  const { forward } = loaded.value;
  const selection = new ForwardSelection({
    filter: forward?.filter ?? '',
    snapBytes: forward?.snaplen ?? PACKET_BYTES_MAX,
    classes: forward?.priority ?? [],
  });
  selection.check((index, message) =>
    loaded.problem(
      index === null ? ['forward', 'filter'] : ['forward', 'priority', index],
      message,
      'the language is that of pcap-filter(7)',
    ),
  );
  return selection;
}

/** Of the uplink; null when nothing is sent. `udp`: see `udpOptions`. */
export function uplinkOptions(
  { forward, sensor, capture }: ForwarderConfig,
  udp: UdpTunnelOptions | null,
): UplinkOptions | null {
  if (forward?.enable !== true) return null;
  return {
    protocol: forward.protocol === 'tcp' ? 'tunnel' : forward.protocol,
    collectors: [{ host: forward.host, port: forward.port }, ...forward.failover],
    returnAfterMs: forward.return_after,
    sensor,
    compression: forward.compression,
    queueBytesMax: forward.queue_size,
    order: forward.order,
    rate: {
      // One way nobody can say that it is too fast.
      bytesPerSecond: forward.max_rate ?? (udp === null ? Infinity : UDP_BYTES_PER_SECOND),
      windows: forward.schedule.map(({ from, to, days, max_rate: bytesPerSecond }) => ({
        fromMinute: from,
        toMinute: to,
        days,
        bytesPerSecond,
      })),
    },
    onFull: isReplay({ capture }) ? 'wait' : 'drop-newest',
    software: `tapline-forwarder ${packageVersion()}`,
    ...(udp === null ? {} : { udp }),
  };
}

/** Of the spool; null where frames wait in memory only. */
export function spoolOptions({ forward }: ForwarderConfig): SpoolOptions | null {
  const { spool } = forward ?? {};
  if (spool === undefined) return null;
  const { path: directory, max_bytes: bytesMax, mode, on_full: onFull } = spool;
  return { directory, bytesMax, mode, onFull };
}

/** Of the one-way tunnel, its key read; null for every other protocol. Throws CONFIG_INVALID. */
export function udpOptions(loaded: LoadedConfig<ForwarderConfig>): UdpTunnelOptions | null {
  const { forward } = loaded.value;
  const udp = forward?.udp;
  if (forward?.enable !== true || forward.protocol !== 'udp-tunnel' || udp === undefined) return null;
  const { mtu, data, parity, interleave, cipher, key_id, key_file, ttl, multicast_interface } = udp;
  let seal: UdpTunnelOptions['seal'] = null;
  if (cipher !== 'none' && key_id !== undefined && key_file !== undefined)
    try {
      seal = { cipher, keyId: key_id, secret: readKeyFile(key_file) };
    } catch (error) {
      throw loaded.problem(
        ['forward', 'udp', 'key_file'],
        messageOf(error),
        'tapline-collector udp-key makes one',
      );
    }
  return {
    mtu,
    data,
    parity,
    interleave,
    seal,
    ...(ttl === undefined ? {} : { ttl }),
    ...(multicast_interface === undefined ? {} : { multicastInterface: multicast_interface }),
  };
}
