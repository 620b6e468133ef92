/**
 * The baseline: who is here, who talks to whom, with which operations, values and rhythm. Frozen from an inventory by `tapline-analyzer learn`, kept as
 * JSON that people can read and correct, and compared with from then on.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { z } from 'zod';
import type { Inventory, Pair } from './inventory.ts';
import { isGroupAddress, type NetworkList } from './networks.ts';
import { guessRole } from './roles.ts';

const BYTES_MAX = 256 * 1024 * 1024;

const operationSchema = z.strictObject({
  name: z.string(),
  action: z.string(),
  object: z.string(),
  unit: z.number(),
  count: z.number(),
  /** Range of the values; both null without any. */
  min: z.number().nullable(),
  max: z.number().nullable(),
  /** Mean and deviation of the time between two requests, µs; 0 with fewer than two gaps. */
  cycle_us: z.number(),
  cycle_deviation_us: z.number(),
});
const pairSchema = z.strictObject({
  client: z.string(),
  server: z.string(),
  service: z.string(),
  port: z.number(),
  flows: z.number(),
  operations: z.array(operationSchema),
});
const hostSchema = z.strictObject({
  address: z.string(),
  macs: z.array(z.string()),
  role: z.string(),
  level: z.number(),
  /** The longest that it was silent, µs; 0 for a host that was heard once. */
  silence_us: z.number(),
  packets: z.number(),
});
const sensorSchema = z.strictObject({ hosts: z.array(hostSchema), pairs: z.array(pairSchema) });
const baselineSchema = z.strictObject({
  baseline: z.literal(1),
  from: z.string(),
  to: z.string(),
  packets: z.number(),
  sensors: z.record(z.string(), sensorSchema),
});

export type Baseline = z.infer<typeof baselineSchema>;
export type SensorBaseline = z.infer<typeof sensorSchema>;
export type BaselineOperation = z.infer<typeof operationSchema>;

/** What one sensor's inventory says, frozen. Pairs that nobody answered are attempts, not habits, and are left out. */
export function freeze(inventory: Inventory, internal: NetworkList): SensorBaseline {
  const { hosts, pairs } = inventory.state;
  return {
    hosts: [...hosts.values()]
      .filter((host) => !isGroupAddress(host.address) && host.packets > 0)
      .map((host) => ({
        address: host.address,
        macs: [...host.macs],
        ...guessRole(host, internal),
        silence_us: host.silenceUsMax,
        packets: host.packets,
      })),
    pairs: [...pairs.values()].filter((pair) => pair.answered > 0 || isGroupAddress(pair.server) || pair.operations.size > 0).map(frozenPair), // prettier-ignore
  };
}

function frozenPair(pair: Pair): SensorBaseline['pairs'][number] {
  return {
    client: pair.client,
    server: pair.server,
    service: pair.service,
    port: pair.port,
    flows: pair.flows,
    operations: [...pair.operations.values()].map((stat) => {
      const mean = stat.gaps > 1 ? stat.gapSum / stat.gaps : 0;
      return {
        name: stat.name,
        action: stat.action,
        object: stat.object,
        unit: stat.unit,
        count: stat.count,
        min: Number.isFinite(stat.min) ? stat.min : null,
        max: Number.isFinite(stat.max) ? stat.max : null,
        cycle_us: mean,
        cycle_deviation_us:
          stat.gaps > 1 ? Math.sqrt(Math.max(0, stat.gapSquares / stat.gaps - mean * mean)) : 0,
      };
    }),
  };
}

/** Throws CONFIG_INVALID. */
export function readBaseline(path: string): Baseline {
  try {
    const bytes = readFileSync(path);
    if (bytes.byteLength > BYTES_MAX) throw new Error(`larger than ${BYTES_MAX} bytes`);
    return baselineSchema.parse(JSON.parse(bytes.toString()));
  } catch (error) {
    throw new OperatingError('CONFIG_INVALID', `${path} is no baseline: ${messageOf(error)}; learn it with tapline-analyzer learn`, { file: path }, error); // prettier-ignore
  }
}

/** Throws ARCHIVE_FAILED. */
export function writeBaseline(path: string, baseline: Baseline): void {
  try {
    writeFileSync(path, `${JSON.stringify(baseline, null, 1)}\n`);
  } catch (error) {
    throw new OperatingError('ARCHIVE_FAILED', `cannot write ${path}: ${messageOf(error)}`, { file: path }, error); // prettier-ignore
  }
}
