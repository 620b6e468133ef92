/** From the keys `archive` and `archives` to the archives themselves, for every program that stores packets. */
import { Archive } from '../archive/archive.ts';
import type { ArchiveEvents, ArchiveRule } from '../archive/archive-options.ts';
import { ArchiveSet, FIRST_ARCHIVE, eventsOfMember, type NamedArchive } from '../archive/archive-set.ts';
import { OperatingError } from '../base/errors.ts';
import { BatchFilter } from '../filter/batch-filter.ts';
import { PACKET_BYTES_MAX } from '../packet/record.ts';
import type { Files } from '../system/files.ts';
import type { OpenFiles } from '../archive/open-files.ts';
import {
  archiveOptions,
  overlappingDirectory,
  type ArchiveKeys,
  type FurtherArchiveKeys,
  type RoutingKeys,
} from './archive-fields.ts';
import type { LoadedConfig } from './load.ts';

/** The keys that decide which archives there are. */
export interface ArchivesConfig {
  readonly archive: ArchiveKeys;
  readonly archives: readonly FurtherArchiveKeys[];
  readonly routing_rules: RoutingKeys;
  readonly default_output_prefix?: string | undefined;
  readonly output_directories: { readonly pcap_raw_output_path: string };
}

export interface ArchiveSetDependencies {
  readonly files: Files;
  readonly openFiles: OpenFiles;
  readonly events: ArchiveEvents;
}

/**
 * The archives of one place (a sensor, a plain sender, the forwarder itself): `place` names the directory of it below each
 * archive's own, '' is that itself. Not opened yet.
 */
export function archiveSetOf(
  config: ArchivesConfig,
  place: {
    readonly directory: string;
    readonly isFirstKept?: boolean;
    readonly rules?: readonly ArchiveRule[];
  },
  dependencies: ArchiveSetDependencies,
): ArchiveSet {
  const below = (directory: string): string =>
    place.directory === '' ? directory : `${directory}/${place.directory}`;
  const { events, ...rest } = dependencies;
  const create = (name: string, directory: string, keys?: FurtherArchiveKeys): NamedArchive => {
    const options = archiveOptions(config, below(directory), keys);
    const rules = place.rules ?? options.rules;
    return {
      name,
      archive: new Archive({ ...options, rules }, { ...rest, events: eventsOfMember(name, events) }),
    };
  };
  const first =
    place.isFirstKept === false
      ? []
      : [create(FIRST_ARCHIVE, config.output_directories.pcap_raw_output_path)];
  return new ArchiveSet([
    ...first,
    ...config.archives.map((keys) => create(keys.name, keys.directory, keys)),
  ]);
}

/** Throws CONFIG_INVALID where a filter does not compile or an archive lies in another. */
export function verifyArchives(loaded: LoadedConfig<ArchivesConfig>): void {
  const { archive, archives, output_directories: first } = loaded.value;
  const overlapping = overlappingDirectory(first.pcap_raw_output_path, archives);
  if (overlapping >= 0)
    throw loaded.problem(
      ['archives', overlapping, 'directory'],
      'lies in the directory of another archive, or that one in it',
      'give each archive a directory of its own',
    );
  const filters = [
    [['archive', 'filter'], archive.filter] as const,
    ...archives.map((keys, index) => [['archives', index, 'filter'], keys.filter] as const),
  ];
  for (const [path, expression] of filters)
    try {
      new BatchFilter({ expression: expression ?? '', snapBytes: PACKET_BYTES_MAX }).check();
    } catch (error) {
      if (!(error instanceof OperatingError) || error.code !== 'FILTER_INVALID') throw error;
      throw loaded.problem([...path], error.message, 'the language is that of pcap-filter(7)');
    }
}
