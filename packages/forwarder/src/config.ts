/**
 * The forwarder's configuration: every key with its unit, range and default. `config/forwarder.yaml` shows them all.
 *
 * Names come from the SecureOT agent where it had one, and its `config.yaml` files are valid here as they are; its
 * `protocol: udp` meant one datagram per frame, which is called `udp-plain` here.
 */
import { hostname } from 'node:os';
import { archiveFields, furtherArchives, routingRules } from '@tapline/shared/config/archive-fields.ts';
import { custody, onClose, retention, verifyKeep } from '@tapline/shared/config/keep-fields.ts';
import { pcapOverIp } from '@tapline/shared/config/feed-fields.ts';
import { verifyArchives } from '@tapline/shared/config/archive-set-of.ts';
import {
  allowPlaintext,
  bitRate,
  byteSize,
  duration,
  filePrefix,
  host,
  interfaceAddress,
  isLoopback,
  lacksTlsFile,
  log,
  metrics,
  path,
  port,
  timeOfDay,
  tlsPaths,
} from '@tapline/shared/config/fields.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { SENSOR_NAME } from '@tapline/shared/tunnel/messages.ts';
import { z } from 'zod';
import { IGNORABLE } from './dedupe/packet-digest.ts';

const MIB = 2 ** 20;
/** IFNAMSIZ - 1. */
const interfaceName = z.string().min(1).max(15);

/** A host's name may hold what a sensor's may not. */
function defaultSensor(): string {
  const name = hostname()
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^\.+/, '')
    .slice(0, 64);
  return name === '' ? 'sensor' : name;
}

/** Rules between keys are checked also where another key is wrong: all mistakes at once. */
const always = ({ value }: { value: unknown }): boolean => typeof value === 'object' && value !== null;

/** Longest frame to keep, or to send. */
const snaplen = z
  .number()
  .int()
  .min(64)
  .max(PACKET_BYTES_MAX)
  .default(PACKET_BYTES_MAX)
  .describe(`write a number of bytes from 64 to ${PACKET_BYTES_MAX}`);

const capture = z
  .strictObject({
    driver: z
      .enum(['afpacket', 'cap', 'file', 'stdin'])
      .default('afpacket')
      .describe('write afpacket, cap, file or stdin'),
    interface: z
      .union([interfaceName, z.array(interfaceName).min(1).max(16)])
      .optional()
      .describe(
        'write the name of an interface, such as eth1, or a list of up to 16 (`ip -br link` lists them)',
      ),
    interfaces: z
      .array(interfaceName)
      .min(1)
      .max(16)
      .optional()
      .describe('write a list of up to 16 names, such as [eth1, eth2]; it is another spelling of interface'),
    bpf_filter: z
      .string()
      .max(65_536)
      .nullish()
      .describe('write a filter in libpcap’s language, such as tcp port 502'),
    snaplen,
    promiscuous: z.boolean().default(true).describe('write true or false'),
    ring_size: byteSize(MIB, 4096 * MIB).default(64 * MIB),
    files: z.array(path).min(1).max(10_000).optional().describe('write a list of capture files'),
    speed: z
      .union([z.enum(['max', 'recorded']), z.number().positive().max(1_000_000)])
      .default('max')
      .describe('write max, recorded, or a factor such as 10'),
  })
  .refine(
    ({ driver, interface: name, interfaces }) =>
      (driver !== 'afpacket' && driver !== 'cap') || name !== undefined || interfaces !== undefined,
    {
      path: ['interface'],
      error: 'is missing',
      when: always,
    },
  )
  .refine(({ interface: name, interfaces }) => name === undefined || interfaces === undefined, {
    path: ['interfaces'],
    error: 'says the same as interface, which is there too: keep one of them',
    when: always,
  })
  .refine(({ driver, files }) => driver !== 'file' || files !== undefined, {
    path: ['files'],
    error: 'is missing: driver is file',
    when: always,
  })
  .refine(({ driver, files }) => driver === 'file' || files === undefined, {
    path: ['files'],
    error: 'goes with driver: file, and driver is another',
    when: always,
  })
  .transform(({ interfaces, ...rest }) =>
    interfaces === undefined ? rest : { ...rest, interface: interfaces },
  );

const archive = z
  .strictObject({
    enable: z.boolean().default(true).describe('write true or false'),
    ...archiveFields('ethernet'),
  })
  .prefault({});

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
    when: ({ value }) => typeof value === 'object' && value !== null,
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

