/** Protocol violations: a sender whose messages break their protocol's own rules again and again. One may be a cut capture; a series is a tool, or a broken device. In the plant's own protocols, that is: software for offices does as it likes. */
import { PLANT_SERVICES } from '../../asset/inventory.ts';
import type { Detector } from '../detector.ts';
import { CONTRADICTIONS } from './forged-detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** What a lossy capture, redundant paths, a restart or a loop do to counts that are right: told once, and never loud. */
const LOSSES: ReadonlySet<string> = new Set([
  'sqNum skipped',
  'application sequence jumps',
  'new stNum without sqNum 0',
  'sqNum went back without a new stNum',
  'stNum went back',
  'smpCnt went back',
  'silent beyond timeAllowedtoLive',
]);

export function createViolationDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.protocol_violation;
  const violations = new KeyedWindows(rule.within * 1000);
  return {
    state: { violations },
    violation(flow, protocol, reason, nowUs) {
      if (!rule.enabled || CONTRADICTIONS.has(reason)) return;
      const key = `${flow.client} ${flow.server} ${protocol} ${reason}`;
      const window = violations.add(key, nowUs);
      const isSeries = window.count >= rule.violations;
      // One may be a cut capture or a restart: it is told, and does not raise its voice.
      if (!isSeries && window.count > 1) return;
      tell(flow, {
        rule: 'protocol-violation',
        title: `${protocol} is not spoken as it should be`,
        severity: isSeries && PLANT_SERVICES.has(protocol) && !LOSSES.has(reason) ? rule.severity : 'low',
        score: 0.7,
        technique: 'T0855',
        protocol,
        evidence: `${window.count} times in ${seconds(window, nowUs)}: ${reason}`,
        group: key,
        scope: { client: flow.client, server: flow.server, service: flow.service },
        fromUs: window.startUs,
        timeUs: nowUs,
      });
    },
  };
}
