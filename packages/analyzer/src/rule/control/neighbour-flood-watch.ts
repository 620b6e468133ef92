/** Neighbours that are made up by the hundred (CDP, LLDP): each takes a place in the memory of whoever listens, until a switch has none left. */
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import { NOBODY, type Tell } from '../tell.ts';

export interface NeighbourFloodWatch {
  /** A message that names `device`; -1 names none. */
  message(protocol: 'cdp' | 'lldp', device: number, timeUs: number): void;
  readonly state: Record<string, unknown>;
}

export function createNeighbourFloodWatch(rules: Rules, tell: Tell): NeighbourFloodWatch {
  const rule = rules.discovery_flood;
  const devices = new KeyedWindows(rule.within * 1000, 2);
  return {
    state: { devices },
    message(protocol, device, timeUs) {
      if (device === -1 || !rule.enabled) return;
      const window = devices.at(protocol, timeUs);
      const before = memberCount(window);
      devices.add(protocol, timeUs, device);
      const count = memberCount(window);
      if (count === before || count % rule.neighbours !== 0) return;
      tell(null, {
        rule: 'discovery-flood',
        title: 'More neighbours than there can be',
        technique: 'T0814',
        protocol,
        source: '',
        evidence: `${count} different devices said in ${seconds(window, timeUs)} that they are neighbours`,
        group: protocol,
        scope: NOBODY,
        fromUs: Math.min(window.startUs, timeUs),
        timeUs,
      });
    },
  };
}
