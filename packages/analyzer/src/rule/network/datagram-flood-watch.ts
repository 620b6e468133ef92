/** Floods of packets without a connection: UDP that is hardly answered, and ICMP. */
import type { Flow } from '../../flow/flow.ts';
import { addMember, KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { TellFlood } from './flood-tell.ts';

/** Share of packets that were answered, below which nobody wants them. */
const ANSWERED_SHARE = 0.1;
/** More clients are not told apart. */
const CLIENTS_MAX = 64;
/** Type of an echo request (RFC 792). */
const ICMP_ECHO = 8;
const ICMP_UNREACHABLE = 3;
/** Unreachable answers something else, and many of them may; beyond so many times as many they are sent for their own sake. */
const ERROR_FACTOR = 10;

export interface DatagramFloodWatch {
  /** To or from a single host. */
  udp(flow: Flow, isFromClient: boolean, nowUs: number): void;
  /** From the client, of that type. */
  icmp(flow: Flow, type: number, nowUs: number): void;
  readonly state: Record<string, unknown>;
}

export function createDatagramFloodWatch(rules: Rules, tell: TellFlood): DatagramFloodWatch {
  const { udp_flood: udpRule, icmp_flood: icmpRule } = rules;
  /** By server; `count` is what it was sent, `other` what it sent, members are clients. */
  const udp = new KeyedWindows(udpRule.within * 1000);
  const icmp = new KeyedWindows(icmpRule.within * 1000);

  return {
    state: { udp, icmp },

    udp(flow, isFromClient, nowUs) {
      const { client, server } = flow;
      const window = udp.at(server, nowUs);
      if (isFromClient) window.count++;
      else window.other++;
      if (memberCount(window) < CLIENTS_MAX) addMember(window, client);
      if (!isFromClient || window.count < udpRule.packets || !udpRule.enabled) return;
      if (window.other >= ANSWERED_SHARE * window.count) return;
      tell(flow, window, {
        rule: 'udp-flood',
        title: 'UDP flood',
        technique: 'T0814',
        source: memberCount(window) === 1 ? client : '',
        destination: server,
        port: -1,
        evidence: `${window.count} UDP packets to ${server} in ${seconds(window, nowUs)}, ${window.other} answered`,
        timeUs: nowUs,
      });
    },

    icmp(flow, type, nowUs) {
      const isError = type === ICMP_UNREACHABLE;
      if (type !== ICMP_ECHO && !isError) return;
      const { client, server } = flow;
      const window = icmp.add(isError ? `${server} unreachable` : server, nowUs, client);
      if (!icmpRule.enabled || window.count < icmpRule.packets * (isError ? ERROR_FACTOR : 1)) return;
      tell(flow, window, {
        rule: 'icmp-flood',
        title: 'ICMP flood',
        technique: 'T0814',
        source: memberCount(window) === 1 ? client : '',
        destination: server,
        port: -1,
        evidence: `${window.count} ICMP packets to ${server} in ${seconds(window, nowUs)}, from ${memberCount(window)} addresses`,
        timeUs: nowUs,
      });
    },
  };
}
