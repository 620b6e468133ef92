/** For tests: scenarios of the rules about services of Unix hosts and telephones. */
import { udp } from '../../packet/frame-testing.ts';
import { rpcCall } from '../../protocol/rpc-testing.ts';
import { sipMessage } from '../../protocol/services-testing.ts';
import { ATTACKER, SECOND, type Scenario } from '../scenario-testing.ts';

export const SERVICE_SCENARIOS: readonly Scenario[] = [
  {
    rule: 'rpc-enumeration',
    rules: {},
    threshold: 1,
    event: (i) => [{ timeUs: i * SECOND, frame: udp(`${ATTACKER}:700`, '10.0.0.2:111', { payload: rpcCall(100_000, 2, 4) }) }], // prettier-ignore
    source: ATTACKER,
    destination: '10.0.0.2',
    technique: 'T0888',
  },
  {
    rule: 'sip-scan',
    rules: { sip_scan: { hosts: 5 } },
    threshold: 5,
    event: (i) => [{ timeUs: i * SECOND, frame: udp(`${ATTACKER}:5060`, `10.0.1.${1 + i}:5060`, { payload: Buffer.from(sipMessage(`OPTIONS sip:100@10.0.1.${1 + i} SIP/2.0`, '100', `b${i}`)) }) }], // prettier-ignore
    source: ATTACKER,
    destination: '',
    technique: 'T0846',
  },
];
