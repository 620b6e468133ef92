/**
 * How this agent is, said every so often, and who else has gone quiet.
 */
import { hostname } from 'node:os';

export interface Health {
  readonly agent: string;
  readonly hostname: string;
  readonly version: string;
  /** Wall time, microseconds since 1970. */
  readonly sentAtUs: number;
  readonly uptimeMs: number;
  readonly packets: number;
  /** Tellings of alerts that were stored. */
  readonly alerts: number;
  /** The newest telling: a reader that has seen less missed something. */
  readonly lastSequence: number;
  /** Of one core, since the last heartbeat. */
  readonly cpuPercent: number;
  readonly rssBytes: number;
  readonly intervalMs: number;
  readonly queues: readonly QueueDepth[];
}

export interface QueueDepth {
  readonly name: string;
  readonly queued: number;
  readonly dropped: number;
}

export interface HealthSources {
  packets(): number;
  alerts(): number;
  lastSequence(): number;
  queues(): readonly QueueDepth[];
}

export interface HealthReporterOptions {
  readonly agent: string;
  readonly version: string;
  readonly intervalMs: number;
}

/** What is asked of the process and the clocks; a test hands in its own. */
export interface ProcessDoor {
  wallMs(): number;
  monotonicMs(): number;
  cpuMicros(): number;
  rssBytes(): number;
  hostname(): string;
}

export const systemProcess: ProcessDoor = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  cpuMicros: () => {
    const { user, system } = process.cpuUsage();
    return user + system;
  },
  rssBytes: () => process.memoryUsage.rss(),
  hostname,
};

export class HealthReporter {
  readonly #options: HealthReporterOptions;
  readonly #sources: HealthSources;
  readonly #door: ProcessDoor;
  readonly #startedMs: number;
  #lastMs: number;
  #lastCpuMicros: number;

  constructor(options: HealthReporterOptions, sources: HealthSources, door: ProcessDoor = systemProcess) {
    this.#options = options;
    this.#sources = sources;
    this.#door = door;
    this.#startedMs = this.#lastMs = door.monotonicMs();
    this.#lastCpuMicros = door.cpuMicros();
  }

  /** Now. The CPU is that of the time since the last call. */
  report(): Health {
    const door = this.#door;
    const nowMs = door.monotonicMs();
    const cpuMicros = door.cpuMicros();
    const elapsedMs = nowMs - this.#lastMs;
    const cpuPercent = elapsedMs > 0 ? (cpuMicros - this.#lastCpuMicros) / 10 / elapsedMs : 0;
    this.#lastMs = nowMs;
    this.#lastCpuMicros = cpuMicros;
    return {
      agent: this.#options.agent,
      hostname: door.hostname(),
      version: this.#options.version,
      sentAtUs: door.wallMs() * 1000,
      uptimeMs: Math.round(nowMs - this.#startedMs),
      packets: this.#sources.packets(),
      alerts: this.#sources.alerts(),
      lastSequence: this.#sources.lastSequence(),
      cpuPercent: Math.round(cpuPercent * 10) / 10,
      rssBytes: door.rssBytes(),
      intervalMs: this.#options.intervalMs,
      queues: this.#sources.queues(),
    };
  }
}

/** A heartbeat may be late or lost once or twice; three in a row are silence. */
const INTERVALS_MISSED = 3;

export interface HeartbeatWatchEvents {
  /** Once for each silence. `silentMs`: since it was heard last, or since the watch began. */
  missed(name: string, silentMs: number): void;
  returned?(name: string, silentMs: number): void;
}

/** Watches agents and sensors that are expected to be heard. Makes no alerts itself: who owns it does. */
export class HeartbeatWatch {
  readonly #intervalMs: number;
  readonly #events: HeartbeatWatchEvents;
  readonly #now: () => number;
  readonly #heardMs = new Map<string, number>();
  readonly #silent = new Set<string>();

  /** `now` is monotonic, in milliseconds. */
  constructor(
    options: { readonly expected: readonly string[]; readonly intervalMs: number },
    events: HeartbeatWatchEvents,
    now: () => number,
  ) {
    this.#intervalMs = options.intervalMs;
    this.#events = events;
    this.#now = now;
    for (const name of options.expected) this.#heardMs.set(name, now());
  }

  get silent(): readonly string[] {
    return [...this.#silent];
  }

  /** A sign of life. Names that nobody expects are ignored: a stranger must not fill the memory. */
  heard(name: string): void {
    const beforeMs = this.#heardMs.get(name);
    if (beforeMs === undefined) return;
    const nowMs = this.#now();
    this.#heardMs.set(name, nowMs);
    if (this.#silent.delete(name)) this.#events.returned?.(name, nowMs - beforeMs);
  }

  /** To be called about once an interval. */
  check(): void {
    const nowMs = this.#now();
    for (const [name, heardMs] of this.#heardMs)
      if (nowMs - heardMs > INTERVALS_MISSED * this.#intervalMs && !this.#silent.has(name)) {
        this.#silent.add(name);
        this.#events.missed(name, nowMs - heardMs);
      }
  }
}
