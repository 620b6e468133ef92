/**
 * Port scans from a computer that was not there before. Horizontal: a few OT ports on every address of a cell, with ARP first,
 * as the network is flat. Vertical: many ports of one host. Half-open: what accepts is reset.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { resolveNobody } from '../arp.ts';
import { DNP3_PORT } from '../dnp3.ts';
import { ENIP_PORT } from '../enip.ts';
import type { Host } from '../host.ts';
import { IEC104_PORT } from '../iec104.ts';
import { MODBUS_PORT } from '../modbus.ts';
import { OPCUA_PORT } from '../opcua.ts';
import { strangerHost, type Plant } from '../plant.ts';
import { S7_PORT } from '../s7comm.ts';
import { MICROSECOND, MILLISECOND, type Process } from '../scheduler.ts';
import { SMB_PORT } from '../smb2.ts';
import { SSH_PORT } from '../ssh.ts';
import { TcpConversation } from '../tcp-conversation.ts';
import { HTTPS_PORT, HTTP_PORT } from '../web.ts';
import type { World } from '../world.ts';
import { note, reachableHosts, type Attack, type AttackStage } from './attack.ts';

const OT_PORTS = [MODBUS_PORT, S7_PORT, ENIP_PORT];
const VERTICAL_PORTS = 1024;
const ADDRESSES_PER_CELL = 254;
/** Cells a horizontal scan goes through: × 254 addresses. */
const CELLS_MAX = 4;

/** Three OT ports on all addresses of the first cells. */
export function horizontalScan(random: Prng): Attack {
  const attacker = strangerHost(231, random);
  const identity = identityOf('horizontal', attacker, OT_PORTS.map(String));
  return {
    identity,
    *run(stage: AttackStage): Process {
      const { world, plant } = stage;
      const present = new Map(reachableHosts(plant).map((host) => [host.address, host]));
      for (const cell of plant.cells.slice(0, CELLS_MAX))
        for (let last = 1; last <= ADDRESSES_PER_CELL; last++) {
          const target = Uint8Array.of(...cell.hmi.ipv4.subarray(0, 3), last);
          const host = present.get(target.join('.'));
          if (world.nowNs >= stage.untilNs) return;
          if (host === undefined) world.start(resolveNobody(world, attacker, target, 1));
          else {
            note(identity.victims, host.address);
            for (const port of OT_PORTS) world.start(probe(world, attacker, host, port, plant, random));
          }
          yield random.between(2 * MILLISECOND, 12 * MILLISECOND);
        }
    },
  };
}

/** The first 1,024 ports of one controller, in random order, and the OT ports behind them. */
export function verticalScan(random: Prng): Attack {
  const attacker = strangerHost(232, random);
  const identity = identityOf('vertical', attacker, [`1-${VERTICAL_PORTS}`, String(ENIP_PORT)]);
  return {
    identity,
    *run({ world, plant, untilNs }: AttackStage): Process {
      const victim = random.pick(plant.cells).s7Plc;
      note(identity.victims, victim.address);
      const ports = shuffled(
        [...Array.from({ length: VERTICAL_PORTS }, (_, index) => index + 1), ENIP_PORT],
        random,
      );
      for (const port of ports) {
        if (world.nowNs >= untilNs) return;
        yield* probe(world, attacker, victim, port, plant, random);
        yield random.between(200 * MICROSECOND, 4 * MILLISECOND);
      }
    },
  };
}

function identityOf(variant: string, attacker: Host, ports: string[]) {
  return { attack: 'scan' as const, variant, attackers: [attacker.address], victims: [], ports };
}

function* probe(world: World, attacker: Host, host: Host, port: number, plant: Plant, random: Prng): Process {
  const tcp = new TcpConversation(world, 'tcp', attacker, host, port, random);
  if (openPorts(host, plant).includes(port)) yield* tcp.openAndReset();
  else yield* tcp.openRefused();
}

/** What the hosts of the plant serve. */
function openPorts(host: Host, plant: Plant): readonly number[] {
  if (host === plant.historian) return [SSH_PORT, HTTPS_PORT];
  if (host === plant.directory || host === plant.fileServer) return [53, 135, 139, SMB_PORT];
  for (const cell of plant.cells) {
    if (host === cell.s7Plc) return [HTTP_PORT, S7_PORT];
    if (cell.modbusPlcs.includes(host)) return [HTTP_PORT, MODBUS_PORT];
    if (host === cell.logixPlc) return [ENIP_PORT];
    if (host === cell.dnp3Rtu) return [DNP3_PORT];
    if (host === cell.iec104Rtu) return [SSH_PORT, IEC104_PORT];
    if (host === cell.opcuaServer) return [OPCUA_PORT];
    if (host === cell.networkSwitch) return [HTTP_PORT];
    if (host === cell.hmi || host === cell.engineering) return [135, SMB_PORT];
  }
  return [];
}

/** Fisher and Yates. */
function shuffled<T>(values: T[], random: Prng): T[] {
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [values[i], values[j]] = [values[j] as T, values[i] as T];
  }
  return values;
}
