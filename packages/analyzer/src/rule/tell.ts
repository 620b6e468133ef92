/**
 * How detectors say what they found. A call reads as a sentence: what was seen, who did it to whom, and the evidence; what is the same in most findings is
 * filled in here. A finding about a flow is, where nothing else is said, about what its client did to its server since it began.
 *
 * Called when something was found and only then: no packet pays for the objects that are made here.
 */
import type { Scope, Severity } from '../alert/finding.ts';
import type { Flow } from '../flow/flow.ts';
import { protocolName, type Report } from './detector.ts';
import type { Rules } from './rule-file.ts';

type RuleKey = Exclude<keyof Rules, 'internal_networks'>;
type Dashed<Key extends string> = Key extends `${infer Head}_${infer Tail}` ? `${Head}-${Dashed<Tail>}` : Key;

/** Alerts with a name of their own, and whose settings they share. */
const SETTINGS = {
  'dns-generated-names': 'dns_tunnel',
  'dns-unusual-type': 'dns_tunnel',
  'dns-zone-transfer': 'dns_tunnel',
  'nameless-http': 'file_transfer',
  'ndp-scan': 'arp_scan',
} as const satisfies Readonly<Record<string, RuleKey>>;

/** A rule as its alerts bear it: `scan-vertical`. */
export type RuleName = Dashed<RuleKey> | keyof typeof SETTINGS;

/** What a scope says beside its times. */
export type Whose = Omit<Scope, 'fromUs' | 'toUs'>;

/** Made up by the thousand: no flow bears it. */
export const NOBODY: Whose = { client: '' };

export interface Told {
  readonly rule: RuleName;
  /** A sentence for the list of alerts. */
  readonly title: string;
  /** The one in the rule's settings without it. */
  readonly severity?: Severity;
  /** 0 to 1: how sure. Without it 0.85, or 0.6 for what is low. */
  readonly score?: number;
  /** MITRE ATT&CK for ICS. */
  readonly technique: string;
  /** Who did it, to whom and where; without them the flow's client, its server, its port and its service (or transport). '' and -1: nobody, and no port. */
  readonly source?: string;
  readonly destination?: string;
  readonly port?: number;
  readonly protocol?: string;
  /** Why, in words and with the numbers. */
  readonly evidence: string;
  /** Within the rule: what is said about the same thing again is the same alert. */
  readonly group: string;
  /** The flows that it is about, among those that were alive in its time. */
  readonly scope: Whose;
  /** Since when: the flow's start without it, and where there is no flow `timeUs`. */
  readonly fromUs?: number;
  /** Until when: `timeUs` without it. */
  readonly toUs?: number;
  readonly timeUs: number;
}

/** What was seen and when: what is left to say where a detector fills in itself who did it to whom. */
export type Seen = Pick<Told, 'rule' | 'title' | 'severity' | 'technique' | 'evidence' | 'fromUs' | 'timeUs'>;

/** `flow`: the one that it is about, when it is one. */
export type Tell = (flow: Flow | null, told: Told) => void;

export function createTell(rules: Rules, report: Report): Tell {
  const severities = severitiesOf(rules);
  return (flow, told) => {
    const { rule, timeUs } = told;
    const severity = told.severity ?? severities[rule];
    report(
      {
        rule,
        title: told.title,
        severity,
        score: told.score ?? (severity === 'low' ? 0.6 : 0.85),
        technique: told.technique,
        timeUs,
        source: told.source ?? flow?.client ?? '',
        destination: told.destination ?? flow?.server ?? '',
        port: told.port ?? flow?.serverPort ?? -1,
        protocol: told.protocol ?? (flow === null ? '' : flow.service || protocolName(flow.protocol)),
        evidence: told.evidence,
        group: told.group,
        scope: { ...told.scope, fromUs: told.fromUs ?? flow?.startUs ?? timeUs, toUs: told.toUs ?? timeUs },
      },
      flow,
    );
  };
}

function severitiesOf(rules: Rules): Readonly<Record<RuleName, Severity>> {
  const severities: Record<string, Severity> = {};
  for (const [key, rule] of Object.entries(rules))
    if ('severity' in rule) severities[key.replaceAll('_', '-')] = rule.severity;
  for (const [name, key] of Object.entries(SETTINGS)) severities[name] = rules[key].severity;
  return severities as Record<RuleName, Severity>;
}
