/**
 * Every place of the collector: the archives of the sensors and of senders that speak no protocol, each with whoever looks
 * after its closed segments. What an earlier run left in any of them is repaired and finished before a port is open.
 *
 *   <archive>/<sensor>/   resume point, gap list, segments: what is closed is finished when a commit covers it
 *   <archive>/<sender>/   segments: what is closed is finished at once
 */
import { join } from 'node:path';
import { joined, type ArchiveEvents, type ArchiveRule } from '@tapline/shared/archive/archive-options.ts';
import { ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import { LOCK_NAME } from '@tapline/shared/archive/directory-lock.ts';
import { OpenFiles } from '@tapline/shared/archive/open-files.ts';
import { messageOf } from '@tapline/shared/base/errors.ts';
import { placesOf } from '@tapline/shared/catalog/places.ts';
import { archiveRules } from '@tapline/shared/config/archive-fields.ts';
import { archiveSetOf } from '@tapline/shared/config/archive-set-of.ts';
import { placesOfSet } from '@tapline/shared/config/keep-fields.ts';
import type { Keeper } from '@tapline/shared/keep/keeper.ts';
import { KeptPlace, type Losses } from '@tapline/shared/keep/kept-place.ts';
import type { Log } from '@tapline/shared/observe/log.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { systemTunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { CollectorConfig } from './config.ts';
import { archiveEvents, sessionEvents, storeEvents } from './events.ts';
import { ArchiveSize } from './session/archive-size.ts';
import { DiskLimit } from './session/disk-limit.ts';
import { GAP_LIST_NAME } from './session/gap-list.ts';
import { RESUME_NAME } from './session/resume-point.ts';
import type { SensorIntake } from './session/sensor-intake.ts';
import { ArchiveStore } from './session/sensor-store.ts';

export interface PlacesDependencies {
  readonly log: Log;
  readonly keeper: Keeper;
  /** A sensor's batch went into its archives. */
  readonly written: (sensor: string, batch: Batch) => void;
  /** What is known of a sensor; undefined of one that has not been met since the start. */
  readonly intakeOf: (sensor: string) => SensorIntake | undefined;
}

export class Places {
  readonly #log: Log;
  readonly #dependencies: PlacesDependencies;
  /** One budget of descriptors for all archives together. */
  readonly #openFiles: OpenFiles;
  readonly #stores = new Map<string, ArchiveStore>();
  #config: CollectorConfig;

  constructor(config: CollectorConfig, dependencies: PlacesDependencies) {
    this.#config = config;
    this.#log = dependencies.log;
    this.#dependencies = dependencies;
    this.#openFiles = new OpenFiles(systemFiles, config.archive.open_files_max);
  }

  /** The archives of the sensors met since the start. */
  get archives(): readonly ArchiveSet[] {
    return [...this.#stores.values()].map((store) => store.archives);
  }

  /** The rules of another configuration; nothing else of it. */
  setRules({ routing_rules, default_output_prefix }: CollectorConfig): void {
    this.#config = { ...this.#config, routing_rules, default_output_prefix };
    const rules = rulesOf(this.#config);
    for (const store of this.#stores.values()) store.archives.setRules(rules, default_output_prefix);
  }

  /** What the segments of a sender may take; told when it is reached. */
  limitOf(sender: string, archives: ArchiveSet): DiskLimit {
    const events = sessionEvents(this.#log);
    const size = new ArchiveSize(archives, systemFiles, this.#config.limits.sensor_disk ?? Infinity);
    return new DiskLimit(size, systemTunnelClock, {
      reached: (bytesMax) => events.diskLimitReached?.({ sensor: sender, bytesMax }),
      left: (bytes) => events.diskLimitLeft?.({ sensor: sender, bytes }),
    });
  }

  /** Repairs what a crash left, of every place there is, and has finished what runs before this one did not finish. */
  async finishEarlierRuns(): Promise<void> {
    const root = this.#config.output_directories.pcap_raw_output_path;
    for (const { sensor } of placesOf(root, false)) {
      const directory = this.#directoryOf(sensor);
      try {
        if (!systemFiles.exists(join(directory, LOCK_NAME))) continue;
        // Opening repairs; nobody has connected yet who could open it besides.
        const isSensor = systemFiles.exists(join(directory, RESUME_NAME));
        const store = isSensor ? await this.#openStoreOf(sensor) : null;
        const archives = store?.archives ?? this.openArchives(sensor, [], this.#config.default_output_prefix);
        const places = this.#placesOf(sensor, archives);
        await (store ?? archives).close();
        for (const place of places.values()) this.#dependencies.keeper.adopt(place);
      } catch (error) {
        this.#log.error(
          { sensor, problem: messageOf(error) },
          'The archive of a sensor cannot be opened; what an earlier run left there stays unfinished.',
        );
      }
    }
  }

  /** Of a sensor, with its resume point; it stays listed. Rejects with ARCHIVE_FAILED. */
  openStore(sensor: string): Promise<ArchiveStore> {
    return this.#openStoreOf(sensor).then((store) => {
      this.#stores.set(sensor, store);
      return store;
    });
  }

  #openStoreOf(sensor: string): Promise<ArchiveStore> {
    const kept = this.#keptPlace(sensor, () => store.archives);
    const store: { archives: ArchiveSet } = { archives: new ArchiveSet([]) };
    return ArchiveStore.open(
      { directory: this.#directoryOf(sensor), bytesMax: this.#config.limits.sensor_disk },
      {
        files: systemFiles,
        written: (batch) => {
          this.#dependencies.written(sensor, batch);
        },
        events: {
          ...storeEvents(this.#log, sensor),
          finished: (name) => {
            kept.finished(name);
          },
        },
        createArchives: (storeEventsOfArchive) =>
          (store.archives = this.#createArchives(
            sensor,
            rulesOf(this.#config),
            this.#config.default_output_prefix,
            joined(archiveEvents(this.#log, sensor), kept.events(), storeEventsOfArchive),
          )),
      },
    );
  }

  /** Of a sender that speaks no protocol: each closed segment is finished at once. Throws ARCHIVE_FAILED. */
  openArchives(name: string, rules: readonly ArchiveRule[], defaultPrefix: string | undefined): ArchiveSet {
    const kept = this.#keptPlace(name, () => archives);
    const events = joined(archiveEvents(this.#log, name), kept.events(), {
      segmentClosed: (segment) => {
        kept.finished(segment.name);
      },
    });
    const archives = this.#createArchives(name, rules, defaultPrefix, events);
    archives.open();
    return archives;
  }

  #createArchives(
    name: string,
    rules: readonly ArchiveRule[],
    defaultPrefix: string | undefined,
    events: ArchiveEvents,
  ): ArchiveSet {
    return archiveSetOf(
      { ...this.#config, default_output_prefix: defaultPrefix },
      { directory: name, rules },
      { files: systemFiles, openFiles: this.#openFiles, events },
    );
  }

  #keptPlace(name: string, archives: () => ArchiveSet): KeptPlace {
    return new KeptPlace(
      this.#dependencies.keeper,
      () => this.#placesOf(name, archives()),
      () => this.#lossesOf(name, archives()),
    );
  }

  #placesOf(name: string, archives: ArchiveSet): ReturnType<typeof placesOfSet> {
    const intake = this.#dependencies.intakeOf(name);
    return placesOfSet(archives, this.#config, {
      sensor: name,
      interfaces: intake?.interfaces ?? [],
      filter: '',
      gapList: join(this.#directoryOf(name), GAP_LIST_NAME),
    });
  }

  /** Packets of a sensor that were lost anywhere on their way, as far as is known here. */
  #lossesOf(name: string, archives: ArchiveSet): Losses {
    const intake = this.#dependencies.intakeOf(name);
    const reported = intake?.report?.counters ?? {};
    return {
      'sensor-kernel': reported['capture_kernel_dropped_packets'] ?? 0,
      'sensor-interface': reported['capture_interface_dropped_packets'] ?? 0,
      'sensor-tunnel': intake?.counters.gapPackets ?? 0,
      'one-way-link': intake?.counters.lostPackets ?? 0,
      archive: archives.packetsDropped,
    };
  }

  #directoryOf(name: string): string {
    return join(this.#config.output_directories.pcap_raw_output_path, name);
  }
}

export function rulesOf(config: CollectorConfig): readonly ArchiveRule[] {
  return archiveRules(config.routing_rules);
}
