/** How the watches of the control detector say what they found: the parts of a finding that differ, the rest is filled in. */
import type { Scope, Severity } from '../../alert/finding.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Report } from '../detector.ts';

export interface Told {
  readonly rule: string;
  readonly title: string;
  readonly severity: Severity;
  readonly technique: string;
  readonly protocol: string;
  readonly source: string;
  readonly destination?: string;
  readonly port?: number;
  readonly evidence: string;
  /** Within the rule: what is said about the same thing again is the same alert. */
  readonly group: string;
  readonly scope: Omit<Scope, 'fromUs' | 'toUs'>;
  readonly timeUs: number;
  /** Since when; the finding's own time without it. */
  readonly fromUs?: number;
}

export type Tell = (told: Told, flow: Flow | null) => void;

/** Made up by the thousand: no flow bears it. */
export const NOBODY: Omit<Scope, 'fromUs' | 'toUs'> = { client: '' };

export function createTell(report: Report): Tell {
  return ({ fromUs, scope, destination = '', port = -1, ...rest }, flow) => {
    const { timeUs } = rest;
    report(
      {
        ...rest,
        destination,
        port,
        score: rest.severity === 'low' ? 0.6 : 0.85,
        scope: { ...scope, fromUs: Math.min(fromUs ?? timeUs, timeUs), toUs: timeUs },
      },
      flow,
    );
  };
}
