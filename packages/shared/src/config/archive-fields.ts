/** What every program that stores packets lets its operator decide about the archive: keys of `archive`, and the rules. */
import { z } from 'zod';
import type { ArchiveOptions, ArchiveRule } from '../archive/archive-options.ts';
import { byteSize, duration, filePrefix, ipAddress } from './fields.ts';

const MIB = 2 ** 20;

/** The keys of `archive`. The link type's default is the program's own. */
export function archiveFields(linkType: 'ethernet' | 'raw') {
  return {
    link_type: z
      .enum(['ethernet', 'raw'])
      .default(linkType)
      .describe('write ethernet (whole frames) or raw (IP packets, LINKTYPE_RAW)'),
    precision: z.enum(['ns', 'us']).default('ns').describe('write ns or us'),
    flush_interval: duration(10, 60_000).default(1000),
    open_files_max: wholeNumber(8, 100_000).default(512),
    buffer_size: byteSize(4 * MIB, 4096 * MIB).default(64 * MIB),
    sources_max: wholeNumber(1, 1_000_000).default(20_000),
  };
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

/** A configuration's archive keys as options of an archive; directory and descriptors are the caller's. */
export function archiveOptions(
  config: {
    readonly archive: z.infer<z.ZodObject<ReturnType<typeof archiveFields>>>;
    readonly routing_rules: z.infer<typeof routingRules>;
    readonly default_output_prefix?: string | undefined;
  },
  directory: string,
): ArchiveOptions {
  const { archive, default_output_prefix: defaultPrefix } = config;
  return {
    directory,
    linkType: archive.link_type,
    precision: archive.precision,
    rules: archiveRules(config.routing_rules),
    ...(defaultPrefix === undefined ? {} : { defaultPrefix }),
    flushIntervalMs: archive.flush_interval,
    openFilesMax: archive.open_files_max,
    bufferBytesMax: archive.buffer_size,
    sourcesMax: archive.sources_max,
  };
}

export function archiveRules(rules: z.infer<typeof routingRules>): readonly ArchiveRule[] {
  return rules.map((rule) => ({ address: rule.ip, prefix: rule.output_prefix }));
}
