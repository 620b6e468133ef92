/**
 * Reflected floods: answers that nobody asked for. The attacker asks many servers in the victim's name, and they answer the victim, mostly with more than
 * they were asked. Who answers is no attacker: the victim is who did not ask.
 */
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { TellFlood } from './flood-tell.ts';

/** Services that answer a small question with much, to whoever the question says it is from. */
const AMPLIFIERS: ReadonlySet<number> = new Set([
  17, 19, 53, 69, 111, 123, 137, 161, 389, 427, 500, 520, 1434, 1604, 1900, 3283, 3478, 3702, 5060, 5093, 5351, 5353, 5683, 10001,
  11211, 27015, 32414, 33848, 37810,
]); // prettier-ignore
/** Ports that announce themselves to groups. */
const GROUP_PORTS: ReadonlySet<number> = new Set([69, 123, 137, 427, 520, 1900, 3702, 5353, 5683, 10001]);
const REFLECTORS_MIN = 4;
/** Of senders that are known for nothing of the kind. */
const SPRAY_SENDERS_MIN = 20;
/** The flow's client, which began as the one who was answered, asked something. */
const ASKED = 'asked';

export interface ReflectionWatch {
  /** A datagram to a group. */
  announced(flow: Flow, nowUs: number): void;
  /** A datagram between two hosts. */
  datagram(flow: Flow, isFromClient: boolean, nowUs: number): void;
  /** An answer to a question that nobody was seen to ask. */
  answered(flow: Flow, nowUs: number): void;
  readonly state: Record<string, unknown>;
}

export function createReflectionWatch(rules: Rules, tell: TellFlood): ReflectionWatch {
  const rule = rules.reflection;
  /** By victim and kind; members: who answers it. */
  const reflected = new KeyedWindows(rule.within * 1000);

  return {
    state: { reflected },

    announced(flow, nowUs) {
      // Announcements go to groups; answers of name servers and the like do not, unless a victim's address was written so.
      if (AMPLIFIERS.has(flow.clientPort) && !GROUP_PORTS.has(flow.clientPort)) sprayed(flow, nowUs);
    },

    datagram(flow, isFromClient, nowUs) {
      const { memory, wasReversed } = flow;
      // An outstation reports of its own accord: those are answers that nobody asks for.
      if (wasReversed && !isFromClient && memory[ASKED] !== true && flow.service !== 'dnp3')
        answered(flow, nowUs);
      else if (wasReversed && isFromClient) memory[ASKED] = true;
      // From the amplifier's port to one that looks like a service too: the same, only that the flow is told the other way round.
      else if (isFromClient && memory['answered'] !== true) sprayed(flow, nowUs);
    },

    answered,
  };

  function answered(flow: Flow, nowUs: number): void {
    const { client: victim, server, serverPort: port } = flow;
    const isTcp = flow.protocol === PROTO_TCP;
    const window = reflected.add(`${victim} ${isTcp ? 'tcp' : port}`, nowUs, server);
    if (!rule.enabled || window.count < rule.packets) return;
    if (memberCount(window) < (AMPLIFIERS.has(port) ? REFLECTORS_MIN : SPRAY_SENDERS_MIN)) return;
    tell(flow, window, {
      rule: 'reflection',
      title: 'Reflected flood',
      technique: 'T0814',
      source: '',
      destination: victim,
      port: isTcp ? -1 : port,
      evidence: `${window.count} answers that ${victim} never asked for, from ${memberCount(window)} servers, in ${seconds(window, nowUs)}`,
      isVictimClient: true,
      timeUs: nowUs,
    });
  }

  /** Packets from one port of many senders that nobody answers: whatever service that is, it was made to answer for somebody else. */
  function sprayed(flow: Flow, nowUs: number): void {
    const { server: victim, client: sender, clientPort: port } = flow;
    const window = reflected.add(`${victim} from ${port}`, nowUs, sender);
    if (!rule.enabled || window.count < rule.packets || memberCount(window) < SPRAY_SENDERS_MIN) return;
    tell(flow, window, {
      rule: 'reflection',
      title: 'Reflected flood',
      technique: 'T0814',
      source: '',
      destination: victim,
      port: -1,
      evidence: `${window.count} packets from port ${port} of ${memberCount(window)} servers to ${victim}, which never answered, in ${seconds(window, nowUs)}`,
      timeUs: nowUs,
    });
  }
}
