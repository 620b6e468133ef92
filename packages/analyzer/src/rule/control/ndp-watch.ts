/**
 * IPv6's neighbours (RFC 4861, 4862), where ARP's attacks have their twins: an address that moves between two MAC addresses and back, answers that nobody asked
 * for, again and again; and what ARP does not have: a host that says of every new address that it has it already, so that nobody gets one, and floods that
 * fill the routers' tables.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { Flow } from '../../flow/flow.ts';
import { NEIGHBOUR_SOLICITATION, type NeighbourMessage } from '../../protocol/neighbour-discovery.ts';
import {
  addMember,
  type CountedWindow,
  KeyedWindows,
  memberCount,
  membersOf,
  seconds,
} from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import { NOBODY, type Tell, type Told } from '../tell.ts';

const OWNERS_MAX = 16_384;
const UNSPECIFIED = '::';
/** Who is asked whether an address is free says so within a second (RFC 4862, RetransTimer); a little more. */
const CLAIM_US = 2_000_000;
const ASKED_US = 10_000_000;
const DENIALS_US = 600_000_000;
/** Reachability is confirmed every 30 s at the most, and an address announced a few times. */
const UNASKED_MIN = 20;
const POISONED_US = 60_000_000;

interface Spoofed extends Pick<Told, 'evidence' | 'group' | 'timeUs'> {
  readonly source: string;
  readonly destination: string;
}

export interface NdpWatch {
  message(
    message: NeighbourMessage,
    sender: string,
    receiver: string,
    linkMac: string,
    vlan: number,
    flow: Flow | null,
    timeUs: number,
  ): void;
  readonly state: Record<string, unknown>;
}

export function createNdpWatch(rules: Rules, tell: Tell): NdpWatch {
  const { ndp_spoofing: spoofing, ndp_flood: floodRule } = rules;
  /** VLAN and address → the MAC address that said last that it has it. */
  const owners = new Map<string, string>();
  const changes = new KeyedWindows(spoofing.within * 1000);
  const unasked = new KeyedWindows(spoofing.within * 1000);
  const asked = new KeyedWindows(ASKED_US);
  /** Address that somebody wants to have; `one`: its MAC address. */
  const wanted = new KeyedWindows(CLAIM_US);
  /** By who denies, and by who is denied; members: addresses. */
  const denials = new KeyedWindows(DENIALS_US);
  const messages = new KeyedWindows(floodRule.within * 1000, 4096);

  return {
    state: { owners, changes, unasked, asked, wanted, denials, messages },

    message(message, sender, receiver, linkMac, vlan, flow, timeUs) {
      countMessage(message, linkMac, vlan, flow, timeUs);
      if (!spoofing.enabled) return;
      const key = `${vlan} ${message.target}`;
      const mac = message.mac === '' ? linkMac : message.mac;
      if (message.type === NEIGHBOUR_SOLICITATION) {
        asked.add(key, timeUs);
        if (sender === UNSPECIFIED) wanted.add(key, timeUs, linkMac);
        else if (message.mac !== '') claim(sender, mac, vlan, flow, timeUs);
        return;
      }
      deny(key, message, linkMac, flow, timeUs);
      if (asked.peek(key, timeUs) === undefined) countUnasked(message, receiver, mac, vlan, flow, timeUs);
      // Without the flag it does not replace what is known: proxies and shared addresses answer so.
      if (message.isOverride) claim(message.target, mac, vlan, flow, timeUs);
    },
  };

  function claim(address: string, mac: string, vlan: number, flow: Flow | null, timeUs: number): void {
    const key = `${vlan} ${address}`;
    const owner = owners.get(key);
    if (owner === undefined && owners.size >= OWNERS_MAX) dropOldest(owners);
    owners.set(key, mac);
    if (owner === undefined || owner === mac) return;
    const window = changes.add(key, timeUs, mac);
    addMember(window, owner);
    if (window.count < spoofing.changes) return;
    spoofed(flow, window, {
      source: mac,
      destination: address,
      evidence: `${address} moved ${window.count} times between ${membersOf(window).join(' and ')} in ${seconds(window, timeUs)}`,
      group: key,
      timeUs,
    });
  }

  function countUnasked(
    message: NeighbourMessage,
    receiver: string,
    mac: string,
    vlan: number,
    flow: Flow | null,
    timeUs: number,
  ): void {
    const window = unasked.add(`${mac} ${message.target} ${receiver}`, timeUs);
    if (window.count < UNASKED_MIN || !message.isOverride) return;
    spoofed(flow, window, {
      source: mac,
      destination: message.target,
      evidence: `${mac} says ${window.count} times in ${seconds(window, timeUs)} to ${receiver} that it is ${message.target}, and nobody asked`,
      group: `${vlan} ${message.target}`,
      timeUs,
    });
  }

  function spoofed(flow: Flow | null, window: CountedWindow, what: Spoofed): void {
    const { destination, timeUs } = what;
    tell(flow, {
      ...what,
      rule: 'ndp-spoofing',
      title: 'An IPv6 address is claimed by two machines',
      technique: 'T0830',
      port: -1,
      protocol: 'icmp6',
      scope: { host: destination },
      // So long a cache is believed that was poisoned.
      fromUs: Math.min(Math.max(window.startUs, timeUs - POISONED_US), timeUs),
    });
  }

  /** Somebody asked whether the address is free, and was told that it is not. */
  function deny(
    key: string,
    message: NeighbourMessage,
    mac: string,
    flow: Flow | null,
    timeUs: number,
  ): void {
    const asker = wanted.peek(key, timeUs);
    if (asker?.one === undefined || asker.one === mac || asker.set?.has(mac) === true) return;
    for (const who of [`by ${mac}`, `to ${asker.one}`]) {
      const window = denials.at(who, timeUs);
      const before = memberCount(window);
      denials.add(who, timeUs, message.target);
      const count = memberCount(window);
      if (count === before || count < spoofing.denials) continue;
      tell(flow, {
        rule: 'ndp-spoofing',
        title: 'Every new IPv6 address is said to be taken',
        technique: 'T0814',
        source: mac,
        destination: '',
        port: -1,
        protocol: 'icmp6',
        evidence: `${mac} said that it has ${message.target}, which ${asker.one} wanted: the ${count}th such address in ${seconds(window, timeUs)}`,
        group: 'denials',
        scope: NOBODY,
        fromUs: Math.min(window.startUs, timeUs),
        timeUs,
      });
      return;
    }
  }

  function countMessage(
    message: NeighbourMessage,
    mac: string,
    vlan: number,
    flow: Flow | null,
    timeUs: number,
  ): void {
    if (!floodRule.enabled) return;
    const window = messages.add(`${vlan} ${message.type}`, timeUs, mac);
    if (window.count % floodRule.messages !== 0) return;
    const count = memberCount(window);
    tell(flow, {
      rule: 'ndp-flood',
      title: 'A flood of neighbour discovery',
      technique: 'T0814',
      source: count === 1 ? mac : '',
      destination: '',
      port: -1,
      protocol: 'icmp6',
      evidence: `${window.count} neighbour ${message.type === NEIGHBOUR_SOLICITATION ? 'solicitations' : 'advertisements'} by ${count} machines in ${seconds(window, timeUs)}`,
      group: `${vlan} ${message.type}`,
      scope: NOBODY,
      fromUs: Math.min(window.startUs, timeUs),
      timeUs,
    });
  }
}
