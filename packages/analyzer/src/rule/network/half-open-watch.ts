/**
 * Connections that are opened and not finished: at one service (SYN flood), at all services of a host, from made-up addresses to everywhere; and, too few for
 * a flood, the knocking of many strangers at one host. Not counted where only half of the network is mirrored: there everything looks half open.
 */
import type { Flow } from '../../flow/flow.ts';
import { type CountedWindow, forgetMember, KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { TellFlood } from './flood-tell.ts';

/** Share of connections that were never finished, above which it is no accident. */
const HALF_OPEN_SHARE = 0.75;
/** The same of those from everywhere to everywhere. */
const SPOOFED_SHARE = 0.9;
/** One client alone may be a browser in front of a server that is gone: it tries again and again, though not as fast as this. */
const BURST_US = 3_000_000;
const ONE_CLIENT_FACTOR = 3;
/** A service that takes more than this share of a flood has it to itself: what is left is spread over many. */
const SPREAD_SHARE = 0.25;
/** One connection accepted out of sight for so many that look half open. */
const ASYMMETRIC_SHARE = 10;
/** The connection is one of those that are spread. */
const SPREAD = 'spread';
const FINISHED = 'finished';

export interface HalfOpenWatch {
  /** A first SYN. */
  opened(flow: Flow, nowUs: number): void;
  /** The server closed it in order: whatever it was, it is not half open. */
  finished(flow: Flow, nowUs: number): void;
  /** The server takes part in that connection. */
  answered(flow: Flow, nowUs: number): void;
  /** A server accepts what nobody was seen to ask for: `flow` begins with it. */
  acceptedUnasked(flow: Flow, nowUs: number): void;
  readonly state: Record<string, unknown>;
}

export function createHalfOpenWatch(rules: Rules, tell: TellFlood): HalfOpenWatch {
  const { syn_flood: synRule, spoofed_flood: spoofedRule, scan_distributed: knockRule } = rules;
  const limit = synRule.half_open;
  // Of all of these, `count` is what was opened and `other` what was answered; members are clients.
  const opened = new KeyedWindows(synRule.within * 1000);
  const openedHost = new KeyedWindows(synRule.within * 1000);
  const everywhere = new KeyedWindows(spoofedRule.within * 1000);
  const spread = new KeyedWindows(spoofedRule.within * 1000);
  const knocks = new KeyedWindows(knockRule.within * 1000);
  /** Accepted without having been seen to be opened, by server, and of all under ''. */
  const elsewhere = new KeyedWindows(synRule.within * 1000);

  return {
    state: { opened, openedHost, everywhere, spread, knocks, elsewhere },

    opened(flow, nowUs) {
      const { client, server, serverPort: port } = flow;
      const service = opened.add(flow.doorway, nowUs, client);
      const halfOpen = service.count - service.other;
      const isSlow = nowUs - service.startUs > BURST_US;
      const needed = memberCount(service) === 1 && isSlow ? ONE_CLIENT_FACTOR * limit : limit;
      const isFlood = halfOpen >= needed && halfOpen >= HALF_OPEN_SHARE * service.count;
      if (synRule.enabled && isFlood && !isAsymmetric(server, halfOpen, nowUs))
        tell(flow, service, {
          rule: 'syn-flood',
          title: 'SYN flood',
          technique: 'T0814',
          source: memberCount(service) === 1 ? client : '',
          destination: server,
          port,
          evidence: `${halfOpen} of ${service.count} connections to ${server} port ${port} in ${seconds(service, nowUs)}, from ${memberCount(service)} addresses, were opened and not finished`,
          isUnanswered: true,
          timeUs: nowUs,
        });
      everywhere.add('', nowUs);
      if (service.count <= SPREAD_SHARE * limit) onSpread(flow, nowUs);
      // What is flooded is not knocked at besides.
      if (isFlood) knocks.windows.delete(server);
      else if (halfOpen < limit / 2) knock(flow, nowUs);
    },

    finished,

    answered(flow, nowUs) {
      const knocked = knocks.peek(flow.server, nowUs);
      // Who is answered is no stranger.
      if (knocked !== undefined) forgetMember(knocked, flow.client);
      finished(flow, nowUs);
    },

    acceptedUnasked(flow, nowUs) {
      knock(flow, nowUs);
      elsewhere.add('', nowUs);
      elsewhere.add(flow.server, nowUs);
    },
  };

  function finished(flow: Flow, nowUs: number): void {
    if (flow.memory[FINISHED] === true) return;
    flow.memory[FINISHED] = true;
    countAnswered(everywhere.peek('', nowUs), flow);
    countAnswered(opened.peek(flow.doorway, nowUs), flow);
    if (flow.memory[SPREAD] !== true) return;
    countAnswered(spread.peek('', nowUs), flow);
    countAnswered(openedHost.peek(flow.server, nowUs), flow);
  }

  /** To services that are not flooded, each by itself: all of a host's together, or those of all hosts. */
  function onSpread(flow: Flow, nowUs: number): void {
    const { client, server } = flow;
    flow.memory[SPREAD] = true;
    const host = openedHost.add(server, nowUs, client);
    const halfOpen = host.count - host.other;
    const isFlood =
      halfOpen >= limit && memberCount(host) >= limit / 2 && halfOpen >= HALF_OPEN_SHARE * host.count;
    if (synRule.enabled && isFlood && !isAsymmetric(server, halfOpen, nowUs))
      tell(flow, host, {
        rule: 'syn-flood',
        title: 'SYN flood',
        technique: 'T0814',
        source: '',
        destination: server,
        port: -1,
        evidence: `${halfOpen} of ${host.count} connections to ${server} in ${seconds(host, nowUs)}, from ${memberCount(host)} addresses, were opened and not finished`,
        isUnanswered: true,
        timeUs: nowUs,
      });
    // From everywhere to everywhere: addresses that are made up.
    const all = spread.add('', nowUs, client);
    const spoofed = all.count - all.other;
    const isSpoofed =
      spoofed >= spoofedRule.half_open &&
      memberCount(all) >= spoofed / 2 &&
      spoofed >= SPOOFED_SHARE * all.count;
    if (spoofedRule.enabled && isSpoofed && !isAsymmetric('', spoofed, nowUs))
      tell(flow, all, {
        rule: 'spoofed-flood',
        title: 'Flood with made-up addresses',
        technique: 'T0814',
        source: '',
        destination: '',
        port: -1,
        evidence: `${spoofed} of ${all.count} connections in ${seconds(all, nowUs)}, from ${memberCount(all)} addresses, were never answered`,
        isUnanswered: true,
        timeUs: nowUs,
      });
  }

  /** Many different strangers at one host that answers none of them: too slow for a flood, too many for a mistake. */
  function knock(flow: Flow, nowUs: number): void {
    const victim = flow.wasReversed ? flow.client : flow.server;
    const window = knocks.add(victim, nowUs, flow.wasReversed ? flow.server : flow.client);
    if (!knockRule.enabled || memberCount(window) < knockRule.sources) return;
    if (isAsymmetric(victim, window.count, nowUs)) return;
    tell(flow, window, {
      rule: 'scan-distributed',
      title: 'Many strangers knock at one host',
      technique: 'T0846',
      source: '',
      destination: victim,
      port: -1,
      evidence: `${memberCount(window)} addresses tried ${victim} in ${seconds(window, nowUs)} and came to nothing`,
      isVictimClient: flow.wasReversed,
      isUnanswered: true,
      timeUs: nowUs,
    });
  }

  /**
   * Whether the server, or servers at large, are seen to accept connections whose opening was not seen: the two directions come by different ways, only
   * one of which is mirrored. What looks half open then is the mirror's half.
   */
  function isAsymmetric(server: string, halfOpen: number, nowUs: number): boolean {
    const all = everywhere.peek('', nowUs);
    const isAllOver =
      all !== undefined && acceptedElsewhere('', nowUs) * ASYMMETRIC_SHARE >= all.count - all.other;
    return isAllOver || acceptedElsewhere(server, nowUs) * ASYMMETRIC_SHARE >= halfOpen;
  }

  function acceptedElsewhere(server: string, nowUs: number): number {
    return elsewhere.peek(server, nowUs)?.count ?? 0;
  }
}

function countAnswered(window: CountedWindow | undefined, flow: Flow): void {
  if (window !== undefined && flow.startUs >= window.startUs) window.other++;
}
