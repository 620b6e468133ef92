/**
 * The baseline: who is here, who talks to whom, with which operations, values and rhythm. Frozen from an inventory by `tapline-analyzer learn`, kept as
 * JSON that people can read and correct, and compared with from then on.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { z } from 'zod';
import { PROTO_TCP } from '../packet/packet-view.ts';
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

/**
 * What one sensor's inventory says, frozen. Connections that nobody answered are attempts, not habits, and are left out; a syslog sender or a trap is answered by nobody
 * and is one.
 */
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
    pairs: [...pairs]
      .filter(
        ([key, pair]) => !key.includes(` ${PROTO_TCP} `) || pair.answered > 0 || pair.operations.size > 0,
      )
      .map(([, pair]) => frozenPair(pair)),
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
    const parsed = baselineSchema.safeParse(JSON.parse(bytes.toString()));
    if (!parsed.success) throw new Error(firstProblem(parsed.error));
    return parsed.data;
  } catch (error) {
    throw new OperatingError('CONFIG_INVALID', `${path} is no baseline: ${messageOf(error)}; learn it with tapline-analyzer learn`, { file: path }, error); // prettier-ignore
  }
}

/** People correct baselines by hand: where the first mistake is says more than all of them. */
function firstProblem({ issues }: z.ZodError): string {
  const [first] = issues;
  const place =
    first === undefined || first.path.length === 0 ? 'the file' : first.path.map(String).join('.');
  return `${place}: ${first?.message ?? 'not understood'}`;
}

/** What is normal for that sensor, whatever it is called; undefined when nothing was learnt of it. */
export function baselineOf(baseline: Baseline | undefined, sensor: string): SensorBaseline | undefined {
  return baseline !== undefined && Object.hasOwn(baseline.sensors, sensor)
    ? baseline.sensors[sensor]
    : undefined;
}

/** Throws ARCHIVE_FAILED. */
export function writeBaseline(path: string, baseline: Baseline): void {
  try {
    writeFileSync(path, `${JSON.stringify(baseline, null, 1)}\n`);
  } catch (error) {
    throw new OperatingError('ARCHIVE_FAILED', `cannot write ${path}: ${messageOf(error)}`, { file: path }, error); // prettier-ignore
  }
}
