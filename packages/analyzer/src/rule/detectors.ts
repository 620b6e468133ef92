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
  const found: Report = (finding, flow) => {
    suspects.heard(finding);
    report(finding, flow);
  };
  const tell = createTell(rules, found);
  return [
    createScanDetector(rules, internal, found),
    createFloodDetector(rules, found),
    createLoginDetector(rules, tell),
    createArpDetector(rules, found),
    createAccessDetector(rules, internal, found),
    createBeaconDetector(rules, internal, found),
    createDnsDetector(rules, found),
    createDnsSpoofingDetector(rules, found),
    createIcmpDetector(rules, found),
    createLateralDetector(rules, tell),
    createDirectoryDetector(rules, tell),
    createDhcpDetector(rules, found),
    createMalwareDetector(rules, tell),
    createTransferDetector(rules, internal, tell),
    createWebDetector(rules, tell),
    createExploitDetector(rules, tell),
    createEnumerationDetector(rules, tell),
    createViolationDetector(rules, tell),
    createOtDetector(rules, tell),
    createGooseDetector(rules, tell),
    createForgedDetector(rules, tell),
    createMirrorDetector(rules, found),
    createProbeDetector(rules, tell),
    createNewcomerDetector(rules, tell),
    createOverrideDetector(rules, tell),
    createSwitchingDetector(rules, tell),
    createWalkDetector(rules, tell),
    createRelayDetector(rules, tell),
    createUnansweredDetector(rules, tell),
    createChurnDetector(rules, tell),
    createMessageFloodDetector(rules, tell),
    createResetDetector(rules, found),
    createSubscriptionDetector(rules, tell),
    createPolicyDetector(rules, internal, tell),
    createDeadServiceDetector(rules, found),
    createReplayDetector(rules, tell),
    createInjectionDetector(rules, found),
    createControlDetector(rules, tell),
    suspects,
    ...(baseline === null ? [] : [createBaselineDetector(rules, internal, baseline, tell)]),
  ];
}
