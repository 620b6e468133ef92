/**
 * All sensors the collector has ever met, in one small file in its archive, written every few seconds:
 *
 *   <archive>/.tapline-sensors.json    {version: 1, writtenAtMs, startedAtMs, running, sensors: [SensorStatus]}
 *
 * A file and not a port: `tapline-collector sensors` also works while the collector is down, when it is wanted most, and
 * there is no door to guard.
 */
import { messageOf } from '@tapline/shared/base/errors.ts';
import type { Files } from '@tapline/shared/system/files.ts';
import { readSmallFile, replaceFile } from '@tapline/shared/system/replace-file.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { z } from 'zod';
import type { SensorIntake } from '../session/sensor-intake.ts';
import { sensorStatusSchema, statusOf, type SensorStatus } from './sensor-status.ts';

export const FLEET_FILE_NAME = '.tapline-sensors.json';
export const FLEET_INTERVAL_MS = 5000;
/** 4,096 sensors × 1 KiB, four times over. */
const BYTES_MAX = 16 * 1024 * 1024;

const fleet = z.object({
  version: z.literal(1),
  writtenAtMs: z.number(),
  startedAtMs: z.number(),
  /** False: written by a collector that stopped in order. */
  running: z.boolean(),
  sensors: z.array(sensorStatusSchema),
});

export type Fleet = z.infer<typeof fleet>;

/** What the last collector wrote in this archive; null when none did, or what it wrote cannot be read. */
export function readFleet(files: Files, archive: string): Fleet | null {
  try {
    const text = readSmallFile(files, `${archive}/${FLEET_FILE_NAME}`, BYTES_MAX);
    return text === null ? null : fleet.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

export interface FleetStatusDependencies {
  readonly files: Files;
  readonly clock: TunnelClock;
  readonly sensors: () => readonly SensorIntake[];
  readonly events: { fleetWriteFailed?(failure: { readonly message: string }): void };
}

export class FleetStatus {
  readonly #archive: string;
  readonly #dependencies: FleetStatusDependencies;
  readonly #startedAtMs: number;
  /** The newest status of each sensor, of this life or an earlier one. */
  readonly #statuses = new Map<string, SensorStatus>();
  /** Those that came in this life: their counters belong together. */
  readonly #met = new Set<string>();
  #polledAtMs: number;
  #isFailing = false;
  #cancel: () => void = () => undefined;

  constructor(archive: string, dependencies: FleetStatusDependencies) {
    this.#archive = archive;
    this.#dependencies = dependencies;
    const { clock, files } = dependencies;
    this.#startedAtMs = clock.wallMs();
    this.#polledAtMs = clock.monotonicMs();
    for (const status of readFleet(files, archive)?.sensors ?? [])
      this.#statuses.set(status.sensor, {
        ...status,
        connected: false,
        packetsPerSecond: 0,
        bitsPerSecond: 0,
      });
    this.#write(true);
    this.#arm();
  }

  /** The newest status of all sensors, by name. */
  get sensors(): readonly SensorStatus[] {
    return [...this.#statuses.values()].toSorted((a, b) => (a.sensor < b.sensor ? -1 : 1));
  }

  /** Writes for the last time. */
  close(): void {
    this.#cancel();
    this.#poll();
    this.#write(false);
  }

  #arm(): void {
    this.#cancel = this.#dependencies.clock.after(FLEET_INTERVAL_MS, () => {
      this.#poll();
      this.#write(true);
      this.#arm();
    });
  }

  #poll(): void {
    const { clock, sensors } = this.#dependencies;
    const monotonicMs = clock.monotonicMs();
    const elapsedMs = monotonicMs - this.#polledAtMs;
    this.#polledAtMs = monotonicMs;
    for (const intake of sensors()) {
      const before = this.#met.has(intake.sensor) ? this.#statuses.get(intake.sensor) : undefined;
      const since = before === undefined ? null : { status: before, elapsedMs };
      this.#statuses.set(intake.sensor, statusOf(intake, clock.wallMs(), since));
      this.#met.add(intake.sensor);
    }
  }

  #write(running: boolean): void {
    const { files, clock, events } = this.#dependencies;
    const state: Fleet = {
      version: 1,
      writtenAtMs: clock.wallMs(),
      startedAtMs: this.#startedAtMs,
      running,
      sensors: [...this.sensors],
    };
    try {
      replaceFile(files, `${this.#archive}/${FLEET_FILE_NAME}`, JSON.stringify(state));
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) events.fleetWriteFailed?.({ message: messageOf(error) });
      this.#isFailing = true;
    }
  }
}
