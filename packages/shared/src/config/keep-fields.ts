/** What operators decide about closed segments: the keys `retention`, `on_close` and `custody`. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { PLACEHOLDERS } from '../keep/hand-over.ts';
import type { ArchiveSet } from '../archive/archive-set.ts';
import type { HandOver, KeeperOptions, Place, RetentionOptions } from '../keep/keeper-protocol.ts';
import type { ArchivesConfig } from './archive-set-of.ts';
import { wholeNumber } from './archive-fields.ts';
import { always, byteSize, duration, isLoopback, path } from './fields.ts';
import { OperatingError, messageOf } from '../base/errors.ts';
import type { ObjectStoreOptions } from '../objects/object-store.ts';
import type { LoadedConfig } from './load.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** A share of the disk, or bytes. */
const freeSpace = z
  .union([z.string(), z.number()])
  .transform(
    (value, context): { freeShareMin?: number; freeBytesMin?: number; freeShareBytesMax?: number } => {
      if (value === 'auto') return { freeShareMin: 0.05, freeShareBytesMax: GIB };
      const share = /^(\d+(?:\.\d+)?) ?%$/.exec(String(value).trim())?.[1];
      if (share !== undefined && Number(share) <= 90) return { freeShareMin: Number(share) / 100 };
      const size = byteSize(0, 1024 * TIB).safeParse(value);
      if (size.success) return { freeBytesMin: size.data };
      context.issues.push({ code: 'custom', message: 'neither a share nor a size', input: value });
      return {};
    },
  )
  .describe(
    'write auto, a share of the disk up to 90%, such as 5%, or a size, such as 20GiB; 0 to look after nothing',
  );

export const retention = z
  .strictObject({
    max_age: duration(MINUTE_MS, 36_500 * DAY_MS).optional(),
    sensor_size: byteSize(MIB, 1024 * TIB).optional(),
    total_size: byteSize(MIB, 1024 * TIB).optional(),
    free_space: freeSpace.prefault('auto'),
    interval: duration(100, DAY_MS).default(30_000),
  })
  .prefault({});

export const onClose = z
  .array(
    z
      .strictObject({
        archive: z.string().default('').describe('write the name of one of `archives`'),
        sensors: z.array(z.string().min(1)).min(1).max(10_000).optional(),
        link: path.optional(),
        command: z
          .array(z.string().max(4096))
          .min(1)
          .max(100)
          .optional()
          .describe('write a list: the program and its arguments, such as [/usr/local/bin/ship, "{file}"]'),
        concurrency: wholeNumber(1, 64).default(2),
        timeout: duration(100, DAY_MS).default(MINUTE_MS),
        retries: wholeNumber(0, 100).default(3),
      })
      .refine(({ link, command }) => (link === undefined) !== (command === undefined), {
        path: ['command'],
        error: 'and link: exactly one of them is needed',
        when: always,
      }),
  )
  .max(16)
  .default([])
  .describe('write a list of {link: …} and {command: […]}');

export const custody = z
  .strictObject({
    key_file: path.optional(),
    interval: duration(1000, DAY_MS).default(60 * MINUTE_MS),
  })
  .prefault({});

/** Plain HTTP shows everything to whoever is on the way. */
const endpoint = z
  .string()
  .max(500)
  .refine((text) => /^https?:\/\/[^/\s?#@]+\/?$/.test(text), 'not the address of an object store')
  .describe('write an address such as https://s3.example:9000, without a bucket');

/** The key `object_store`. */
export const objectStore = z
  .strictObject({
    endpoint,
    bucket: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]{2,62}$/, 'not a bucket’s name')
      .describe('write the name of a bucket'),
    region: z.string().min(1).max(64).default('us-east-1').describe('write a region'),
    prefix: z
      .string()
      .max(200)
      .regex(/^(?:[A-Za-z0-9._-]+\/)*$/, 'not a prefix')
      .default('')
      .describe('write a prefix that ends with a slash, such as tapline/'),
    access_key: z.string().min(1).max(200).describe('write the name of the key'),
    secret_key_file: path.describe('write the path of a file that holds the secret key and nothing else'),
    tag: z
      .string()
      .max(300)
      .regex(/^(?:[A-Za-z0-9_.-]+=[A-Za-z0-9_.-]+(?:&|$))*$/, 'not a list of tags')
      .default('')
      .describe('write a tag, such as retention=90d'),
    part_size: byteSize(5 * MIB, 1024 * MIB).default(16 * MIB),
    local_keep: duration(0, 36_500 * DAY_MS).optional(),
    allow_plaintext: z.boolean().default(false).describe('write true or false'),
  })
  .refine(
    ({ endpoint: url, allow_plaintext: isAllowed }) =>
      isAllowed || url.startsWith('https:') || isLoopback(new URL(url).hostname),
    {
      path: ['endpoint'],
      error: 'is not https, and not of this machine: write allow_plaintext: true to do without',
      when: ({ value }) => typeof value === 'object' && value !== null && URL.canParse(String((value as { endpoint?: unknown }).endpoint)), // prettier-ignore
    },
  );

