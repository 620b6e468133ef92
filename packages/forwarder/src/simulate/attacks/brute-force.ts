/** Password guessing: SSH on the historian, with a new connection every few passwords, and the web login of a switch. */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { strangerHost } from '../plant.ts';
import { MILLISECOND, type Process } from '../scheduler.ts';
import { SSH_PORT, sshLoginAttempt } from '../ssh.ts';
import { TcpConversation } from '../tcp-conversation.ts';
import { HTTP_PORT, postLogin } from '../web.ts';
import { note, type Attack, type AttackStage } from './attack.ts';

const SSH_CONNECTIONS_MAX = 120;
const PASSWORDS_PER_CONNECTION = 3;
const HTTP_CONNECTIONS_MAX = 100;
const LOGINS_PER_CONNECTION = 5;

const WORDS = ['admin', 'siemens', '1234', 'password', 'plc', 'private', 'hirschmann', 'changeme'];

export function sshBruteForce(random: Prng): Attack {
  const attacker = strangerHost(234, random);
  const identity = {
    attack: 'brute-force' as const,
    variant: 'ssh',
    attackers: [attacker.address],
    victims: [] as string[],
    ports: [String(SSH_PORT)],
  };
  return {
    identity,
    *run({ world, plant, untilNs }: AttackStage): Process {
      note(identity.victims, plant.historian.address);
      for (let count = 0; count < SSH_CONNECTIONS_MAX && world.nowNs < untilNs; count++) {
        yield* sshLoginAttempt(world, attacker, plant.historian, PASSWORDS_PER_CONNECTION, random);
        yield random.between(5 * MILLISECOND, 120 * MILLISECOND);
      }
    },
  };
}

export function httpBruteForce(random: Prng): Attack {
  const attacker = strangerHost(235, random);
  const identity = {
    attack: 'brute-force' as const,
    variant: 'http',
    attackers: [attacker.address],
    victims: [] as string[],
    ports: [String(HTTP_PORT)],
  };
  return {
    identity,
    *run({ world, plant, untilNs }: AttackStage): Process {
      const victim = random.pick(plant.cells).networkSwitch;
      note(identity.victims, victim.address);
      for (let count = 0; count < HTTP_CONNECTIONS_MAX && world.nowNs < untilNs; count++) {
        const tcp = new TcpConversation(world, 'http', attacker, victim, HTTP_PORT, random);
        yield* tcp.open();
        for (let login = 0; login < LOGINS_PER_CONNECTION; login++) {
          const password = `${random.pick(WORDS)}${String(random.below(1000))}`;
          yield* postLogin(tcp, 'admin', password, random);
          yield* tcp.sleep(random.between(MILLISECOND, 10 * MILLISECOND));
        }
        yield* tcp.close(tcp.client);
      }
    },
  };
}
