/**
 * Ransomware that spreads over SMB: a workstation of the first cell, until then harmless, tries port 445 of every host it finds,
 * and where it gets in, reads files, overwrites them and renames them.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import type { Host } from '../host.ts';
import type { Plant } from '../plant.ts';
import { MILLISECOND, type Process } from '../scheduler.ts';
import { SMB_PORT, SmbClient } from '../smb2.ts';
import { TcpConversation } from '../tcp-conversation.ts';
import type { World } from '../world.ts';
import { note, reachableHosts, type Attack, type AttackStage } from './attack.ts';

/** Hosts tried: bounds the capture in a plant of thousands. */
const TARGETS_MAX = 200;
const FILES_PER_HOST = 12;
const FILE_BYTES = 8192;

export function ransomware(random: Prng): Attack {
  const identity = {
    attack: 'ransomware' as const,
    variant: 'smb-spread',
    attackers: [] as string[],
    victims: [] as string[],
    ports: [String(SMB_PORT)],
  };
  return {
    identity,
    *run({ world, plant, untilNs }: AttackStage): Process {
      const patientZero = (plant.cells[0] as Plant['cells'][0]).engineering;
      note(identity.attackers, patientZero.address);
      const targets = reachableHosts(plant).filter((host) => host !== patientZero);
      for (const target of targets.slice(0, TARGETS_MAX)) {
        if (world.nowNs >= untilNs) return;
        note(identity.victims, target.address);
        // Several hosts at a time: each one is a process of its own.
        const stream = world.random(`ransomware ${target.name}`);
        world.start(
          sharesFiles(target, plant)
            ? encryptFiles(world, patientZero, target, untilNs, stream)
            : knock(world, patientZero, target, stream),
        );
        yield random.between(50 * MILLISECOND, 400 * MILLISECOND);
      }
    },
  };
}

function* knock(world: World, from: Host, target: Host, random: Prng): Process {
  yield* new TcpConversation(world, 'tcp', from, target, SMB_PORT, random).openRefused();
}

function* encryptFiles(world: World, from: Host, target: Host, untilNs: number, random: Prng): Process {
  const smb = new SmbClient(world, from, target, 'administrator', random);
  yield* smb.open();
  yield* smb.connectTree('C$');
  for (let file = 0; file < FILES_PER_HOST && world.nowNs < untilNs; file++) {
    const name = `projects\\line${String(random.below(50))}_${String(file)}.zap16`;
    yield* smb.openFile(name, FILE_BYTES, true);
    yield* smb.read(0, FILE_BYTES);
    yield* smb.write(0, FILE_BYTES);
    yield* smb.rename(`${name}.locked`);
    yield* smb.closeFile();
    yield* smb.tcp.sleep(random.between(MILLISECOND, 12 * MILLISECOND));
  }
  yield* smb.close();
}

/** Windows machines of the plant share their disks. */
function sharesFiles(host: Host, plant: Plant): boolean {
  if (host === plant.fileServer || host === plant.directory || plant.officePcs.includes(host)) return true;
  return plant.cells.some((cell) => host === cell.hmi || host === cell.engineering);
}
