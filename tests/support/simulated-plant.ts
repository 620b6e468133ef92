/** The simulated plant without another process: captures as `tapline-forwarder simulate` writes them, or packets. */
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import type { AttackLabel, AttackName } from '../../packages/forwarder/src/simulate/labels.ts';
import { simulatePlant } from '../../packages/forwarder/src/simulate/simulate-plant.ts';
import { capture, START_NS } from '../../packages/forwarder/src/simulate/simulate-test-support.ts';

export interface PlantOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly attacks?: readonly AttackName[];
  readonly packetsMax?: number;
}

/** One cell of the plant, from 2026-01-05T06:00:00Z on; the labels of its attacks. */
export async function writePlant(path: string, options: PlantOptions): Promise<readonly AttackLabel[]> {
  const { seed, seconds, attacks = [], packetsMax } = options;
  const simulation = simulatePlant({ seed, startNs: START_NS, durationMs: seconds * 1000, cells: 1, attacks, ...(packetsMax === undefined ? {} : { packetsMax }) }); // prettier-ignore
  const file = await PcapFile.create(path, { linkType: LINKTYPE_ETHERNET, precision: 'ns' });
  for (const batch of simulation) await file.write(batch);
  await file.close();
  return simulation.labels();
}

/** An ordinary day in one cell, in memory; times are microseconds after 2026-01-05T06:00:00Z. */
export function plantPackets(seed: number, seconds: number): { timeUs: number; frame: Uint8Array }[] {
  const { packets } = capture({ seed, durationMs: seconds * 1000, cells: 1 });
  return packets.map(({ atNs, frame }) => ({ timeUs: Number((atNs - START_NS) / 1000n), frame }));
}
