/**
 * Who says that it is an IPv6 router (RFC 4861). Every host believes every router advertisement: one is enough to become the way out, or to end somebody else's.
 * A second router is told as something to know; one that is preferred to the known ones, that speaks in another's name, or that is a hundred at once, as an
 * attack.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { Severity } from '../../alert/finding.ts';
import type { Flow } from '../../flow/flow.ts';
import type { RouterAdvertisement } from '../../protocol/neighbour-discovery.ts';
import { NOBODY, type Tell } from './control-tell.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';

const ROUTERS_MAX = 1024;
/** Routers of a segment are all heard in this time: each speaks when it is asked, and hosts ask when they come. */
const LEARNING_US = 60_000_000;
/** Routers that share an address move it a few times until they agree who has it. */
const MOVES_MIN = 5;
/** The longest time between two advertisements (RFC 4861, section 6.2.1). */
const SILENCE_US = 1_800_000_000;

export type Standing = 'router' | 'host' | 'unknown';

interface Router {
  mac: string;
  lifetime: number;
  preference: number;
  heardUs: number;
  readonly sinceUs: number;
}

export interface RouterWatch {
  advertised(message: RouterAdvertisement, sender: string, mac: string, vlan: number, flow: Flow | null, timeUs: number): void; // prettier-ignore
  /** Whether hosts of that VLAN were told to send their packets to this address; `unknown` where they were told of no address yet. */
  standing(address: string, vlan: number): Standing;
  readonly state: Record<string, unknown>;
}

export function createRouterWatch(rules: Rules, tell: Tell): RouterWatch {
  const rule = rules.rogue_router;
  /** By VLAN and address. */
  const routers = new Map<string, Router>();
  const newcomers = new KeyedWindows(rule.within * 1000, 4096);
  const prefixes = new KeyedWindows(rule.within * 1000, 4096);
  const moves = new KeyedWindows(rule.within * 1000, 4096);

  return {
    state: { routers, newcomers, prefixes, moves },

    standing(address, vlan) {
      if ((routers.get(`${vlan} ${address}`)?.lifetime ?? 0) > 0) return 'router';
      for (const [key, { lifetime }] of routers)
        if (lifetime > 0 && key.startsWith(`${vlan} `)) return 'host';
      return 'unknown';
    },

    advertised(message, sender, linkMac, vlan, flow, timeUs) {
      const key = `${vlan} ${sender}`;
      const mac = message.mac === '' ? linkMac : message.mac;
      const known = routers.get(key);
      countPrefixes(key, message, sender, flow, timeUs);
      if (known === undefined) {
        meet(message, sender, mac, vlan, flow, timeUs);
        if (routers.size >= ROUTERS_MAX) dropOldest(routers);
        const { lifetime, preference } = message;
        routers.set(key, { mac, lifetime, preference, heardUs: timeUs, sinceUs: timeUs });
        return;
      }
      if (known.mac !== mac) {
        const isEnd = message.lifetime === 0 && known.lifetime > 0;
        const window = moves.add(key, timeUs, mac);
        if (isEnd || window.count >= MOVES_MIN)
          found(isEnd ? 'Somebody else says that a router is none any more' : 'A router’s advertisements come from two machines', `${mac} speaks for ${sender}, which is ${known.mac}${isEnd ? `, and ends its time as a router` : ''}`, mac, sender, `moved ${key}`, { host: sender }, flow, timeUs); // prettier-ignore
        // Its own advertisements go on to be believed.
        if (isEnd) return;
      }
      known.mac = mac;
      known.lifetime = message.lifetime;
      known.preference = message.preference;
      known.heardUs = timeUs;
    },
  };

  function countPrefixes(
    key: string,
    message: RouterAdvertisement,
    sender: string,
    flow: Flow | null,
    timeUs: number,
  ): void {
    for (const prefix of message.prefixes) {
      const window = prefixes.at(key, timeUs);
      const before = memberCount(window);
      prefixes.add(key, timeUs, prefix);
      const count = memberCount(window);
      if (count > before && count % rule.prefixes === 0)
        found('A router announces more networks than there can be', `${sender} announced ${count} prefixes in ${seconds(window, timeUs)}; each gives every host an address more`, sender, '', `prefixes ${key}`, { host: sender }, flow, timeUs); // prettier-ignore
    }
  }

  function meet(
    message: RouterAdvertisement,
    sender: string,
    mac: string,
    vlan: number,
    flow: Flow | null,
    timeUs: number,
  ): void {
    const window = newcomers.at(`${vlan}`, timeUs);
    const before = memberCount(window);
    newcomers.add(`${vlan}`, timeUs, mac);
    const count = memberCount(window);
    if (count > before && count % rule.routers === 0)
      found('More routers than there can be', `${count} machines that were never heard said in ${seconds(window, timeUs)} that they are routers`, '', '', `flood ${vlan}`, NOBODY, flow, timeUs); // prettier-ignore
    // A flood is told as one.
    if (message.lifetime === 0 || count > 2) return;
    let best: Router | undefined;
    let bestAddress = '';
    for (const [key, router] of routers) {
      const at = key.indexOf(' ');
      if (key.slice(0, at) !== `${vlan}` || router.lifetime === 0) continue;
      if (timeUs - router.sinceUs < LEARNING_US || timeUs - router.heardUs > SILENCE_US) continue;
      if (best !== undefined && best.preference >= router.preference) continue;
      best = router;
      bestAddress = key.slice(at + 1);
    }
    if (best === undefined) return;
    const isPreferred = message.preference > best.preference;
    found(isPreferred ? 'A newcomer says that it is the router to prefer' : 'A second router announces itself', `${sender} (${mac}) says that it is a router${isPreferred ? ' and to be preferred' : ''}, as ${bestAddress} (${best.mac}) is`, sender, bestAddress, `second ${vlan} ${sender}`, { host: sender }, flow, timeUs, isPreferred ? rule.severity : 'low'); // prettier-ignore
  }

  function found(
    title: string,
    evidence: string,
    source: string,
    destination: string,
    group: string,
    scope: { readonly host?: string; readonly client?: string },
    flow: Flow | null,
    timeUs: number,
    severity: Severity = rule.severity,
  ): void {
    if (!rule.enabled) return;
    tell({ rule: 'rogue-router', title, severity, technique: 'T0830', protocol: 'icmp6', source, destination, evidence, group, scope, timeUs }, flow); // prettier-ignore
  }
}