const forward = z.strictObject({
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

export const forwarderSchema = z
  .strictObject({
    sensor: z
      .string()
      .regex(SENSOR_NAME, 'not a sensor name')
      .default(defaultSensor)
      .describe(
        'write a name of 1 to 64 letters, digits, dots, dashes and underscores, such as plant-a-cell-3',
      ),
    capture,
    routing_rules: routingRules,
    default_output_prefix: filePrefix.optional(),
    output_directories: z
      .strictObject({ pcap_raw_output_path: path })
      .prefault({ pcap_raw_output_path: '/var/lib/tapline-forwarder/pcap' }),
    archive,
    archives: furtherArchives('ethernet'),
    retention,
    on_close: onClose,
    custody,
    pcap_over_ip: pcapOverIp('ethernet'),
    edge: z
      .strictObject({
        enable: z.boolean().default(false).describe('write true or false'),
        max_rate: bitRate.default(250_000),
      })
      .prefault({}),
    forward: forward.optional(),
    metrics,
    log,
  })
  .refine(({ forward: send }) => send?.protocol !== 'udp-tunnel' || send.udp !== undefined, {
    path: ['forward', 'udp'],
    error: 'is missing: protocol is udp-tunnel',
  })
  .refine(isEdgeStored, {
    path: ['edge', 'enable'],
    error: 'needs the archive, which is not enabled',
    when: always,
  })
  .refine(isGoingSomewhere, {
    path: ['archive', 'enable'],
    error: 'nothing is stored and nothing forwarded: packets would go nowhere',
    when: always,
  })
  .superRefine((config, context) => {
    for (const key of tunnelOnlyKeys(config))
      context.addIssue({
        code: 'custom',
        path: ['forward', key],
        message: 'goes with protocol: tcp, the tunnel; the other protocols know nothing of it',
      });
  });

/** Keys that another protocol would silently ignore. */
function tunnelOnlyKeys({
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

/** Checked also while other keys are wrong, and then on values that are not what their types say. */
function isGoingSomewhere(config: { archive?: unknown; archives?: unknown; forward?: unknown }): boolean {
  const { archive: store, forward: send } = config as Partial<Record<string, { enable?: unknown } | null>>;
  const hasFurther = Array.isArray(config.archives) && config.archives.length > 0;
  return store?.enable !== false || send?.enable === true || hasFurther;
}

/** The same: there is no edge without an archive. */
function isEdgeStored(config: { edge?: unknown; archive?: unknown }): boolean {
  const { edge, archive: store } = config as Partial<Record<string, { enable?: unknown } | null>>;
  return edge?.enable !== true || store?.enable !== false;
}

export type ForwarderConfig = z.infer<typeof forwarderSchema>;

/** What SecureOT's configurations know; of anything else the file is Tapline's. */
const SECUREOT_KEYS: ReadonlySet<string> = new Set([
  'capture.interface',
  'capture.bpf_filter',
  'routing_rules.ip',
  'routing_rules.output_prefix',
  'default_output_prefix',
  'output_directories.pcap_raw_output_path',
  'forward.enable',
  'forward.host',
  'forward.port',
  'forward.protocol',
]);

/** Whether packets leave this machine without encryption; `isLegacy`: because a file of SecureOT's knows none. */
export function plaintextOf({ value: { forward }, leaves }: LoadedConfig<ForwarderConfig>): {
  readonly isPlaintext: boolean;
  readonly isLegacy: boolean;
} {
  const isSealed =
    forward?.protocol === 'udp-tunnel' ? forward.udp?.cipher !== 'none' : forward?.tls !== undefined;
  const isNeeded = forward?.enable === true && !isSealed;
  const isRemote = [forward, ...(forward?.failover ?? [])].some(
    (to) => to !== undefined && !isLoopback(to.host),
  );
  return { isPlaintext: isNeeded && isRemote, isLegacy: leaves.every((leaf) => SECUREOT_KEYS.has(leaf)) };
}

/** A probe opens no door into the plant, and hands its packets to nobody else. */
function verifyFeeds(loaded: LoadedConfig<ForwarderConfig>): void {
  const { value } = loaded;
  for (const [index, { listen, connect, from }] of value.pcap_over_ip.entries()) {
    const [key, where] =
      listen === undefined ? (['connect', connect] as const) : (['listen', listen] as const);
    if (where !== undefined && !isLoopback(where.host))
      throw loaded.problem(
        ['pcap_over_ip', index, key],
        'is not an address of this machine: a probe opens no door into the plant',
        'write a loopback address, such as 127.0.0.1:57012',
      );
    if (from !== undefined && !value.archive.enable)
      throw loaded.problem(['pcap_over_ip', index, 'from'], 'needs the archive, which is not enabled', 'take it out, or write archive: {enable: true}'); // prettier-ignore
  }
}

/** Throws CONFIG_INVALID where plaintext would leave this machine and nobody has said that it may. */
export function verifyForwarder(loaded: LoadedConfig<ForwarderConfig>): void {
  verifyArchives(loaded);
  verifyKeep(loaded);
  verifyFeeds(loaded);
  const { isPlaintext, isLegacy } = plaintextOf(loaded);
  const { forward } = loaded.value;
  // `cipher: none` is as many words as `allow_plaintext: true`.
  const isMeant = forward?.allow_plaintext === true || forward?.protocol === 'udp-tunnel';
  if (!isPlaintext || isLegacy || isMeant) return;
  throw loaded.problem(
    ['forward', 'host'],
    'is another machine, and nothing protects what is sent there',
    'enroll this probe (docs/deploy.md) and name its bundle in forward.tls, or write allow_plaintext: true',
  );
}
