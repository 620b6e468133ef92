/**
 * The archives that are kept on this machine, and who looks after their closed segments. Who captures writes into the set;
 * what closes goes to the keeper by itself.
 */
import { joined } from '@tapline/shared/archive/archive-options.ts';
import type { ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import { OpenFiles } from '@tapline/shared/archive/open-files.ts';
import { archiveSetOf } from '@tapline/shared/config/archive-set-of.ts';
import { keeperOptions, placesOfSet } from '@tapline/shared/config/keep-fields.ts';
import { keeperEvents } from '@tapline/shared/daemon/keeper-events.ts';
import { packageVersion, type DaemonContext } from '@tapline/shared/daemon/run.ts';
import { Keeper } from '@tapline/shared/keep/keeper.ts';
import { KeptPlace } from '@tapline/shared/keep/kept-place.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import type { CaptureCounters } from './capture/capture-source.ts';
import type { ForwarderConfig } from './config.ts';
import { archiveEvents } from './events.ts';

export interface OpenedArchives {
  readonly archive: ArchiveSet | null;
  readonly keeper: Keeper | null;
  /** Has finished what runs before this one left; before anything is written. */
  readonly adopt: () => void;
}

/** The archives that are kept here, and who looks after their segments; all `null` when nothing is stored. Throws ARCHIVE_FAILED. */
export function openArchives(
  config: ForwarderConfig,
  context: DaemonContext,
  captured: () => CaptureCounters,
): OpenedArchives {
  if (!config.archive.enable && config.archives.length === 0)
    return { archive: null, keeper: null, adopt: () => undefined };
  const { log } = context;
  const keeper = new Keeper(
    keeperOptions(config, true, `tapline-forwarder ${packageVersion()}`),
    keeperEvents(log),
  );
  const kept = new KeptPlace(
    keeper,
    () => places,
    () => {
      const { kernelDroppedPackets, interfaceDroppedPackets } = captured();
      return {
        kernel: kernelDroppedPackets,
        interface: interfaceDroppedPackets,
        archive: archive.packetsDropped,
      };
    },
  );
  const archive = archiveSetOf(
    config,
    { directory: '', isFirstKept: config.archive.enable },
    {
      files: systemFiles,
      openFiles: new OpenFiles(systemFiles, config.archive.open_files_max),
      events: joined(archiveEvents(log), kept.events(), {
        segmentClosed: ({ name }) => {
          kept.finished(name);
        },
      }),
    },
  );
  const { interface: names } = config.capture;
  const places = placesOfSet(archive, config, {
    sensor: config.sensor,
    interfaces: names === undefined ? [config.capture.driver] : [names].flat(),
    filter: config.capture.bpf_filter ?? '',
    gapList: '',
  });
  try {
    archive.open();
  } catch (error) {
    void keeper.close(0);
    throw error;
  }
  return {
    archive,
    keeper,
    adopt: () => {
      for (const place of places.values()) keeper.adopt(place);
    },
  };
}
