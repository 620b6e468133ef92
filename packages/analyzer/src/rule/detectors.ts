/** Every detector there is, in the order in which they are told: the order is part of what makes two readings equal. */
import type { NetworkList } from '../asset/networks.ts';
import type { SensorBaseline } from '../asset/baseline.ts';
import { createAccessDetector } from './network/access-detector.ts';
import { createArpDetector } from './network/arp-detector.ts';
import { createBaselineDetector } from './plant/baseline-detector.ts';
import { createBeaconDetector } from './network/beacon-detector.ts';
import { createChurnDetector } from './plant/churn-detector.ts';
import { createControlDetector } from './control/control-detector.ts';
import { createDeadServiceDetector } from './network/dead-service-detector.ts';
import type { Detector, Report } from './detector.ts';
import { createDhcpDetector } from './network/dhcp-detector.ts';
import { createDirectoryDetector } from './host/directory-detector.ts';
import { createDnsDetector } from './network/dns-detector.ts';
import { createDnsSpoofingDetector } from './network/dns-spoofing-detector.ts';
import { createEnumerationDetector } from './host/enumeration-detector.ts';
import { createExploitDetector } from './host/exploit-detector.ts';
import { createFloodDetector } from './network/flood-detector.ts';
import { createForgedDetector } from './plant/forged-detector.ts';
import { createGooseDetector } from './plant/goose-detector.ts';
import { createIcmpDetector } from './network/icmp-detector.ts';
import { createInjectionDetector } from './network/injection-detector.ts';
import { createLateralDetector } from './host/lateral-detector.ts';
import { createLoginDetector } from './host/login-detector.ts';
import { createMessageFloodDetector } from './plant/message-flood-detector.ts';
import { createMalwareDetector } from './host/malware-detector.ts';
import { createMirrorDetector } from './network/mirror-detector.ts';
import { createNewcomerDetector } from './plant/newcomer-detector.ts';
import { createOtDetector } from './plant/ot-detector.ts';
import { createOverrideDetector } from './plant/override-detector.ts';
import { createPolicyDetector } from './host/policy-detector.ts';
import { createProbeDetector } from './plant/probe-detector.ts';
import { createRelayDetector } from './plant/relay-detector.ts';
import { createReplayDetector } from './plant/replay-detector.ts';
import { createResetDetector } from './network/reset-detector.ts';
import type { Rules } from './rule-file.ts';
import { createScanDetector } from './network/scan-detector.ts';
import { createSubscriptionDetector } from './plant/subscription-detector.ts';
import { createSuspectDetector } from './plant/suspect-detector.ts';
import { createSwitchingDetector } from './plant/switching-detector.ts';
import { createTell } from './tell.ts';
import { createTransferDetector } from './host/transfer-detector.ts';
import { createUnansweredDetector } from './plant/unanswered-detector.ts';
import { createViolationDetector } from './plant/violation-detector.ts';
import { createWalkDetector } from './plant/walk-detector.ts';
import { createWebDetector } from './host/web-detector.ts';

export function createDetectors(
  rules: Rules,
  internal: NetworkList,
  baseline: SensorBaseline | null,
  report: Report,
): readonly Detector[] {
  const suspects = createSuspectDetector(rules, createTell(rules, report));
  const tell = createTell(rules, (finding, flow) => {
    suspects.heard(finding);
    report(finding, flow);
  });
  return [
    createScanDetector(rules, internal, tell),
    createFloodDetector(rules, tell),
    createLoginDetector(rules, tell),
    createArpDetector(rules, tell),
    createAccessDetector(rules, internal, tell),
    createBeaconDetector(rules, internal, tell),
    createDnsDetector(rules, tell),
    createDnsSpoofingDetector(rules, tell),
    createIcmpDetector(rules, tell),
    createLateralDetector(rules, tell),
    createDirectoryDetector(rules, tell),
    createDhcpDetector(rules, tell),
    createMalwareDetector(rules, tell),
    createTransferDetector(rules, internal, tell),
    createWebDetector(rules, tell),
    createExploitDetector(rules, tell),
    createEnumerationDetector(rules, tell),
    createViolationDetector(rules, tell),
    createOtDetector(rules, tell),
    createGooseDetector(rules, tell),
    createForgedDetector(rules, tell),
    createMirrorDetector(rules, tell),
    createProbeDetector(rules, tell),
    createNewcomerDetector(rules, tell),
    createOverrideDetector(rules, tell),
    createSwitchingDetector(rules, tell),
    createWalkDetector(rules, tell),
    createRelayDetector(rules, tell),
    createUnansweredDetector(rules, tell),
    createChurnDetector(rules, tell),
    createMessageFloodDetector(rules, tell),
    createResetDetector(rules, tell),
    createSubscriptionDetector(rules, tell),
    createPolicyDetector(rules, internal, tell),
    createDeadServiceDetector(rules, tell),
    createReplayDetector(rules, tell),
    createInjectionDetector(rules, tell),
    createControlDetector(rules, tell),
    suspects,
    ...(baseline === null ? [] : [createBaselineDetector(rules, internal, baseline, tell)]),
  ];
}
