/** From the configuration to the options of the doors and of the sessions behind them. */
import { hostname } from 'node:os';
import { messageOf } from '@tapline/shared/base/errors.ts';
import { readKeyFile } from '@tapline/shared/config/key-file.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { packageVersion } from '@tapline/shared/daemon/run.ts';
import type { CollectorConfig } from './config.ts';
import type { DatagramIntakeOptions } from './listen/datagram-intake.ts';
import type { DatagramKey } from './listen/key-ring.ts';
import type { TcpListenerOptions } from './listen/tcp-listener.ts';
import type { UdpListenerOptions } from './listen/udp-listener.ts';
import type { SessionTableOptions } from './session/session-table.ts';

export function sessionOptions({ limits }: CollectorConfig): SessionTableOptions {
  return {
    collector: hostname(),
    software: `tapline-collector ${packageVersion()}`,
    helloTimeoutMs: limits.hello_timeout,
    idleTimeoutMs: limits.idle_timeout,
    intervalMs: limits.commit_interval,
    uncommittedBytesMax: limits.uncommitted_size,
    sensorsMax: limits.sensors_max,
    bytesPerSecondMax: limits.sensor_rate,
    uncommittedTotalMax: limits.uncommitted_total,
  };
}

export function tcpOptions(
  { port, limits, plain }: CollectorConfig,
  host: string,
  tls: TcpListenerOptions['tls'],
): TcpListenerOptions {
  return {
    host,
    port,
    protocol: plain.enable ? 'auto' : 'tunnel',
    plainTcp: plain.tcp,
    connectionsMax: limits.connections_max,
    connectionsPerAddress: limits.connections_per_address,
    greetingTimeoutMs: limits.hello_timeout,
    tls,
  };
}

export function udpOptions({ port, udp }: CollectorConfig, host: string): UdpListenerOptions {
  return { host, port, ...(udp.multicast === undefined ? {} : { multicast: udp.multicast }) };
}

/** The keys are read. Throws CONFIG_INVALID with the place of a file that holds none. */
export function datagramOptions(
  loaded: LoadedConfig<CollectorConfig>,
  isKeyRequired: boolean,
): DatagramIntakeOptions {
  const { udp, limits } = loaded.value;
  return {
    keys: readKeys(loaded),
    isKeyRequired,
    reorderMs: udp.reorder_window,
    bytesMax: udp.buffer_size,
    idleTimeoutMs: limits.idle_timeout,
  };
}

function readKeys(loaded: LoadedConfig<CollectorConfig>): DatagramKey[] {
  return loaded.value.udp.keys.map(({ id, sensor, key_file }, index) => {
    try {
      return { id, sensor, secret: readKeyFile(key_file) };
    } catch (error) {
      const remedy = 'tapline-collector udp-key makes one';
      throw loaded.problem(['udp', 'keys', index, 'key_file'], messageOf(error), remedy);
    }
  });
}
