/**
 * Unauthorised control: a computer that never spoke Modbus connects to a controller, reads its map, and writes coils and
 * registers again and again.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import type { Host } from '../host.ts';
import { MODBUS_PORT, ModbusClient } from '../modbus.ts';
import { strangerHost } from '../plant.ts';
import { MILLISECOND, type Process } from '../scheduler.ts';
import { note, type Attack, type AttackStage } from './attack.ts';

const READS = 6;
const WRITES_MAX = 400;

export function modbusWrite(random: Prng): Attack {
  const attacker = strangerHost(236, random);
  const identity = {
    attack: 'modbus-write' as const,
    variant: 'new-host',
    attackers: [attacker.address],
    victims: [] as string[],
    ports: [String(MODBUS_PORT)],
  };
  return {
    identity,
    *run({ world, plant, untilNs }: AttackStage): Process {
      const victim = random.pick(plant.cells).modbusPlcs[0] as Host;
      note(identity.victims, victim.address);
      const modbus = new ModbusClient(world, attacker, victim, 1, random);
      yield* modbus.tcp.open();
      for (let block = 0; block < READS; block++)
        yield* modbus.readRegisters(3, 100 * block, 100, () => random.below(30_000));
      for (let writes = 0; writes < WRITES_MAX && world.nowNs < untilNs; writes++) {
        if (random.chance(0.5)) yield* modbus.writeCoil(random.below(20), random.chance(0.5));
        else yield* modbus.writeRegisters(random.below(60), [0, 0, 0xffff]);
        yield* modbus.tcp.sleep(random.between(10 * MILLISECOND, 150 * MILLISECOND));
      }
      yield* modbus.tcp.close(modbus.tcp.client);
    },
  };
}
