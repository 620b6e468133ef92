/** Captures of the simulated plant, written without another process: as `tapline-forwarder simulate` writes them. */
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import type { AttackLabel, AttackName } from '../../packages/forwarder/src/simulate/labels.ts';
import { simulatePlant } from '../../packages/forwarder/src/simulate/simulate-plant.ts';

export interface PlantOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly attacks?: readonly AttackName[];
  readonly packetsMax?: number;
}

/** One cell of the plant, from 2026-01-05T06:00:00Z on; the labels of its attacks. */
export async function writePlant(path: string, options: PlantOptions): Promise<readonly AttackLabel[]> {
  const { seed, seconds, attacks = [], packetsMax } = options;
  const startNs = 1_767_592_800_000_000_000n;
  const simulation = simulatePlant({ seed, startNs, durationMs: seconds * 1000, cells: 1, attacks, ...(packetsMax === undefined ? {} : { packetsMax }) }); // prettier-ignore
  const file = await PcapFile.create(path, { linkType: LINKTYPE_ETHERNET, precision: 'ns' });
  for (const batch of simulation) await file.write(batch);
  await file.close();
  return simulation.labels();
}
