/** What the `forward` section of a configuration says: to whom packets go, by which protocol, which of them, and where they wait. */
import {
  allowPlaintext,
  always,
  bitRate,
  byteSize,
  duration,
  host,
  interfaceAddress,
  lacksTlsFile,
  path,
  port,
  timeOfDay,
  tlsPaths,
} from '@tapline/shared/config/fields.ts';
import { z } from 'zod';
import { snaplen } from './capture-fields.ts';
import { IGNORABLE } from './dedupe/packet-digest.ts';

const MIB = 2 ** 20;

/** Of `protocol: udp-tunnel`. */
const udp = z
  .strictObject({
    mtu: z
      .number()
      .int()
      .min(576)
      .max(9216)
      .default(1500)
      .describe('write the bytes that an IP packet may have on the narrowest hop, such as 1500'),
    data: z.number().int().min(1).max(128).default(10).describe('write a number from 1 to 128'),
    parity: z.number().int().min(0).max(64).default(2).describe('write a number from 0 to 64'),
    interleave: z.number().int().min(1).max(64).default(4).describe('write a number from 1 to 64'),
    cipher: z
      .enum(['aes-256-gcm', 'chacha20-poly1305', 'none'])
      .default('aes-256-gcm')
      .describe('write aes-256-gcm, chacha20-poly1305 or none'),
    key_id: z.number().int().min(1).max(65_535).optional().describe('write a number from 1 to 65535'),
    key_file: path.optional().describe('write the path of a file with 64 hexadecimal digits'),
    ttl: z.number().int().min(1).max(255).optional().describe('write a number from 1 to 255'),
    multicast_interface: interfaceAddress.optional(),
  })
  .refine(({ cipher, key_file }) => cipher === 'none' || key_file !== undefined, {
    path: ['key_file'],
    error: 'is missing; to send without encryption, write cipher: none',
    when: always,
  })
  .refine(({ cipher, key_id }) => cipher === 'none' || key_id !== undefined, {
    path: ['key_id'],
    error: 'is missing: the collector must know which of its keys this is',
    when: always,
  })
  .refine(({ data, parity }) => data + parity <= 160, {
    path: ['parity'],
    error: 'is too much: data and parity together are at most 160',
    when: always,
  });

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
const CLASSES_MAX = 8;

const expression = z
  .string()
  .max(65_536)
  .describe('write a filter in libpcap’s language, such as tcp port 502');

const spool = z.strictObject({
  path,
  max_bytes: byteSize(64 * MIB, 2 ** 24 * MIB).default(4096 * MIB),
  mode: z.enum(['overflow', 'always']).default('always').describe('write overflow or always'),
  on_full: z.enum(['drop-oldest', 'stop']).default('drop-oldest').describe('write drop-oldest or stop'),
});

const schedule = z
  .array(
    z.strictObject({
      from: timeOfDay,
      to: timeOfDay,
      days: z
        .array(z.enum(DAYS).describe(`write days as ${DAYS.join(', ')}`))
        .min(1)
        .transform((days) => days.map((day) => DAYS.indexOf(day)))
        .optional(),
      max_rate: bitRate,
    }),
  )
  .max(64)
  .default([]);

export const forward = z.strictObject({
  enable: z.boolean().describe('write true or false'),
  host,
  port: port(1),
  failover: z
    .array(z.strictObject({ host, port: port(1) }))
    .max(16)
    .default([]),
  return_after: duration(1000, 86_400_000).default(60_000),
  protocol: z
    .string()
    .toLowerCase()
    .pipe(z.enum(['tcp', 'udp', 'udp-tunnel', 'udp-plain', 'tcp-plain']))
    .transform((name) => (name === 'udp' ? 'udp-plain' : name))
    .describe(
      'write tcp (the tunnel), udp-tunnel (one way, with parity), udp-plain (one datagram per frame; udp for short) or tcp-plain (one connection per frame)',
    ),
  tls: z
    .strictObject({ ...tlsPaths, server_name: host.optional() })
    .refine((tls) => !lacksTlsFile(tls), {
      path: ['bundle'],
      error: 'is missing, and so is one of ca, certificate and key',
    })
    .optional(),
  allow_plaintext: allowPlaintext,
  compression: z.enum(['zstd', 'lz4', 'none']).default('zstd').describe('write zstd, lz4 or none'),
  filter: expression.nullish(),
  dedupe: z
    .strictObject({
      window: duration(1, 10_000).default(10),
      ignore: z.array(z.enum(IGNORABLE).describe(`write ${IGNORABLE.join(', ')}`)).default([]),
    })
    .optional(),
  snaplen,
  priority: z.array(expression).max(CLASSES_MAX).default([]),
  max_rate: bitRate.optional(),
  schedule,
  queue_size: byteSize(4 * MIB, 65_536 * MIB).default(64 * MIB),
  spool: spool.optional(),
  order: z
    .enum(['oldest-first', 'live-first'])
    .default('oldest-first')
    .describe('write oldest-first or live-first'),
  drain_timeout: duration(0, 3_600_000).default(20_000),
  udp: udp.optional(),
});

/** Keys that another protocol would silently ignore. */
export function tunnelOnlyKeys({
  forward: send,
}: {
  readonly forward?: z.infer<typeof forward> | undefined;
}): string[] {
  if (send === undefined || send.protocol === 'tcp') return [];
  const isSet = {
    failover: send.failover.length > 0,
    spool: send.spool !== undefined,
    priority: send.priority.length > 0,
    ...(send.protocol === 'udp-tunnel'
      ? {}
      : { max_rate: send.max_rate !== undefined, schedule: send.schedule.length > 0 }),
    tls: send.tls !== undefined,
  };
  return Object.entries(isSet).flatMap(([key, set]) => (set ? [key] : []));
}
