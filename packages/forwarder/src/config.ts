/**
 * The forwarder's configuration: every key with its unit, range and default. `config/forwarder.yaml` shows them all. Two
 * sections have files of their own: `capture-fields.ts` and `forward-fields.ts`.
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
  always,
  bitRate,
  filePrefix,
  isLoopback,
  log,
  metrics,
  path,
} from '@tapline/shared/config/fields.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { SENSOR_NAME } from '@tapline/shared/tunnel/messages.ts';
import { z } from 'zod';
import { capture } from './capture-fields.ts';
import { forward, tunnelOnlyKeys } from './forward-fields.ts';

/** A host's name may hold what a sensor's may not. */
function defaultSensor(): string {
  const name = hostname()
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^\.+/, '')
    .slice(0, 64);
  return name === '' ? 'sensor' : name;
}

const archive = z
  .strictObject({
    enable: z.boolean().default(true).describe('write true or false'),
    ...archiveFields('ethernet'),
  })
  .prefault({});

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
