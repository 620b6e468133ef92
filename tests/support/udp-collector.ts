/** A collector's one-way half on loopback, for tests: UDP listener, datagram intake, sessions, stores in memory. */
import { DatagramIntake, type DatagramEvents } from '../../packages/collector/src/listen/datagram-intake.ts';
import type { DatagramKey } from '../../packages/collector/src/listen/key-ring.ts';
import { UdpListener, type UdpListenerOptions } from '../../packages/collector/src/listen/udp-listener.ts';
import { SessionTable } from '../../packages/collector/src/session/session-table.ts';
import type { IntakeEvents } from '../../packages/collector/src/session/sensor-intake.ts';
import { systemTunnelClock as clock } from '../../packages/shared/src/tunnel/tunnel-clock.ts';
import { MemoryDisk, MemoryStore } from './memory-store.ts';

export interface UdpCollectorOptions {
  readonly keys?: readonly DatagramKey[];
  readonly isKeyRequired?: boolean;
  readonly reorderMs?: number;
  readonly bytesMax?: number;
  readonly idleTimeoutMs?: number;
  readonly uncommittedBytesMax?: number;
  readonly events?: DatagramEvents & IntakeEvents;
  readonly disks?: Map<string, MemoryDisk>;
  readonly listen?: Partial<UdpListenerOptions>;
}

export class UdpCollector {
  readonly disks: Map<string, MemoryDisk>;
  readonly sessions: SessionTable;
  readonly tunnel: DatagramIntake;
  readonly listener: UdpListener;
  readonly #stores: MemoryStore[] = [];
  port = 0;

  constructor(options: UdpCollectorOptions = {}) {
    const events = options.events ?? {};
    this.disks = options.disks ?? new Map<string, MemoryDisk>();
    const { uncommittedBytesMax } = options;
    this.sessions = new SessionTable(
      { intervalMs: 10, ...(uncommittedBytesMax === undefined ? {} : { uncommittedBytesMax }) },
      {
        events,
        openStore: async (sensor) => {
          const store = new MemoryStore(this.disk(sensor));
          this.#stores.push(store);
          return store;
        },
      },
    );
    this.tunnel = new DatagramIntake(
      {
        keys: options.keys ?? [],
        isKeyRequired: options.isKeyRequired ?? false,
        reorderMs: options.reorderMs ?? 100,
        bytesMax: options.bytesMax ?? 64 * 1024 * 1024,
        idleTimeoutMs: options.idleTimeoutMs ?? 60_000,
      },
      { clock, openIntake: (hello) => this.sessions.intakeOf(hello), events },
    );
    this.listener = new UdpListener(
      { host: '127.0.0.1', port: 0, ...options.listen },
      { plain: null, tunnel: this.tunnel, events: {} },
    );
  }

  async open(): Promise<this> {
    this.port = (await this.listener.open()).port;
    return this;
  }

  disk(sensor: string): MemoryDisk {
    let disk = this.disks.get(sensor);
    if (disk === undefined) this.disks.set(sensor, (disk = new MemoryDisk()));
    return disk;
  }

  /** As after kill -9: nothing made durable, nothing written down. */
  async crash(): Promise<void> {
    for (const store of this.#stores) store.crash();
    await this.listener.close();
  }

  async close(): Promise<void> {
    await this.listener.close();
    await this.sessions.close(5000);
  }
}
