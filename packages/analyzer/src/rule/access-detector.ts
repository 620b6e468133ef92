/** Access to sensitive services from outside: a conversation with a PLC's or a remote shell's port that really took place, by a client that is not on the allow-list. */
import { NetworkList, isGroupAddress } from '../asset/networks.ts';
import { PROTO_TCP, PROTO_UDP } from '../packet/packet-view.ts';
import { protocolName, type Detector, type Report } from './detector.ts';
import type { Rules } from './rule-file.ts';

export function createAccessDetector(rules: Rules, report: Report): Detector {
  const rule = rules.sensitive_access;
  const ports = new Set(rule.ports);
  const allowed = new NetworkList(rule.allow);
  return {
    state: {},
    flowAnswered(flow, nowUs) {
      if (!rule.enabled || !ports.has(flow.serverPort) || isGroupAddress(flow.server)) return;
      if (flow.protocol !== PROTO_TCP && flow.protocol !== PROTO_UDP) return;
      if (allowed.has(flow.client)) return;
      report(
        {
          rule: 'sensitive-access',
          title: 'A sensitive port was used from outside the allow-list',
          severity: rule.severity,
          score: 0.6,
          technique: 'T0886',
          timeUs: nowUs,
          source: flow.client,
          destination: flow.server,
          port: flow.serverPort,
          protocol: protocolName(flow.protocol),
          evidence: `${flow.client} talks with ${flow.server} port ${flow.serverPort} and is on no list of those who may`,
          group: `${flow.client} ${flow.serverPort}`,
          scope: { client: flow.client, serverPort: flow.serverPort, fromUs: flow.startUs, toUs: nowUs }, // prettier-ignore
        },
        flow,
      );
    },
  };
}
