/** For tests: scenarios of what is done to controllers. */
import { tcp, udp, type Packet } from '../../packet/frame-testing.ts';
import { field, packet } from '../../protocol/mqtt-testing.ts';
import { GOOSE_GROUP, PUBLISHER, goose } from './publisher-testing.ts';
import { activateSession, writeNode } from './opcua-testing.ts';
import { connection, refused, modbus } from '../traffic-testing.ts';
import { SECOND, ATTACKER, VICTIM, type Scenario } from '../scenario-testing.ts';

/** The next request of one connection, to station `i`, and the server's acknowledgement. */
function stationAsked(i: number): Packet[] {
  const [client, server] = [`${ATTACKER}:5000`, `${VICTIM}:502`];
  const payload = Buffer.from(modbus(i, 3, 0, 0, 0, 1));
  payload[6] = i;
  const timeUs = i * 100_000 + 10_000;
  return [
    ...(i > 0 ? [] : connection(client, server, [], 0, false)),
    { timeUs, frame: tcp(client, server, 'PA', { sequence: 101 + 12 * i, payload }) },
    { timeUs: timeUs + 100, frame: tcp(server, client, 'A', { sequence: 501 }) },
  ];
}

/** One connection in which station after station is asked, and which ends each time. */
function stationVisited(i: number): Packet[] {
  const question = Buffer.from(modbus(i, 3, 0, 0, 0, 1));
  const answer = Buffer.from(modbus(i, 3, 2, 0, 7));
  question[6] = answer[6] = i;
  // The table notices ends a little later, when something else comes.
  return connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:502`, [['>', question], ['<', answer]], i * 100_000); // prettier-ignore
}

/** The operator asks who stands in the middle, who asks the controller. */
function passedOn(i: number): Packet[] {
  const question = modbus(i, 3, 0, 0, 0, 1);
  return [
    ...connection(`10.0.0.9:${5000 + i}`, `${ATTACKER}:502`, [['>', question]], i * SECOND),
    ...connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:502`, [['>', question]], i * SECOND + 20_000),
  ];
}

