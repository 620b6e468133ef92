/** For tests: scenarios of what is done to a network beside scans and floods: lies about addresses, tunnels, connections that others break, ways that nobody wants. */
import { arp, icmp, tcp, udp, type Packet } from '../../packet/frame-testing.ts';
import {
  CLIENT_HELLO,
  SERVER_HELLO,
  dhcp,
  connection,
  knock,
  refused,
  modbus,
  dnsAnswer,
  dns,
  randomLabel,
} from '../traffic-testing.ts';
import { SECOND, ATTACKER, VICTIM, MAC_A, MAC_B, type Scenario } from '../scenario-testing.ts';

/** A connection that is reset in its client's name, who goes on with it. */
function tornDown(i: number): Packet[] {
  const [client, server] = [`10.0.0.9:${5000 + i}`, `${VICTIM}:502`];
  const timeUs = i * SECOND;
  const payload = modbus(i, 3, 0, 0, 0, 1);
  return [
    ...connection(client, server, [], timeUs, false),
    { timeUs: timeUs + 10_000, frame: tcp(client, server, 'R', { sequence: 101 }) },
    { timeUs: timeUs + 60_000, frame: tcp(client, server, 'PA', { sequence: 101, payload }) },
  ];
}

export const NETWORK_SCENARIOS: readonly Scenario[] = [
  {
    rule: 'tcp-injection',
    rules: {},
    threshold: 2,
    event: (i) => {
      const [client, server] = ['10.0.0.9:5000', `${VICTIM}:80`];
      const payload = Buffer.from(i % 2 === 0 ? 'HTTP/1.1 302 Found\r\n\r\n' : 'HTTP/1.1 200 OK\r\n\r\n');
      return [
        ...(i > 0 ? [] : connection(client, server, [['>', 'GET / HTTP/1.1\r\n\r\n']], 0, false)),
        { timeUs: 10_000 + i * 1000, frame: tcp(server, client, 'PA', { sequence: 501, payload }) },
      ];
    },
    source: '',
    destination: '10.0.0.9',
    technique: 'T0830',
  },
  {
    rule: 'dead-service',
    rules: { dead_service: { attempts: 5 } },
    threshold: 5,
    event: (i) => [...refused(`${ATTACKER}:${1024 + i}`, `${VICTIM}:9000`, i * SECOND)],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0826',
  },
  {
    rule: 'arp-spoofing',
    rules: { arp_spoofing: { changes: 2 } },
    threshold: 3,
    event: (i) => [
      { timeUs: i * SECOND, frame: arp(2, i % 2 === 0 ? MAC_A : MAC_B, VICTIM, MAC_B, ATTACKER) },
    ],
    source: MAC_A,
    destination: VICTIM,
    technique: 'T0830',
  },
  {
    rule: 'beaconing',
    rules: { beaconing: { intervals: 4, jitter: 0.1 } },
    threshold: 5,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, '203.0.113.5:8443', [['>', 'hello'], ['<', 'world']], i * 60 * SECOND + (i % 2) * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: '203.0.113.5',
    technique: 'T0869',
  },
  {
    rule: 'dns-tunnel',
    rules: { dns_tunnel: { queries: 6, label_length: 20 } },
    threshold: 6,
    event: (i) => [
      { timeUs: i * 1000, frame: udp(`${ATTACKER}:5353`, `${VICTIM}:53`, { payload: dns(i, `${randomLabel(i)}.tunnel.example`) }) },
    ], // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0869',
  },
  {
    rule: 'smb-spread',
    rules: { smb_spread: { hosts: 4 } },
    threshold: 4,
    event: (i) => [knock(`${ATTACKER}:40000`, `10.0.1.${1 + i}:445`, i * SECOND)],
    source: ATTACKER,
    destination: '10.0.1.4',
    technique: 'T0867',
  },
  {
    rule: 'tcp-reset',
    rules: { tcp_reset: { conversations: 3 } },
    threshold: 3,
    event: tornDown,
    source: '',
    destination: VICTIM,
    technique: 'T0814',
  },
  {
    rule: 'one-sided-mirror',
    rules: { one_sided_mirror: { flows: 5 } },
    threshold: 5,
    event: (i) => [
      { timeUs: i * SECOND, frame: tcp(`10.0.0.1:${5000 + i}`, `${VICTIM}:9999`, 'PA', { payload: 9 }) },
    ],
    source: '',
    destination: '',
    technique: '',
  },
  {
    rule: 'internet-access',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, '8.8.8.8:9999', [['>', 'hello'], ['<', 'world']], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: '8.8.8.8',
    technique: 'T0883',
  },
  {
    rule: 'foreign-hosts',
    rules: {},
    threshold: 1,
    event: (i) => connection(`8.8.4.4:${5000 + i}`, '8.8.8.8:9999', [['>', 'hello'], ['<', 'world']], i * SECOND), // prettier-ignore
    source: '8.8.4.4',
    destination: '8.8.8.8',
    technique: 'T0883',
  },
  {
    rule: 'unknown-service',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:4433`, [['>', 'hello'], ['<', 'world']], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0885',
  },
  {
    rule: 'icmp-tunnel',
    rules: { icmp_tunnel: { packets: 5 } },
    threshold: 5,
    event: (i) => [{ timeUs: i * SECOND, frame: icmp(ATTACKER, VICTIM, 8, 0, { payload: 1000 }) }],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0869',
  },
  {
    rule: 'dns-spoofing',
    rules: {},
    threshold: 1,
    event: (i) => [
      { timeUs: i * SECOND, frame: udp(`${VICTIM}:${5000 + i}`, `${ATTACKER}:53`, { payload: dns(i, 'plant.example') }) },
      { timeUs: i * SECOND + 1000, frame: udp(`${ATTACKER}:53`, `${VICTIM}:${5000 + i}`, { payload: dnsAnswer(i, 'plant.example', [10, 0, 0, 66]) }) },
      { timeUs: i * SECOND + 9000, frame: udp(`${ATTACKER}:53`, `${VICTIM}:${5000 + i}`, { payload: dnsAnswer(i, 'plant.example', [192, 0, 2, 7]) }) },
    ], // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0830',
  },
  {
    rule: 'nameless-tls',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${VICTIM}:${5000 + i}`, '203.0.113.5:7084', [['>', CLIENT_HELLO], ['<', SERVER_HELLO]], i * SECOND), // prettier-ignore
    source: VICTIM,
    destination: '203.0.113.5',
    technique: 'T0885',
  },
  {
    rule: 'dhcp-starvation',
    rules: { dhcp_starvation: { devices: 5 } },
    threshold: 5,
    event: (i) => [{ timeUs: i * SECOND, frame: udp('0.0.0.0:68', '255.255.255.255:67', { payload: dhcp(1, `02000000010${i}`) }) }], // prettier-ignore
    source: '0.0.0.0',
    destination: '255.255.255.255',
    technique: 'T0814',
  },
  {
    rule: 'rogue-dhcp',
    rules: {},
    threshold: 2,
    event: (i) => [{ timeUs: i * SECOND, frame: udp(`${i === 0 ? VICTIM : ATTACKER}:67`, '10.0.0.99:68', { payload: dhcp(2, '020000000101') }) }], // prettier-ignore
    source: ATTACKER,
    destination: '',
    technique: 'T0830',
  },
  {
    rule: 'icmp-redirect',
    rules: {},
    threshold: 1,
    event: (i) => [{ timeUs: i * SECOND, frame: icmp(ATTACKER, VICTIM, 5, 1, { payload: 32 }) }],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0830',
  },
];
