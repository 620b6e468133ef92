/** For tests: scenarios of those who look for what there is: ports, hosts, protocols, kinds of systems. */
import { arp, ip, tcp } from '../../packet/frame-testing.ts';
import { CLIENT_HELLO, connection, knock, refused, modbus } from '../traffic-testing.ts';
import { SECOND, ATTACKER, VICTIM, MAC_A, type Scenario } from '../scenario-testing.ts';

const NOBODY = '00:00:00:00:00:00';
const slow = { vertical: { ports: 1000 }, horizontal: { hosts: 1000 } };

export const SCAN_SCENARIOS: readonly Scenario[] = [
  {
    rule: 'scan-vertical',
    rules: { scan_vertical: { ports: 5 } },
    threshold: 5,
    event: (i) => refused(`${ATTACKER}:${40_000 + i}`, `${VICTIM}:${1000 + i}`, i * 100_000),
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0846',
  },
  {
    rule: 'scan-horizontal',
    rules: { scan_horizontal: { hosts: 5 } },
    threshold: 5,
    event: (i) => [knock(`${ATTACKER}:40000`, `10.0.1.${1 + i}:502`, i * 100_000)],
    source: ATTACKER,
    destination: '',
    technique: 'T0846',
  },
  {
    rule: 'scan-slow',
    rules: { scan_slow: { targets: 6 }, scan_vertical: slow.vertical },
    threshold: 6,
    event: (i) => refused(`${ATTACKER}:${40_000 + i}`, `${VICTIM}:${1000 + i}`, i * 400 * SECOND),
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0846',
  },
  {
    rule: 'scan-distributed',
    rules: { scan_distributed: { sources: 6 } },
    threshold: 6,
    event: (i) => [knock(`8.8.${i}.1:40000`, `${VICTIM}:${8000 + i}`, i * SECOND)],
    source: '',
    destination: VICTIM,
    technique: 'T0846',
  },
  {
    rule: 'scan-protocol',
    rules: { scan_protocol: { protocols: 3 } },
    threshold: 3,
    event: (i) => [{ timeUs: i * 1000, frame: ip(ATTACKER, VICTIM, 200 + i, Buffer.alloc(8)) }],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0846',
  },
  {
    rule: 'arp-scan',
    rules: { arp_scan: { hosts: 5 } },
    threshold: 5,
    event: (i) => [{ timeUs: i * 1000, frame: arp(1, MAC_A, ATTACKER, NOBODY, `10.0.0.${100 + i}`) }],
    source: MAC_A,
    destination: '',
    technique: 'T0846',
  },
  {
    rule: 'scan-version',
    rules: {},
    threshold: 4,
    event: (i) => {
      const words = ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', CLIENT_HELLO, 'SSH-2.0-probe\r\n', modbus(1, 43, 14, 1, 0), 'USER probe..\r\n']; // prettier-ignore
      return connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:10201`, [['>', words[i] ?? '']], i * SECOND);
    },
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0846',
  },
  {
    rule: 'scan-flags',
    rules: { scan_flags: { packets: 4 } },
    threshold: 4,
    event: (i) => [{ timeUs: i * SECOND, frame: tcp(`${ATTACKER}:5000`, `${VICTIM}:80`, 'SF') }],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0846',
  },
];
