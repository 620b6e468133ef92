/** Commands from a host that other rules have caught looking around: who scanned, felt a controller, guessed a password or broke in, and now writes, is no operator. */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { OT_SERVICES } from '../../asset/inventory.ts';
import { severityRank, type Finding, type Severity } from '../../alert/finding.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

const SUSPECTS_MAX = 4096;
/** The rules' findings that make a suspect of their source. */
const SUSPICIOUS =
  /^(scan-vertical|scan-horizontal|scan-slow|scan-protocol|ot-probe|ot-walk|brute-force|exploit)$/;

export interface SuspectDetector extends Detector {
  /** Told of everything that the other rules find, before it is reported. */
  heard(finding: Finding): void;
}

export function createSuspectDetector(rules: Rules, tell: Tell): SuspectDetector {
  const rule = rules.ot_suspect_command;
  /** Address → when it was caught last. */
  const suspects = new Map<string, number>();
  /** And by which rule. */
  const reasons = new Map<string, string>();

  return {
    state: { suspects, reasons },

    heard({ rule: name, source, timeUs }) {
      if (source === '' || !SUSPICIOUS.test(name)) return;
      if (!suspects.has(source) && suspects.size >= SUSPECTS_MAX) {
        dropOldest(suspects);
        dropOldest(reasons);
      }
      suspects.set(source, timeUs);
      reasons.set(source, name);
    },

    operation(flow, operation, nowUs) {
      if (
        suspects.size === 0 ||
        operation.isResponse ||
        !rule.enabled ||
        !OT_SERVICES.has(operation.protocol)
      )
        return;
      const { action, name, object, protocol } = operation;
      if (action !== 'write' && action !== 'control' && action !== 'program') return;
      const [source, destination] = operation.isFromClient
        ? [flow.client, flow.server]
        : [flow.server, flow.client];
      const caughtUs = suspects.get(source);
      if (caughtUs === undefined || nowUs - caughtUs > rule.within * 1000) return;
      const reason = reasons.get(source) ?? '';
      tell(flow, {
        rule: 'ot-suspect-command',
        title: 'A host that looked around commands a controller',
        severity:
          reason === 'ot-probe' || reason === 'ot-walk' ? atMost(rule.severity, 'medium') : rule.severity,
        score: 0.9,
        technique: 'T0855',
        source,
        destination,
        protocol,
        evidence: `${source} sends ${name}${object === '' ? '' : ` of ${object}`} to ${destination} ${Math.round((nowUs - caughtUs) / 1e6)} s after ${reason}`,
        group: `${source} ${destination} ${protocol}`,
        scope: { client: flow.client, server: flow.server, service: flow.service },
        timeUs: nowUs,
      });
    },
  };
}

/** A tool that tries every function tries those that write, too: that alone is not yet somebody who means it. */
function atMost(severity: Severity, limit: Severity): Severity {
  return severityRank(severity) > severityRank(limit) ? limit : severity;
}
