/**
 * The collector's configuration: every key with its unit, range and default. `config/collector.yaml` shows them all.
 *
 * `port`, `protocol` and the routing keys are the SecureOT collector's, and its `config.yaml` is valid here as it is.
 * That program listened on every address. So does this one for a file that holds nothing but SecureOT's keys, with a
 * warning at every start; any other file listens on loopback until `bind` says otherwise.
 */
import {
  allowPlaintext,
  always,
  bitRate,
  byteSize,
  duration,
  filePrefix,
  interfaceAddress,
  ipAddress,
  isLoopback,
  lacksTlsFile,
  log,
  metrics,
  path,
  port,
  tlsPaths,
} from '@tapline/shared/config/fields.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import {
  archiveFields,
  furtherArchives,
  routingRules,
  wholeNumber,
} from '@tapline/shared/config/archive-fields.ts';
import { custody, objectStore, onClose, retention, verifyKeep } from '@tapline/shared/config/keep-fields.ts';
import { pcapOverIp } from '@tapline/shared/config/feed-fields.ts';
import { verifyArchives } from '@tapline/shared/config/archive-set-of.ts';
import { SENSOR_NAME } from '@tapline/shared/tunnel/messages.ts';
import { z } from 'zod';

const MIB = 2 ** 20;
/** Small packets of many sources take more room in buffers than on the wire. */
const BUFFER_PER_UNCOMMITTED = 4;
const LACKS_ROOM =
  'is too small for limits.uncommitted_size: while a disk refuses, accepted packets must find room in it';
const SECUREOT_KEYS = new Set([
  'port',
  'protocol',
  'routing_rules',
  'default_output_prefix',
  'output_directories',
]);

const archive = z.strictObject(archiveFields('raw')).prefault({});

const limits = z
  .strictObject({
    sensors_max: wholeNumber(1, 100_000).default(4096),
    connections_max: wholeNumber(1, 100_000).default(2000),
    connections_per_address: wholeNumber(1, 100_000).default(256),
    sensor_rate: bitRate.optional(),
    sensor_disk: byteSize(16 * MIB, 2 ** 30 * MIB).optional(),
    uncommitted_total: byteSize(16 * MIB, 65_536 * MIB).default(512 * MIB),
    hello_timeout: duration(100, 600_000).default(10_000),
    idle_timeout: duration(1000, 86_400_000).default(60_000),
    commit_interval: duration(10, 60_000).default(200),
    uncommitted_size: byteSize(MIB, 1024 * MIB).default(16 * MIB),
  })
  .prefault({});

/** Of the one-way tunnel. */
const udp = z
  .strictObject({
    keys: z
      .array(
        z.strictObject({
          id: z.number().int().min(1).max(65_535).describe('write a number from 1 to 65535'),
          sensor: z.string().regex(SENSOR_NAME, 'not a sensor name').describe('write the name of one sensor'),
          key_file: path.describe('write the path of a file with 64 hexadecimal digits'),
        }),
      )
      .max(65_535)
      .refine((keys) => new Set(keys.map(({ id }) => id)).size === keys.length, 'two keys have the same id')
      .default([])
      .describe('write a list of {id, sensor, key_file}'),
    allow_unauthenticated: z.boolean().optional().describe('write true or false'),
    reorder_window: duration(10, 60_000).default(500),
    buffer_size: byteSize(4 * MIB, 4096 * MIB).default(64 * MIB),
    multicast: z.strictObject({ group: ipAddress, interface: interfaceAddress.optional() }).optional(),
  })
  .prefault({});

/** IANA's and MikroTik's ports. */
const MIRROR_PORTS = { vxlan: 4789, geneve: 6081, tzsp: 37_008, gre: 0, erspan: 0 } as const;

const mirror = z
  .strictObject({
    protocol: z
      .enum(['vxlan', 'geneve', 'tzsp', 'gre', 'erspan'])
      .describe('write vxlan, geneve, tzsp, gre or erspan'),
    bind: ipAddress,
    port: port(0).optional(),
    names: z
      .array(
        z.strictObject({
          source: ipAddress,
          id: z.number().int().min(0).max(0xffff_ffff).default(0).describe('write the VNI, session or key'),
          sensor: z.string().regex(SENSOR_NAME, 'not a sensor name').describe('write a sensor’s name'),
        }),
      )
      .max(1000)
      .default([]),
  })
  .refine(({ protocol, port: number }) => number === undefined || MIRROR_PORTS[protocol] !== 0, {
    path: ['port'],
    error: 'does not go with gre and erspan: they have none',
    when: always,
  })
  .transform(({ port: number, ...rest }) => ({ ...rest, port: number ?? MIRROR_PORTS[rest.protocol] }));

