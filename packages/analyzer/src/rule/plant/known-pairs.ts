/** What two hosts of the baseline say to each other, by service and by port: what `baseline-detector.ts` compares with. */
import type { BaselineOperation, SensorBaseline } from '../../asset/baseline.ts';
import { operationKey } from '../../asset/inventory.ts';

export interface KnownPair {
  readonly operations: ReadonlyMap<string, BaselineOperation>;
  /** It changed something at the server before. */
  readonly hasWritten: boolean;
}

/** Actions that change something at the server. */
export const CHANGES: ReadonlySet<string> = new Set(['write', 'control', 'program']);

/** By client, server, and service or port: `10.0.0.1 10.0.0.2 502`. */
export function knownPairs(baseline: SensorBaseline): ReadonlyMap<string, KnownPair> {
  const pairs = new Map<string, KnownPair>();
  for (const { client, server, service, port, operations } of baseline.pairs)
    // Two lines of a baseline may share a service (EtherNet/IP on TCP and UDP) or a port: what either knows is known.
    for (const what of [service, String(port)]) {
      const key = `${client} ${server} ${what}`;
      pairs.set(key, merged(pairs.get(key), operations));
    }
  return pairs;
}

function merged(known: KnownPair | undefined, more: readonly BaselineOperation[]): KnownPair {
  const operations = new Map(known?.operations);
  for (const operation of more) {
    const key = operationKey(operation);
    const before = operations.get(key);
    operations.set(key, before === undefined ? operation : either(before, operation));
  }
  const hasWritten = more.some(({ action, count }) => count > 0 && CHANGES.has(action));
  return { operations, hasWritten: hasWritten || known?.hasWritten === true };
}

/** What is normal at one of two places; two rhythms are none. */
function either(one: BaselineOperation, other: BaselineOperation): BaselineOperation {
  const least = Math.min(one.min ?? Infinity, other.min ?? Infinity);
  const most = Math.max(one.max ?? -Infinity, other.max ?? -Infinity);
  return {
    ...one,
    count: one.count + other.count,
    min: least === Infinity ? null : least,
    max: most === -Infinity ? null : most,
    cycle_us: 0,
    cycle_deviation_us: 0,
  };
}
