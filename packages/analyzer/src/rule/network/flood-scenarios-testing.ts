/** For tests: scenarios of those who send more than a service can mean. */
import { icmp, udp } from '../../packet/frame-testing.ts';
import { connection, knock } from '../traffic-testing.ts';
import { ATTACKER, VICTIM, type Scenario } from '../scenario-testing.ts';

export const FLOOD_SCENARIOS: readonly Scenario[] = [
  {
    rule: 'syn-flood',
    rules: { syn_flood: { half_open: 10 } },
    threshold: 10,
    event: (i) => [knock(`${ATTACKER}:${1024 + i}`, `${VICTIM}:80`, i * 1000)],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0814',
  },
  {
    rule: 'spoofed-flood',
    rules: { spoofed_flood: { half_open: 10 } },
    threshold: 10,
    event: (i) => [knock(`8.8.8.${i}:4000`, `10.0.2.${1 + i}:80`, i * 1000)],
    source: '',
    destination: '',
    technique: 'T0814',
  },
  {
    rule: 'connection-flood',
    rules: { connection_flood: { connections: 10 } },
    threshold: 10,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:9999`, [['>', 'hello'], ['<', 'world']], i * 100_000), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0814',
  },
  {
    rule: 'udp-flood',
    rules: { udp_flood: { packets: 10 } },
    threshold: 10,
    event: (i) => [{ timeUs: i * 1000, frame: udp(`${ATTACKER}:5000`, `${VICTIM}:9999`, { payload: 100 }) }],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0814',
  },
  {
    rule: 'icmp-flood',
    rules: { icmp_flood: { packets: 10 } },
    threshold: 10,
    event: (i) => [{ timeUs: i * 1000, frame: icmp(ATTACKER, VICTIM, 8, 0, { payload: 100 }) }],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0814',
  },
  {
    rule: 'reflection',
    rules: { reflection: { packets: 8 } },
    threshold: 8,
    event: (i) => [
      { timeUs: i * 1000, frame: udp(`9.9.9.${i % 6}:53`, `${VICTIM}:50000`, { payload: 900 }) },
    ],
    source: '',
    destination: VICTIM,
    technique: 'T0814',
  },
];
