/** What a detector says when it sees something: the raw material of alerts. */

export const SEVERITIES = ['info', 'low', 'medium', 'high', 'critical'] as const;
/** `info` and `low` inform; from `medium` on, the flows in its scope count as malicious. */
export type Severity = (typeof SEVERITIES)[number];

export function severityRank(severity: Severity): number {
  return SEVERITIES.indexOf(severity);
}

/** Which flows a finding is about; what is left out is any. Addresses match either end unless `isDirected`. */
export interface Scope {
  readonly client?: string;
  /** Either end. */
  readonly host?: string;
  readonly server?: string;
  /** Between these two, whoever opened the flow. */
  readonly pair?: readonly [string, string];
  /** Of ICMP: the type. */
  readonly clientPort?: number;
  readonly serverPort?: number;
  readonly protocol?: number;
  readonly service?: string;
  /** Only flows that the server never answered. */
  readonly isUnanswered?: boolean;
  /** Flows that were alive in this time of packets. */
  fromUs: number;
  toUs: number;
}

/** A feature's part in a score. */
export interface FeatureShare {
  readonly name: string;
  readonly value: number;
  /** The score falls by this when the feature is put to the median of benign flows. */
  readonly contribution: number;
}

export interface Finding {
  /** Name of the rule or model, also the alert's kind: `scan-vertical`. */
  readonly rule: string;
  /** A sentence for the list of alerts. */
  readonly title: string;
  readonly severity: Severity;
  /** 0 to 1: how sure. */
  readonly score: number;
  /** MITRE ATT&CK for ICS technique (`T0846`), '' where none fits. */
  readonly technique: string;
  readonly timeUs: number;
  /** Who did it, to whom; '' where there is nobody to name. */
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  /** In words: `tcp`, `modbus`. */
  readonly protocol: string;
  /** Why, in words and with the numbers. */
  readonly evidence: string;
  /** Of a model: the features without which the score would be lower, and by how much. */
  readonly features?: readonly FeatureShare[];
  /** Findings of a rule with the same key are one alert that grows. */
  readonly group: string;
  readonly scope: Scope;
}
