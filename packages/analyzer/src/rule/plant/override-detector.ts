/**
 * Commands past those who should have a say: a point of a building that is written with a priority above its automation's, and an OPC UA server that is written to by a client which
 * did not say who it is. Both are done every day somewhere, and both are what an intruder does first.
 */
import type { Severity } from '../../alert/finding.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Detector, Report } from '../detector.ts';
import type { Rules } from '../rule-file.ts';

const PRIORITY = 'write-priority';

export function createOverrideDetector(rules: Rules, report: Report): Detector {
  function found(
    rule: 'ot_override' | 'opcua_anonymous',
    title: string,
    severity: Severity,
    flow: Flow,
    evidence: string,
    nowUs: number,
  ): void {
    report(
      {
        rule: rule.replaceAll('_', '-'),
        title,
        severity,
        score: 0.6,
        technique: rule === 'ot_override' ? 'T0831' : 'T0855',
        timeUs: nowUs,
        source: flow.client,
        destination: flow.server,
        port: flow.serverPort,
        protocol: flow.service,
        evidence,
        group: `${flow.client} ${flow.server}`,
        scope: { client: flow.client, server: flow.server, service: flow.service, fromUs: flow.startUs, toUs: nowUs }, // prettier-ignore
      },
      flow,
    );
  }

  return {
    state: {},

    fact(flow, key, value, nowUs) {
      const rule = rules.ot_override;
      if (key !== PRIORITY || !rule.enabled) return;
      const [priority = '', object = ''] = value.split(' ');
      const severity = Number(priority) <= rule.priority ? rule.severity : 'low';
      found('ot_override', 'A point is taken from its automation', severity, flow, `${flow.client} writes ${object} with priority ${priority}`, nowUs); // prettier-ignore
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol !== 'opcua' || operation.isResponse || !rules.opcua_anonymous.enabled) return;
      const { action, name, object } = operation;
      if ((action !== 'write' && action !== 'control') || flow.facts['user-token'] !== 'anonymous') return;
      found('opcua_anonymous', 'An OPC UA client that did not say who it is commands', rules.opcua_anonymous.severity, flow, `${flow.client} sends ${name}${object === '' ? '' : ` of ${object}`} in an anonymous session`, nowUs); // prettier-ignore
    },
  };
}
