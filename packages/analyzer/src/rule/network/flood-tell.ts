/** How the watches of the flood detector say what they found: a flood is of one protocol, and one alert for its victim, its port and its source, where it has one. */
import type { Scope, Severity } from '../../alert/finding.ts';
import type { Flow } from '../../flow/flow.ts';
import { protocolName } from '../detector.ts';
import type { CountedWindow } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';

/** By whom, '' for many; whom, '' for all; and where, -1 for all ports. */
export interface Flood extends Omit<Seen, 'rule' | 'fromUs'> {
  readonly rule:
    | 'syn-flood'
    | 'spoofed-flood'
    | 'scan-distributed'
    | 'connection-flood'
    | 'udp-flood'
    | 'icmp-flood'
    | 'reflection';
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  /** The victim never asked, and what comes are answers: it is the client of these flows. */
  readonly isVictimClient?: boolean;
  /** Only what was never answered is part of it. */
  readonly isUnanswered?: boolean;
}

/** `window`: what was counted, since it began. */
export type TellFlood = (flow: Flow, window: CountedWindow, flood: Flood) => void;

export function createFloodTell(rules: Rules, tell: Tell): TellFlood {
  const severities: Readonly<Record<Flood['rule'], Severity>> = {
    'syn-flood': rules.syn_flood.severity,
    'spoofed-flood': rules.spoofed_flood.severity,
    'scan-distributed': rules.scan_distributed.severity,
    'connection-flood': rules.connection_flood.severity,
    'udp-flood': rules.udp_flood.severity,
    'icmp-flood': rules.icmp_flood.severity,
    reflection: rules.reflection.severity,
  };
  return (flow, window, { isVictimClient = false, isUnanswered = false, ...flood }) => {
    const { source, destination, port, severity = severities[flood.rule] } = flood;
    const { protocol } = flow;
    const scope: { -readonly [K in keyof Scope]?: Scope[K] } = { protocol };
    if (destination !== '') scope[isVictimClient ? 'client' : 'server'] = destination;
    if (source !== '') scope[isVictimClient ? 'server' : 'client'] = source;
    if (port !== -1) scope.serverPort = port;
    if (isUnanswered) scope.isUnanswered = true;
    tell(flow, {
      ...flood,
      severity,
      score: 0.95,
      protocol: protocolName(protocol),
      group: `${source} ${destination} ${port} ${protocol} ${severity === 'low' ? 'slow' : ''}`,
      scope,
      fromUs: window.startUs,
    });
  };
}