export const PLANT_SCENARIOS: readonly Scenario[] = [
  {
    rule: 'replayed-segment',
    rules: { replayed_segment: { copies: 6 } },
    threshold: 6,
    event: (i) => {
      const [client, server] = [`${ATTACKER}:5000`, `${VICTIM}:502`];
      const frame = tcp(client, server, 'PA', {
        sequence: 101,
        payload: Buffer.from(modbus(1, 3, 0, 0, 0, 1)),
      });
      return [
        ...(i > 0 ? [] : connection(client, server, [], 0, false)),
        { timeUs: i * 100_000 + 10_000, frame },
      ];
    },
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0855',
  },
  {
    rule: 'sensitive-access',
    rules: { sensitive_access: { ports: [7777] } },
    threshold: 1,
    event: (i) => connection('8.8.8.8:5000', `${VICTIM}:7777`, [['>', 'hello'], ['<', 'world']], i * SECOND), // prettier-ignore
    source: '8.8.8.8',
    destination: VICTIM,
    technique: 'T0886',
  },
  {
    rule: 'protocol-violation',
    rules: { protocol_violation: { violations: 3 } },
    threshold: 1,
    // A reading of no registers.
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:502`, [['>', modbus(i, 3, 0, 0, 0, 0)]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0855',
  },
  {
    rule: 'ot-program',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:502`, [['>', modbus(i, 90, 0, 0x34)]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0843',
  },
  {
    rule: 'ot-control',
    rules: {},
    threshold: 1,
    // IEC 60870-5-104, C_RP_NA_1: reset of the process.
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:2404`, [['>', Buffer.from('680e0000000069010600010000000001', 'hex')]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0816',
  },
  {
    rule: 'ot-discovery',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:502`, [['>', modbus(i, 43, 14, 1, 0)]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0888',
  },
  {
    rule: 'ot-probe',
    rules: { ot_probe: { units: 5 } },
    threshold: 5,
    // One connection, in which station after station is asked for; none answers, but the gateway is there.
    event: (i) => stationAsked(i),
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0846',
  },
  {
    rule: 'ot-suspect-command',
    rules: { scan_vertical: { ports: 5 } },
    threshold: 6,
    event: (i) =>
      i < 5
        ? refused(`${ATTACKER}:${40_000 + i}`, `${VICTIM}:${1000 + i}`, i * 100_000)
        : connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:502`, [['>', modbus(i, 6, 0, 1, 0, 2)]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0855',
  },
  {
    rule: 'ot-override',
    rules: {},
    threshold: 1,
    // BACnet: analog output 3, present value, with priority 5.
    event: (i) => [
      {
        timeUs: i * SECOND,
        frame: udp(`${ATTACKER}:${5000 + i}`, `${VICTIM}:47808`, {
          payload: Buffer.from('810a001a01040005010f0c0040000319553e4441ac00003f4905', 'hex'),
        }),
      },
    ],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0831',
  },
  {
    rule: 'opcua-anonymous',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:4840`, [['>', activateSession(1, 321)], ['>', writeNode(2)]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0855',
  },
  {
    rule: 'forged-publisher',
    rules: { forged_publisher: { contradictions: 3 } },
    threshold: 3,
    // Each event sends the state that there was, and another.
    event: (i) =>
      [0, 1].map((state) => ({ timeUs: i * SECOND + state * 500_000, frame: goose(1 + state, i, state, state) })), // prettier-ignore
    source: PUBLISHER,
    destination: GOOSE_GROUP,
    technique: 'T0856',
  },
  {
    rule: 'ot-first-write',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:502`, [['>', modbus(i, 6, 0, 1, 0, 2)]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0855',
  },
  {
    rule: 'ot-new-writer',
    rules: {},
    threshold: 4,
    // Somebody reads for a while; the fourth that speaks is another, and commands.
    event: (i) =>
      i < 3
        ? connection(`10.0.0.9:${5000 + i}`, `${VICTIM}:502`, [['>', modbus(i, 3, 0, 1, 0, 2)]], i * 40 * SECOND) // prettier-ignore
        : connection(`${ATTACKER}:5000`, `${VICTIM}:502`, [['>', modbus(9, 6, 0, 1, 0, 2)]], i * 40 * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0855',
  },
  {
    rule: 'ot-walk',
    rules: { ot_walk: { units: 5 } },
    threshold: 5,
    event: stationVisited,
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0846',
  },
  {
    rule: 'ot-switching',
    rules: { ot_switching: { controllers: 3 } },
    threshold: 3,
    // IEC 60870-5-104, C_SC_NA_1: one point on, at station after station.
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `10.0.1.${1 + i}:2404`, [['>', Buffer.from('680e000000002d010600010065040001', 'hex')]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: '',
    technique: 'T0855',
  },
  {
    rule: 'ot-relay',
    rules: { ot_relay: { requests: 4 } },
    // By the first it becomes known that it asks as well as it is asked.
    threshold: 5,
    event: passedOn,
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0830',
  },
  {
    rule: 'ot-unanswered',
    rules: { ot_unanswered: { requests: 5 } },
    threshold: 5,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:502`, [['>', modbus(i, 3, 0, 0, 0, 1)]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0814',
  },
  {
    rule: 'connection-churn',
    rules: { connection_churn: { connections: 5 } },
    threshold: 5,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:502`, [['>', modbus(i, 3, 0, 0, 0, 1)]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0888',
  },
  {
    rule: 'message-flood',
    rules: { message_flood: { messages: 5 } },
    threshold: 5,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:1883`, [['>', packet(0x30, field('a/b'), Buffer.from('7'))]], i * 100_000), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0814',
  },
  {
    rule: 'broad-subscription',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:1883`, [['>', packet(0x82, [0, 1], field('#'), [0])]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0861',
  },
];
