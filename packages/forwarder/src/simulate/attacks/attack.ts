/**
 * What an attack is to the simulation: it says who it is, then runs as a process whose every packet, answers included, is
 * noted in its label.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import type { Host } from '../host.ts';
import type { AttackIdentity } from '../labels.ts';
import type { Plant } from '../plant.ts';
import type { Process } from '../scheduler.ts';
import type { World } from '../world.ts';

/** Where and how long an attack may act. */
export interface AttackStage {
  /** Its own view of the world: what is sent here is labelled. */
  readonly world: World;
  readonly plant: Plant;
  readonly random: Prng;
  /** It sends nothing more after this moment of the capture. */
  readonly untilNs: number;
}

export interface Attack {
  /** What is known before the first packet; lists grow while it runs. */
  readonly identity: AttackIdentity;
  run(stage: AttackStage): Process;
}

/** Notes a value once. */
export function note(list: string[], value: string | number): void {
  const text = String(value);
  if (!list.includes(text)) list.push(text);
}

/** All hosts of a plant that have an IP stack an attacker can find, cell by cell. */
export function reachableHosts(plant: Plant): readonly Host[] {
  const office = [plant.directory, plant.fileServer, plant.historian, plant.scada, ...plant.officePcs];
  return [
    ...office,
    ...plant.cells.flatMap((cell) => [
      cell.networkSwitch,
      cell.hmi,
      cell.engineering,
      ...cell.modbusPlcs,
      cell.s7Plc,
      cell.logixPlc,
      cell.dnp3Rtu,
      cell.iec104Rtu,
      cell.opcuaServer,
    ]),
  ];
}
