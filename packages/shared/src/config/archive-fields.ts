/** What every program that stores packets lets its operator decide about the archive: keys of `archive`, and the rules. */
import { resolve } from 'node:path';
import { z } from 'zod';
import { SPLITS, type ArchiveOptions, type ArchiveRule } from '../archive/archive-options.ts';
import { byteSize, duration, filePrefix, ipAddress, path } from './fields.ts';

const MIB = 2 ** 20;
const SECOND_MS = 1000;
const DAY_MS = 86_400_000;
const ARCHIVES_MAX = 8;

/** How the packets of one archive are laid into files. */
function layoutFields(linkType: 'ethernet' | 'raw') {
  return {
    split: z
      .enum(SPLITS)
      .default('source')
      .describe(`write ${SPLITS.join(', ')}`),
    filter: z
      .string()
      .max(65_536)
      .nullable()
      .default(null)
      .describe('write a filter in libpcap’s language, such as tcp port 502'),
    rotation: rotation.prefault('1h'),
    link_type: z
      .enum(['ethernet', 'raw'])
      .default(linkType)
      .describe('write ethernet (whole frames) or raw (IP packets, LINKTYPE_RAW)'),
    precision: z.enum(['ns', 'us']).default('ns').describe('write ns or us'),
    compress: z.enum(['none', 'gzip', 'zstd']).default('none').describe('write none, gzip or zstd'),
  };
}

/** When a segment ends: a span of time, aligned to the clock, or a size. */
const rotation = z
  .union([z.string(), z.number()])
  .transform((value, context) => {
    const span = duration(SECOND_MS, 7 * DAY_MS).safeParse(value);
    if (span.success && span.data % SECOND_MS === 0) return { periodSeconds: span.data / SECOND_MS };
    const size = byteSize(64 * 1024, 1024 * 1024 * MIB).safeParse(value);
    if (size.success) return { periodSeconds: DAY_MS / SECOND_MS, segmentBytesMax: size.data };
    context.issues.push({ code: 'custom', message: 'neither a span of time nor a size', input: value });
    return z.NEVER;
  })
  .describe(
    'write a span of whole seconds up to 7d, such as 1h or 10m, or a size from 64KiB to 1TiB, such as 500MiB',
  );

/** The keys of `archive`. The link type's default is the program's own. */
export function archiveFields(linkType: 'ethernet' | 'raw') {
  return {
    ...layoutFields(linkType),
    flush_interval: duration(10, 60_000).default(1000),
    open_files_max: wholeNumber(8, 100_000).default(512),
    buffer_size: byteSize(4 * MIB, 4096 * MIB).default(64 * MIB),
    sources_max: wholeNumber(1, 1_000_000).default(20_000),
  };
}

/** The key `archives`: further splits of the same packets. */
export function furtherArchives(linkType: 'ethernet' | 'raw') {
  return z
    .array(
      z.strictObject({
        name: z
          .string()
          .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/, 'not a name')
          .describe('write a name of letters, digits, dashes and underscores, such as zeek'),
        directory: path,
        ...layoutFields(linkType),
        flush_interval: duration(10, 60_000).default(1000),
        buffer_size: byteSize(4 * MIB, 4096 * MIB).default(64 * MIB),
        sources_max: wholeNumber(1, 1_000_000).default(20_000),
      }),
    )
    .max(ARCHIVES_MAX)
    .refine(
      (archives) => new Set(archives.map(({ name }) => name)).size === archives.length,
      'two archives have the same name',
    )
    .default([])
    .describe('write a list of {name, directory, split, …}');
}

/** A path that lies in another, or is it: two archives there would take each other's files for their own. */
export function overlappingDirectory(
  first: string,
  archives: readonly { readonly directory: string }[],
): number {
  const all = [first, ...archives.map(({ directory }) => directory)].map(
    (directory) => `${resolve(directory)}/`,
  );
  return archives.findIndex((_, index) =>
    all.some(
      (other, place) =>
        place !== index + 1 &&
        (other.startsWith(all[index + 1] as string) || (all[index + 1] as string).startsWith(other)),
    ),
  );
}

/** `routing_rules`: SecureOT's names. */
export const routingRules = z
  .array(z.strictObject({ ip: ipAddress, output_prefix: filePrefix }))
  .max(100_000)
  .default([]);

/** A number of things, with its limits as the remedy. */
export function wholeNumber(min: number, max: number) {
  return z.number().int().min(min).max(max).describe(`write a number from ${min} to ${max}`);
}

export type RoutingKeys = z.infer<typeof routingRules>;
export type ArchiveKeys = z.infer<z.ZodObject<ReturnType<typeof archiveFields>>>;
export type FurtherArchiveKeys = z.infer<ReturnType<typeof furtherArchives>>[number];

/** A configuration's archive keys as options of an archive; directory and descriptors are the caller's. */
export function archiveOptions(
  config: {
    readonly archive: ArchiveKeys;
    readonly routing_rules: RoutingKeys;
    readonly default_output_prefix?: string | undefined;
  },
  directory: string,
  keys: Omit<ArchiveKeys, 'open_files_max'> = config.archive,
): ArchiveOptions {
  const { default_output_prefix: defaultPrefix } = config;
  return {
    directory,
    linkType: keys.link_type,
    precision: keys.precision,
    split: keys.split,
    filter: keys.filter ?? '',
    ...keys.rotation,
    rules: archiveRules(config.routing_rules),
    ...(defaultPrefix === undefined ? {} : { defaultPrefix }),
    flushIntervalMs: keys.flush_interval,
    openFilesMax: config.archive.open_files_max,
    bufferBytesMax: keys.buffer_size,
    sourcesMax: keys.sources_max,
  };
}

export function archiveRules(rules: RoutingKeys): readonly ArchiveRule[] {
  return rules.map((rule) => ({ address: rule.ip, prefix: rule.output_prefix }));
}
