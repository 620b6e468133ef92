/** Protocol violations: a sender whose messages break their protocol's own rules again and again. One may be a cut capture; a series is a tool, or a broken device. */
import type { Detector, Report } from './detector.ts';
import { KeyedWindows } from './keyed-window.ts';
import type { Rules } from './rule-file.ts';
import { seconds } from './scan-detector.ts';

export function createViolationDetector(rules: Rules, report: Report): Detector {
  const rule = rules.protocol_violation;
  const violations = new KeyedWindows(rule.within * 1000);
  return {
    state: { violations },
    violation(flow, protocol, reason, nowUs) {
      if (!rule.enabled) return;
      const key = `${flow.client} ${flow.server} ${protocol} ${reason}`;
      const window = violations.add(key, nowUs);
      if (window.count < rule.violations) return;
      report(
        {
          rule: 'protocol-violation',
          title: `${protocol} is not spoken as it should be`,
          severity: rule.severity,
          score: 0.7,
          technique: 'T0855',
          timeUs: nowUs,
          source: flow.client,
          destination: flow.server,
          port: flow.serverPort,
          protocol,
          evidence: `${window.count} times in ${seconds(window, nowUs)}: ${reason}`,
          group: key,
          scope: { client: flow.client, server: flow.server, service: flow.service, fromUs: window.startUs, toUs: nowUs }, // prettier-ignore
        },
        flow,
      );
    },
  };
}
