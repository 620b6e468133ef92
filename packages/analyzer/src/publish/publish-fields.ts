/** The section `alerts` of the analyzer's configuration: where alerts are kept, and who is told. */
import { wholeNumber } from '@tapline/shared/config/archive-fields.ts';
import { allowPlaintext, duration, host, isLoopback, path, port } from '@tapline/shared/config/fields.ts';
import { z } from 'zod';
import { SEVERITIES } from '../alert/finding.ts';
import { FACILITIES } from './cef.ts';

const DAY_MS = 86_400_000;
export const STORE_DEFAULT = '/var/lib/tapline-analyzer/alerts.db';

const severity = z
  .enum(SEVERITIES)
  .default('info')
  .describe(`write the least severity that is told: ${SEVERITIES.join(', ')}`);

/** `host:port`, `[::1]:port`. */
const endpoint = z
  .string()
  .transform((text, context) => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]{1,253})):(\d{1,5})$/.exec(text);
    const number = Number(match?.[3]);
    if (match === null || number > 65_535) {
      context.issues.push({ code: 'custom', message: 'not an address with a port', input: text });
      return z.NEVER;
    }
    return { host: (match[1] ?? match[2]) as string, port: number };
  })
  .describe('write an address and a port, such as 127.0.0.1:9620');

const url = z
  .string()
  .max(2048)
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), 'not a URL')
  .describe('write a URL that begins with https://');

const PLAINTEXT = 'so anybody on the way reads along and may add to it (or write allow_plaintext: true)';
const isObject = ({ value }: { value: unknown }): boolean => typeof value === 'object' && value !== null;
/** Rules that look at several keys run beside those of each key, and so meet what is no endpoint or URL: that is told already. */
const isAtHome = (where: { readonly host?: unknown } | undefined): boolean => typeof where?.host !== 'string' || isLoopback(where.host); // prettier-ignore
/** Certificate and key of one's own, and whom to trust then. */
const isWholePair = (tls: { ca?: unknown; certificate?: unknown; key?: unknown }): boolean =>
  (tls.certificate === undefined) === (tls.key === undefined) &&
  (tls.key === undefined || tls.ca !== undefined);

const syslog = z
  .strictObject({
    host,
    port: port(1).default(6514),
    transport: z.enum(['tls', 'tcp']).default('tls').describe('write tls or tcp'),
    facility: z
      .enum(FACILITIES)
      .default('local0')
      .describe(`write ${FACILITIES.join(', ')}`),
    ca: path.optional(),
    certificate: path.optional(),
    key: path.optional(),
    server_name: host.optional(),
    severity,
    allow_plaintext: allowPlaintext,
  })
  .refine(isWholePair, {
    path: ['certificate'],
    error: 'and key go together, and need ca',
    when: isObject,
  })
  .refine((keys) => keys.transport === 'tls' || keys.allow_plaintext || isLoopback(keys.host), {
    path: ['transport'],
    error: `is tcp, and the address is not of this machine, ${PLAINTEXT}`,
    when: isObject,
  });

const webhook = z
  .strictObject({
    url,
    token_file: path.optional(),
    ca: path.optional(),
    certificate: path.optional(),
    key: path.optional(),
    timeout: duration(100, 120_000).default(10_000),
    batch: wholeNumber(1, 1000).default(100),
    attempts: wholeNumber(1, 1000).default(8),
    severity,
    allow_plaintext: allowPlaintext,
  })
  .refine(isWholePair, {
    path: ['certificate'],
    error: 'and key go together, and need ca',
    when: isObject,
  })
  .refine(
    (keys) => {
      if (keys.allow_plaintext || typeof keys.url !== 'string' || !URL.canParse(keys.url)) return true;
      const { protocol, hostname } = new URL(keys.url);
      return protocol !== 'http:' || isLoopback(hostname.replace(/^\[|\]$/g, ''));
    },
    { path: ['url'], error: `is not https, ${PLAINTEXT}`, when: isObject },
  );

const bus = z
  .strictObject({
    listen: endpoint,
    replay: endpoint.optional(),
    curve: z.strictObject({ key: path, clients: path }).optional(),
    severity,
    allow_plaintext: allowPlaintext,
  })
  .refine(
    ({ listen, replay, curve, allow_plaintext }) =>
      curve !== undefined || allow_plaintext || [listen, replay].every(isAtHome),
    {
      path: ['curve'],
      error: `is missing, and the address is not of this machine, ${PLAINTEXT}`,
      when: isObject,
    },
  );

/** The key `alerts`. */
export const alertFields = z
  .strictObject({
    store: z
      .strictObject({
        path: path.default(STORE_DEFAULT),
        retention: duration(3_600_000, 3650 * DAY_MS).default(365 * DAY_MS),
        rows_max: wholeNumber(1000, 100_000_000).default(1_000_000),
      })
      .prefault({}),
    eve: z.strictObject({ path, stats: z.boolean().default(true).describe('write true or false'), severity }).optional(), // prettier-ignore
    zeek: z.strictObject({ path, severity }).optional(),
    syslog: syslog.optional(),
    webhook: webhook.optional(),
    stdout: z.strictObject({ format: z.enum(['json', 'text']).default('json').describe('write json or text'), severity }).optional(), // prettier-ignore
    bus: bus.optional(),
    heartbeat: z
      .strictObject({
        interval: duration(1000, 3_600_000).default(30_000),
        expect: z
          .array(z.string().min(1).max(64))
          .max(10_000)
          .default([])
          .describe('write a list of sensors and agents that must be heard'),
      })
      .prefault({}),
  })
  .prefault({});

export type AlertKeys = z.infer<typeof alertFields>;
