/**
 * Fields that more than one configuration has: text in, a checked value out. Each carries a description that says what
 * to write; it becomes the remedy in an error and stands beside the key in `config/*.yaml`.
 */
import { z } from 'zod';
import { parseAddress } from '../packet/ip-address.ts';

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** For `when` of a rule between keys: it is checked also where another key is wrong, so that all mistakes are told at once. */
export const always = ({ value }: { value: unknown }): boolean => typeof value === 'object' && value !== null;

/** A number of bytes between the two limits: `64MiB`, `512KiB`, or plain bytes; never `MB`, which means two things. Output: bytes. */
export function byteSize(minBytes: number, maxBytes: number) {
  const hint = `write a size from ${sizeText(minBytes)} to ${sizeText(maxBytes)}, such as 64MiB`;
  return quantity(
    /^(\d+(?:\.\d+)?) ?([KMGT]iB|B)?$/,
    SIZE_UNITS,
    minBytes,
    maxBytes,
    'not a size in range',
    hint,
  );
}

/** A span of time between the two limits: `50ms`, `1s`, `10m`, `1h`, `7d`. Output: milliseconds. */
export function duration(minMs: number, maxMs: number) {
  const hint = `write a duration from ${durationText(minMs)} to ${durationText(maxMs)}, such as ${durationText(Math.min(Math.max(1000, minMs), maxMs))}`;
  return quantity(
    /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d)$/,
    DURATION_UNITS,
    minMs,
    maxMs,
    'not a duration in range',
    hint,
  );
}

const RATE_UNITS: Readonly<Record<string, number>> = {
  'kbit/s': 1000 / 8,
  'Mbit/s': 1_000_000 / 8,
  'Gbit/s': 1_000_000_000 / 8,
};

/** How fast a link may be used: `512kbit/s`, `2Mbit/s`; 0 closes it. Output: bytes per second. */
export const bitRate = z
  .union([z.string(), z.number()])
  .transform((value, context) => {
    if (value === 0 || value === '0') return 0;
    const match = /^(\d+(?:\.\d+)?) ?([kMG]bit\/s)$/.exec(String(value).trim());
    const bytesPerSecond = Number(match?.[1]) * (RATE_UNITS[match?.[2] ?? ''] ?? NaN);
    if (bytesPerSecond >= 125 && bytesPerSecond <= 12_500_000_000) return bytesPerSecond;
    context.issues.push({ code: 'custom', message: 'not a rate in range', input: value });
    return z.NEVER;
  })
  .describe('write a rate from 1kbit/s to 100Gbit/s, such as 2Mbit/s, or 0 to send nothing');

/** A time of day. Output: minutes since midnight; 24:00 is 1440. */
export const timeOfDay = z
  .string()
  .transform((text, context) => {
    const match = /^([01]\d|2[0-4]):([0-5]\d)$/.exec(text);
    const minutes = Number(match?.[1]) * 60 + Number(match?.[2]);
    if (minutes <= 24 * 60) return minutes;
    context.issues.push({ code: 'custom', message: 'not a time of day', input: text });
    return z.NEVER;
  })
  .describe('write a time of day in quotes, such as "22:00"');

/** One exact IPv4 or IPv6 address. */
export const ipAddress = z
  .string()
  .refine((text) => parseAddress(text) !== null, 'not an IP address')
  .describe('write one IPv4 or IPv6 address, such as 10.0.1.7 or fe80::1; networks (/24) are not taken');

/** A TCP or UDP port; 0 lets the system choose, where that makes sense. */
export function port(min: 0 | 1) {
  return z.number().int().min(min).max(65_535).describe(`write a port from ${min} to 65535`);
}

/** The beginning of a file name. */
export const filePrefix = z
  .string()
  .min(1)
  .max(200)
  .refine((text) => !/[/\0]/.test(text) && !text.startsWith('.'), 'not the beginning of a file name')
  .describe('write the beginning of a file name, such as plc1; no slash, no leading dot');

/** A path; relative ones start at the directory the program was started in, as SecureOT's did. */
export const path = z.string().min(1).max(4096).describe('write a path, such as /var/lib/tapline/pcap');

/** A host name or address. */
export const host = z
  .string()
  .regex(/^[A-Za-z0-9._:-]{1,253}$/, 'not a host name or address')
  .describe('write a host name or an IP address, such as 192.0.2.10');

/** An interface as a multicast socket wants it: its IPv4 address, or for IPv6 `::%` and its name. */
export const interfaceAddress = z
  .string()
  .refine((text) => /^::%[^\s%]{1,15}$/.test(text) || parseAddress(text) !== null, 'not an interface')
  .describe(
    "write the interface's IPv4 address, such as 192.0.2.10, or for IPv6 ::% and its name, such as ::%eth1",
  );

/** Where the metrics are served: loopback only. A probe opens no door. */
export const loopbackListen = z
  .string()
  .transform((text, context) => {
    const match = /^(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\]):(\d{1,5})$/.exec(text);
    const number = Number(match?.[2]);
    if (match === null || number > 65_535) {
      context.issues.push({ code: 'custom', message: 'not a loopback address with a port', input: text });
      return z.NEVER;
    }
    return { host: (match[1] as string).replace(/[[\]]/g, ''), port: number };
  })
  .describe(
    'write a loopback address and a port, such as 127.0.0.1:9617; other addresses would open a door into the plant',
  );

/** Where the files of TLS lie: all in one bundle, or each by itself. */
export const tlsPaths = {
  bundle: path.optional(),
  ca: path.optional(),
  certificate: path.optional(),
  key: path.optional(),
};

/** Every file must come from somewhere. */
export function lacksTlsFile({ bundle, ca, certificate, key }: TlsPathFields): boolean {
  return bundle === undefined && [ca, certificate, key].includes(undefined);
}

type TlsPathFields = { readonly [key in keyof typeof tlsPaths]?: string | undefined };

/** Without encryption, in so many words. */
export const allowPlaintext = z
  .boolean()
  .default(false)
  .describe('write true to do without encryption and authentication outside this machine');

/** An address, or a name, that does not leave this machine. */
export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address);
}

/** The part of every configuration that decides how much is logged. */
export const log = z
  .strictObject({
    level: z
      .enum(['debug', 'info', 'warn', 'error'])
      .default('info')
      .describe('write debug, info, warn or error'),
  })
  .prefault({});

/** The part of every configuration that serves the counters. */
export const metrics = z.strictObject({ listen: loopbackListen }).optional();

function quantity(
  pattern: RegExp,
  units: Readonly<Record<string, number>>,
  min: number,
  max: number,
  message: string,
  hint: string,
) {
  return z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      const match = pattern.exec(String(value).trim());
      const amount = match === null ? NaN : Number(match[1]) * (units[match[2] ?? ''] ?? NaN);
      if (!(amount >= min && amount <= max)) {
        context.issues.push({ code: 'custom', message, input: value });
        return z.NEVER;
      }
      return Math.round(amount);
    })
    .describe(hint);
}

function sizeText(bytes: number): string {
  for (const [unit, factor] of Object.entries(SIZE_UNITS).reverse()) {
    if (unit !== '' && bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}

function durationText(milliseconds: number): string {
  for (const [unit, factor] of Object.entries(DURATION_UNITS).reverse()) {
    if (milliseconds >= factor && milliseconds % factor === 0) return `${milliseconds / factor}${unit}`;
  }
  return `${milliseconds}ms`;
}