export interface KeepConfig {
  readonly object_store?: z.infer<typeof objectStore> | undefined;
  readonly archives: readonly { readonly name: string; readonly directory: string }[];
  readonly output_directories: { readonly pcap_raw_output_path: string };
  readonly retention: z.infer<typeof retention>;
  readonly on_close: z.infer<typeof onClose>;
  readonly custody: z.infer<typeof custody>;
}

/** Throws CONFIG_INVALID for an archive that there is not, and for `{words}` that mean nothing. */
export function verifyKeep(loaded: LoadedConfig<KeepConfig>): void {
  const { archives, on_close: targets } = loaded.value;
  for (const [index, { archive, command = [] }] of targets.entries()) {
    if (archive !== '' && !archives.some(({ name }) => name === archive))
      throw loaded.problem(
        ['on_close', index, 'archive'],
        `there is no archive ${archive}`,
        'write a name of `archives`',
      );
    for (const word of command.join(' ').matchAll(/\{(\w+)\}/g))
      if (!(PLACEHOLDERS as readonly string[]).includes(word[1] ?? ''))
        throw loaded.problem(
          ['on_close', index, 'command'],
          `knows no ${word[0]}`,
          `there are {${PLACEHOLDERS.join('}, {')}}`,
        );
  }
}

export function keeperOptions(config: KeepConfig, isSinglePlace: boolean, software: string): KeeperOptions {
  const first = config.output_directories.pcap_raw_output_path;
  return {
    roots: [first, ...config.archives.map(({ directory }) => directory)],
    isSinglePlace,
    retention: retentionOptions(config.retention),
    handOver: config.on_close.map(
      ({ archive, sensors, link, command, concurrency, timeout, retries }): HandOver => ({
        archive,
        sensors,
        link,
        command,
        concurrency,
        timeoutMs: timeout,
        retries,
      }),
    ),
    objectStore: config.object_store === undefined ? null : objectStoreOptions(config.object_store),
    localKeepMs: config.object_store?.local_keep ?? Infinity,
    custodyKey: custodyKeyOf(config),
    manifestIntervalMs: config.custody.interval,
    software,
  };
}

/** Reads the secret key. Throws CONFIG_INVALID. */
export function objectStoreOptions(keys: NonNullable<KeepConfig['object_store']>): ObjectStoreOptions {
  let secretKey: string;
  try {
    secretKey = readFileSync(keys.secret_key_file, 'utf8').trim();
  } catch (error) {
    throw new OperatingError('CONFIG_INVALID', `the key of the object store cannot be read: ${messageOf(error)}`, { file: keys.secret_key_file }, error); // prettier-ignore
  }
  return {
    endpoint: keys.endpoint,
    bucket: keys.bucket,
    region: keys.region,
    prefix: keys.prefix,
    accessKey: keys.access_key,
    secretKey,
    tag: keys.tag,
    partBytes: keys.part_size,
  };
}

/** What the sidecars of a set of archives say, by the name of the archive. */
export function placesOfSet(
  archives: ArchiveSet,
  config: ArchivesConfig,
  about: {
    readonly sensor: string;
    readonly interfaces: readonly string[];
    readonly gapList: string;
    readonly filter: string;
  },
): ReadonlyMap<string, Place> {
  return new Map(
    archives.members.map(({ name, archive: { directory } }) => {
      const keys = config.archives.find((further) => further.name === name) ?? config.archive;
      // Both filters stood before the file: what was captured, and what of that was stored here.
      const filter = [about.filter, keys.filter ?? ''].filter((text) => text !== '');
      const { sensor, interfaces, gapList } = about;
      return [
        name,
        {
          directory,
          sensor,
          archive: name,
          interfaces,
          filter: filter.length < 2 ? filter.join('') : filter.map((text) => `(${text})`).join(' and '),
          split: keys.split,
          compress: keys.compress,
          gapList,
        },
      ];
    }),
  );
}

/** Beside the archive, not in it: who copies the archive does not copy the key. */
export function custodyKeyOf(config: Pick<KeepConfig, 'custody' | 'output_directories'>): string {
  const { pcap_raw_output_path: first } = config.output_directories;
  return config.custody.key_file ?? `${first.replace(/\/+$/, '')}.custody.key`;
}

function retentionOptions(keys: KeepConfig['retention']): RetentionOptions {
  return {
    ageMsMax: keys.max_age,
    sensorBytesMax: keys.sensor_size,
    totalBytesMax: keys.total_size,
    ...keys.free_space,
    intervalMs: keys.interval,
  };
}
