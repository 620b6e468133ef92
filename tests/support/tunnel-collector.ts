/** A collector's receiving half on loopback, for tests: listener, sessions, stores in memory. */
import { PlainIntake } from '../../packages/collector/src/listen/plain-intake.ts';
import { TcpListener } from '../../packages/collector/src/listen/tcp-listener.ts';
import {
  SessionTable,
  type SessionTableDependencies,
  type SessionTableOptions,
} from '../../packages/collector/src/session/session-table.ts';
import type { Batch } from '../../packages/shared/src/packet/batch.ts';
import { systemTunnelClock as clock } from '../../packages/shared/src/tunnel/tunnel-clock.ts';
import { MemoryDisk, MemoryStore } from './memory-store.ts';

export interface TestCollectorOptions extends SessionTableOptions {
  readonly port?: number;
  readonly greetingTimeoutMs?: number;
  readonly connectionsMax?: number;
  readonly plainTimeoutMs?: number;
  readonly events?: SessionTableDependencies['events'];
  readonly disks?: Map<string, MemoryDisk>;
}

export class TestCollector {
  readonly disks: Map<string, MemoryDisk>;
  readonly plainBatches: { peer: string; linkType: number; bytes: Uint8Array }[] = [];
  readonly plain: PlainIntake;
  readonly sessions: SessionTable;
  readonly listener: TcpListener;
  readonly #stores: MemoryStore[] = [];
  port = 0;

  constructor(options: TestCollectorOptions = {}) {
    this.disks = options.disks ?? new Map<string, MemoryDisk>();
    this.plain = new PlainIntake('auto', {
      clock,
      deliver: (peer, batch: Batch) => {
        const bytes = new Uint8Array(batch.bytes.subarray(0, batch.byteLength));
        this.plainBatches.push({ peer, linkType: batch.linkType, bytes });
      },
    });
    this.sessions = new SessionTable(
      { intervalMs: 10, ...options },
      {
        events: options.events ?? {},
        openStore: async (sensor) => {
          const store = new MemoryStore(this.disk(sensor));
          this.#stores.push(store);
          return store;
        },
      },
    );
    const { greetingTimeoutMs, connectionsMax, plainTimeoutMs } = options;
    this.listener = new TcpListener(
      {
        host: '127.0.0.1',
        port: options.port ?? 0,
        protocol: 'auto',
        ...(greetingTimeoutMs === undefined ? {} : { greetingTimeoutMs }),
        ...(connectionsMax === undefined ? {} : { connectionsMax }),
        ...(plainTimeoutMs === undefined ? {} : { plainTimeoutMs }),
      },
      { clock, sessions: this.sessions, plain: this.plain, events: {} },
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

  /** As after kill -9: no goodbye, nothing made durable. */
  crash(): void {
    for (const store of this.#stores) store.crash();
    this.listener.close();
  }

  async close(): Promise<void> {
    this.listener.stop();
    await this.sessions.close(5000);
    this.listener.close();
  }
}