export const collectorSchema = z
  .strictObject({
    bind: z
      .string()
      .min(1)
      .max(253)
      .optional()
      .describe('write the address to listen on, such as 0.0.0.0 or 192.0.2.10'),
    port: port(0),
    protocol: z
      .string()
      .toLowerCase()
      .pipe(z.enum(['tcp', 'udp']))
      .describe('write tcp (tunnel and plain TCP) or udp (one-way tunnel and one datagram per frame)'),
    tls: z
      .strictObject({ ...tlsPaths, crl: path.optional() })
      .refine((tls) => !lacksTlsFile(tls), {
        path: ['bundle'],
        error: 'is missing, and so is one of ca, certificate and key',
      })
      .optional(),
    allow_plaintext: allowPlaintext,
    plain: z
      .strictObject({
        enable: z.boolean().default(true).describe('write true or false'),
        payload: z.enum(['auto', 'ethernet', 'ip']).default('auto').describe('write auto, ethernet or ip'),
        tcp: z.enum(['auto', 'packet', 'stream']).default('auto').describe('write auto, packet or stream'),
      })
      .prefault({}),
    udp,
    mirrors: z.array(mirror).max(16).default([]),
    routing_rules: routingRules,
    default_output_prefix: filePrefix.optional(),
    output_directories: z
      .strictObject({ pcap_raw_output_path: path })
      .prefault({ pcap_raw_output_path: '/var/lib/tapline-collector/pcap' }),
    archive,
    archives: furtherArchives('raw'),
    retention,
    on_close: onClose,
    custody,
    object_store: objectStore.optional(),
    pcap_over_ip: pcapOverIp('raw'),
    limits,
    metrics,
    log,
  })
  .refine(({ archive: first, limits: limit }) => hasRoomForAccepted(first, limit), {
    path: ['archive', 'buffer_size'],
    error: LACKS_ROOM,
    when: always,
  });

/** Checked also while other keys are wrong, and then on values that are not what their types say. */
function hasRoomForAccepted(store: unknown, limit: unknown): boolean {
  const { buffer_size: buffer } = (store ?? {}) as Record<string, unknown>;
  const { uncommitted_size: uncommitted } = (limit ?? {}) as Record<string, unknown>;
  if (typeof buffer !== 'number' || typeof uncommitted !== 'number') return true;
  return buffer >= BUFFER_PER_UNCOMMITTED * uncommitted;
}

export type CollectorConfig = z.infer<typeof collectorSchema>;

/**
 * Where to listen: `bind`, else loopback; for a file of SecureOT's every address, as that program did. `keys` are the
 * top-level keys as written.
 */
export function bindAddress(
  config: CollectorConfig,
  keys: readonly string[],
): { address: string; isLegacy: boolean } {
  if (config.bind !== undefined) return { address: config.bind, isLegacy: false };
  const isLegacy = keys.every((key) => SECUREOT_KEYS.has(key));
  return { address: isLegacy ? '0.0.0.0' : '127.0.0.1', isLegacy };
}

/** Throws CONFIG_INVALID where plaintext would be taken from other machines and nobody has said that it may. */
export function verifyCollector(loaded: LoadedConfig<CollectorConfig>): void {
  verifyArchives(loaded);
  verifyKeep(loaded);
  const lacking = loaded.value.archives.findIndex((keys) => !hasRoomForAccepted(keys, loaded.value.limits));
  if (lacking >= 0)
    throw loaded.problem(['archives', lacking, 'buffer_size'], LACKS_ROOM, 'write four times that, or more');
  const { value, keys } = loaded;
  const { address, isLegacy } = bindAddress(value, keys);
  if (isLoopback(address) || isLegacy || value.allow_plaintext) return;
  const isSealed =
    value.protocol === 'tcp' ? value.tls !== undefined : !value.plain.enable && isKeyRequired(value, address);
  if (isSealed) return;
  throw loaded.problem(
    ['bind'],
    'is open to other machines, and nothing tells sensors from strangers there',
    value.protocol === 'tcp'
      ? 'make certificates with `tapline-collector pki` (docs/deploy.md) and name them in tls, or write allow_plaintext: true'
      : 'name the keys of the sensors in udp.keys and write plain: {enable: false}, or write allow_plaintext: true',
  );
}

/** Whether datagrams without a seal are refused: unless the file says otherwise, everywhere but on loopback. */
export function isKeyRequired(config: CollectorConfig, address: string): boolean {
  const { allow_unauthenticated: allowed } = config.udp;
  return allowed === undefined ? !isLoopback(address) : !allowed;
}
