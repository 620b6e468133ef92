/**
 * Who says that it is an IPv6 router (RFC 4861). Every host believes every router advertisement: one is enough to become the way out, or to end somebody else's.
 * A second router is told as something to know; one that is preferred to the known ones, that speaks in another's name, or that is a hundred at once, as an
 * attack.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { Flow } from '../../flow/flow.ts';
import type { RouterAdvertisement } from '../../protocol/neighbour-discovery.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import { NOBODY, type Tell, type Told } from '../tell.ts';

const ROUTERS_MAX = 1024;
/** Routers of a segment are all heard in this time: each speaks when it is asked, and hosts ask when they come. */
const LEARNING_US = 60_000_000;
/** Routers that share an address move it a few times until they agree who has it. */
const MOVES_MIN = 5;
/** The longest time between two advertisements (RFC 4861, section 6.2.1). */
const SILENCE_US = 1_800_000_000;

export type Standing = 'router' | 'host' | 'unknown';

type ToldOfRouter = Omit<Told, 'rule' | 'technique' | 'port' | 'protocol' | 'fromUs'>;

interface Router {
  mac: string;
  lifetime: number;
  preference: number;
  heardUs: number;
  readonly sinceUs: number;
}

export interface RouterWatch {
  advertised(
    message: RouterAdvertisement,
    sender: string,
    mac: string,
    vlan: number,
    flow: Flow | null,
    timeUs: number,
  ): void;
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
          told(flow, {
            title: isEnd
              ? 'Somebody else says that a router is none any more'
              : 'A router’s advertisements come from two machines',
            source: mac,
            destination: sender,
            evidence: `${mac} speaks for ${sender}, which is ${known.mac}${isEnd ? `, and ends its time as a router` : ''}`,
            group: `moved ${key}`,
            scope: { host: sender },
            timeUs,
          });
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
        told(flow, {
          title: 'A router announces more networks than there can be',
          source: sender,
          destination: '',
          evidence: `${sender} announced ${count} prefixes in ${seconds(window, timeUs)}; each gives every host an address more`,
          group: `prefixes ${key}`,
          scope: { host: sender },
          timeUs,
        });
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
      told(flow, {
        title: 'More routers than there can be',
        source: '',
        destination: '',
        evidence: `${count} machines that were never heard said in ${seconds(window, timeUs)} that they are routers`,
        group: `flood ${vlan}`,
        scope: NOBODY,
        timeUs,
      });
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
    told(flow, {
      title: isPreferred
        ? 'A newcomer says that it is the router to prefer'
        : 'A second router announces itself',
      severity: isPreferred ? rule.severity : 'low',
      source: sender,
      destination: bestAddress,
      evidence: `${sender} (${mac}) says that it is a router${isPreferred ? ' and to be preferred' : ''}, as ${bestAddress} (${best.mac}) is`,
      group: `second ${vlan} ${sender}`,
      scope: { host: sender },
      timeUs,
    });
  }

  function told(flow: Flow | null, what: ToldOfRouter): void {
    if (!rule.enabled) return;
    tell(flow, {
      ...what,
      rule: 'rogue-router',
      technique: 'T0830',
      port: -1,
      protocol: 'icmp6',
      fromUs: what.timeUs,
    });
  }
}
