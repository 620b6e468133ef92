/** Every detector there is, in the order in which they are told: the order is part of what makes two readings equal. */
import type { NetworkList } from '../asset/networks.ts';
import type { SensorBaseline } from '../asset/baseline.ts';
import { createAccessDetector } from './access-detector.ts';
import { createArpDetector } from './arp-detector.ts';
import { createBaselineDetector } from './baseline-detector.ts';
import { createBeaconDetector } from './beacon-detector.ts';
import { createChurnDetector } from './churn-detector.ts';
import { createControlDetector } from './control-detector.ts';
import { createDeadServiceDetector } from './dead-service-detector.ts';
import type { Detector, Report } from './detector.ts';
import { createDhcpDetector } from './dhcp-detector.ts';
import { createDirectoryDetector } from './directory-detector.ts';
import { createDnsDetector } from './dns-detector.ts';
import { createDnsSpoofingDetector } from './dns-spoofing-detector.ts';
import { createEnumerationDetector } from './enumeration-detector.ts';
import { createExploitDetector } from './exploit-detector.ts';
import { createFloodDetector } from './flood-detector.ts';
import { createForgedDetector } from './forged-detector.ts';
import { createGooseDetector } from './goose-detector.ts';
import { createIcmpDetector } from './icmp-detector.ts';
import { createInjectionDetector } from './injection-detector.ts';
import { createLateralDetector } from './lateral-detector.ts';
import { createLoginDetector } from './login-detector.ts';
import { createMessageFloodDetector } from './message-flood-detector.ts';
import { createMalwareDetector } from './malware-detector.ts';
import { createMirrorDetector } from './mirror-detector.ts';
import { createNewcomerDetector } from './newcomer-detector.ts';
import { createOtDetector } from './ot-detector.ts';
import { createOverrideDetector } from './override-detector.ts';
import { createPolicyDetector } from './policy-detector.ts';
import { createProbeDetector } from './probe-detector.ts';
import { createRelayDetector } from './relay-detector.ts';
import { createReplayDetector } from './replay-detector.ts';
import { createResetDetector } from './reset-detector.ts';
import type { Rules } from './rule-file.ts';
import { createScanDetector } from './scan-detector.ts';
import { createSubscriptionDetector } from './subscription-detector.ts';
import { createSuspectDetector } from './suspect-detector.ts';
import { createSwitchingDetector } from './switching-detector.ts';
import { createTransferDetector } from './transfer-detector.ts';
import { createUnansweredDetector } from './unanswered-detector.ts';
import { createViolationDetector } from './violation-detector.ts';
import { createWalkDetector } from './walk-detector.ts';
import { createWebDetector } from './web-detector.ts';

export function createDetectors(
  rules: Rules,
  internal: NetworkList,
  baseline: SensorBaseline | null,
  tell: Report,
): readonly Detector[] {
  const suspects = createSuspectDetector(rules, tell);
  const report: Report = (finding, flow) => {
    suspects.heard(finding);
    tell(finding, flow);
  };
  return [
    createScanDetector(rules, internal, report),
    createFloodDetector(rules, report),
    createLoginDetector(rules, report),
    createArpDetector(rules, report),
    createAccessDetector(rules, internal, report),
    createBeaconDetector(rules, internal, report),
    createDnsDetector(rules, report),
    createDnsSpoofingDetector(rules, report),
    createIcmpDetector(rules, report),
    createLateralDetector(rules, report),
    createDirectoryDetector(rules, report),
    createDhcpDetector(rules, report),
    createMalwareDetector(rules, report),
    createTransferDetector(rules, internal, report),
    createWebDetector(rules, report),
    createExploitDetector(rules, report),
    createEnumerationDetector(rules, report),
    createViolationDetector(rules, report),
    createOtDetector(rules, report),
    createGooseDetector(rules, report),
    createForgedDetector(rules, report),
    createMirrorDetector(rules, report),
    createProbeDetector(rules, report),
    createNewcomerDetector(rules, report),
    createOverrideDetector(rules, report),
    createSwitchingDetector(rules, report),
    createWalkDetector(rules, report),
    createRelayDetector(rules, report),
    createUnansweredDetector(rules, report),
    createChurnDetector(rules, report),
    createMessageFloodDetector(rules, report),
    createResetDetector(rules, report),
    createSubscriptionDetector(rules, report),
    createPolicyDetector(rules, internal, report),
    createDeadServiceDetector(rules, report),
    createReplayDetector(rules, report),
    createInjectionDetector(rules, report),
    createControlDetector(rules, report),
    suspects,
    ...(baseline === null ? [] : [createBaselineDetector(rules, internal, baseline, report)]),
  ];
}
