/** Which attacks there are, and when each of them acts. */
import { unreachable } from '@tapline/shared/base/assert.ts';
import type { Prng } from '@tapline/shared/base/prng.ts';
import { LabelTally, type AttackName } from '../labels.ts';
import type { Plant } from '../plant.ts';
import { MINUTE } from '../scheduler.ts';
import type { World } from '../world.ts';
import type { Attack } from './attack.ts';
import { httpBruteForce, sshBruteForce } from './brute-force.ts';
import { synFlood, udpFlood } from './flood.ts';
import { modbusWrite } from './modbus-write.ts';
import { ransomware } from './ransomware.ts';
import { horizontalScan, verticalScan } from './scan.ts';

/** The first attack waits until the plant is up; the last ends before the capture does. */
const FIRST_AT = 0.15;
const LAST_ENDS_AT = 0.95;
/** An attack takes at most this share of its slot, so that two are never under way at once. */
const SLOT_SHARE = 0.8;
const ATTACK_NS_MAX = 2 * MINUTE;

/** Gives each attack a slot of the capture, in the order given, and returns their labels. */
export function planAttacks(world: World, plant: Plant, names: readonly AttackName[]): LabelTally[] {
  const attacks = names.flatMap((name) => attacksNamed(name, world.random(`attack ${name}`)));
  const { durationNs, startNs } = world.options;
  const slotNs = (durationNs * (LAST_ENDS_AT - FIRST_AT)) / attacks.length;
  return attacks.map((attack, index) => {
    const beginNs = Math.round(durationNs * FIRST_AT + index * slotNs);
    const untilNs = beginNs + Math.min(ATTACK_NS_MAX, slotNs * SLOT_SHARE);
    const label = new LabelTally(startNs, attack.identity);
    const random = world.random(`attack ${attack.identity.attack} ${attack.identity.variant}`);
    world.start(attack.run({ world: world.labelled(label), plant, random, untilNs }), beginNs);
    return label;
  });
}

function attacksNamed(name: AttackName, random: Prng): readonly Attack[] {
  switch (name) {
    case 'scan':
      return [horizontalScan(random), verticalScan(random)];
    case 'syn-flood':
      return [synFlood(random)];
    case 'udp-flood':
      return [udpFlood(random)];
    case 'brute-force':
      return [sshBruteForce(random), httpBruteForce(random)];
    case 'modbus-write':
      return [modbusWrite(random)];
    case 'ransomware':
      return [ransomware(random)];
    default:
      return unreachable(name);
  }
}
