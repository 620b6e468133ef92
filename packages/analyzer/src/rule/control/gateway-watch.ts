/**
 * Who takes the address that several routers share (HSRP, VRRP). Routers change places when one fails, resigns, or comes back; a router that was never heard
 * in its group and takes the address from one that is alive, by a higher priority, is new at least, and is the middle of everything from then on.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { Flow } from '../../flow/flow.ts';
import type { FirstHop } from '../../protocol/first-hop.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

const GROUPS_MAX = 4096;
const MEMBERS_MAX = 16_384;
/** The highest that there is: at it a higher address decides. */
const PRIORITY_MAX = 255;

interface Group {
  /** '' when it was given away. */
  active: string;
  priority: number;
  /** The highest that a router had here: one that lowers its own (its way out is lost) wants another to take over. */
  best: number;
  heardUs: number;
  readonly sinceUs: number;
  holdUs: number;
}

export interface GatewayWatch {
  message(message: FirstHop, sender: string, vlan: number, flow: Flow | null, timeUs: number): void;
  readonly state: Record<string, unknown>;
}

export function createGatewayWatch(rules: Rules, tell: Tell): GatewayWatch {
  const rule = rules.gateway_takeover;
  const groups = new Map<string, Group>();
  /** Group and router → when it was heard first. */
  const members = new Map<string, number>();

  return {
    state: { groups, members },

    message(message, sender, vlan, flow, timeUs) {
      const key = `${message.protocol} ${vlan} ${message.group} ${message.address}`;
      const firstUs = remember(`${key} ${sender}`, timeUs);
      const group = groups.get(key);
      if (group === undefined) {
        if (groups.size >= GROUPS_MAX) dropOldest(groups);
        const { priority, holdUs } = message;
        groups.set(key, {
          active: message.isClaim ? sender : '',
          priority,
          best: priority,
          heardUs: timeUs,
          sinceUs: timeUs,
          holdUs,
        });
        return;
      }
      if (message.isResignation && sender === group.active) group.active = '';
      if (!message.isClaim) return;
      const isAlive = group.active !== '' && timeUs - group.heardUs <= group.holdUs;
      if (sender !== group.active && isAlive) {
        // The weaker of two that both speak is not listened to.
        if (message.priority < group.priority) return;
        const isBetter = message.priority > group.best || message.priority === PRIORITY_MAX;
        const isNew = timeUs - firstUs < group.holdUs && firstUs - group.sinceUs > group.holdUs;
        if (isBetter && isNew && rule.enabled) found(message, sender, group, flow, timeUs);
      }
      group.active = sender;
      group.priority = message.priority;
      group.best = Math.max(group.best, message.priority);
      group.heardUs = timeUs;
      group.holdUs = message.holdUs;
    },
  };

  function remember(member: string, timeUs: number): number {
    const known = members.get(member);
    if (known !== undefined) return known;
    if (members.size >= MEMBERS_MAX) dropOldest(members);
    members.set(member, timeUs);
    return timeUs;
  }

  function found(message: FirstHop, sender: string, group: Group, flow: Flow | null, timeUs: number): void {
    const { protocol, address, priority } = message;
    // HSRP's routers speak before they take over. VRRP's wait in silence, so a new voice says little, unless it wants what only the address's owner has.
    const isSure = protocol === 'hsrp' || (priority === PRIORITY_MAX && sender !== address);
    tell(flow, {
      rule: 'gateway-takeover',
      title: 'A newcomer takes the address of the gateway',
      severity: isSure ? rule.severity : 'low',
      technique: 'T0830',
      protocol,
      source: sender,
      destination: address,
      port: -1,
      evidence: `${sender}, which was never heard in group ${message.group}, takes ${address} with priority ${priority} from ${group.active}, which has ${group.priority} and is alive`,
      group: `${protocol} ${message.group} ${address} ${sender}`,
      scope: { host: sender },
      fromUs: timeUs,
      timeUs,
    });
  }
}
