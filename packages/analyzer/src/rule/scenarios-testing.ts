/** For tests: one scenario for each rule, as events that are counted. So many are silent, one more speaks. */
import { arp, icmp, ip, tcp, udp, type Packet } from '../packet/frame-testing.ts';

import { field, packet } from '../protocol/mqtt-testing.ts';
import { GOOSE_GROUP, PUBLISHER, goose } from './publisher-testing.ts';

import { activateSession, writeNode } from './opcua-testing.ts';

export interface Scenario {
  /** As the alert has it. */
  readonly rule: string;
  /** Thresholds that it is about; the shipped ones may change. */
  readonly rules: object;
  /** The first event that raises the alert, counted from 1. */
  readonly threshold: number;
  readonly event: (index: number) => Packet[];
  readonly source: string;
  readonly destination: string;
  readonly technique: string;
}

const SECOND = 1_000_000;
const ATTACKER = '10.0.0.66';
const VICTIM = '10.0.0.2';
const MAC_A = '02:00:00:00:00:0a';
const MAC_B = '02:00:00:00:00:0b';
const NOBODY = '00:00:00:00:00:00';

/** AS-REQ that offers RC4 (23) and nothing else. */
const TICKET_REQUEST = Buffer.from('6a173015a103020105a20302010aa4093007a8053003020117', 'hex');

/** A search of all below the root for (servicePrincipalName=*). */
const ROAST_SEARCH = Buffer.from(
  '30360201026331040844433d706c616e740a01020a01000201000201000101008714736572766963655072696e636970616c4e616d653000',
  'hex',
);

/** TLS hellos without any name. */
export const CLIENT_HELLO = Buffer.from(
  '16030100350100003103030000000000000000000000000000000000000000000000000000000000000000000002c02f01000006000a00020000',
  'hex',
);
export const SERVER_HELLO = Buffer.from(
  '160301002a020000260303000000000000000000000000000000000000000000000000000000000000000000c02f00',
  'hex',
);

/** A DHCP message: discover (operation 1) or offer (2), for a device. */
export function dhcp(operation: number, device: string): Buffer {
  const message = Buffer.alloc(244);
  message.set([operation, 1, 6, 0]);
  message.set(Buffer.from(device, 'hex'), 28);
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, operation, 255], 236);
  return message;
}

type Line = readonly ['>' | '<', string | Uint8Array];

/** A whole connection: handshake, the lines, both ends. */
export function connection(
  client: string,
  server: string,
  lines: readonly Line[],
  timeUs: number,
  isClosed = true,
): Packet[] {
  const packets: Packet[] = [];
  let [there, back] = [101, 501];
  const send = (way: '>' | '<', flags: string, sequence: number, payload: Uint8Array): void => {
    const [from, to] = way === '>' ? [client, server] : [server, client];
    packets.push({ timeUs: timeUs + packets.length * 1000, frame: tcp(from, to, flags, { sequence, payload }) }); // prettier-ignore
  };
  const empty = Buffer.alloc(0);
  send('>', 'S', 100, empty);
  send('<', 'SA', 500, empty);
  send('>', 'A', 101, empty);
  for (const [way, line] of lines) {
    const payload = Buffer.from(line);
    send(way, 'PA', way === '>' ? there : back, payload);
    if (way === '>') there += payload.byteLength;
    else back += payload.byteLength;
  }
  if (isClosed) {
    send('>', 'FA', there, empty);
    send('<', 'FA', back, empty);
  }
  return packets;
}

/** A SYN, and nothing more. */
export function knock(from: string, to: string, timeUs: number): Packet {
  return { timeUs, frame: tcp(from, to, 'S') };
}

/** A SYN that is refused. */
export function refused(from: string, to: string, timeUs: number): Packet[] {
  return [knock(from, to, timeUs), { timeUs: timeUs + 100, frame: tcp(to, from, 'RA') }];
}

/** A Modbus request: transaction, function and what follows it. */
export function modbus(transaction: number, ...pdu: readonly number[]): Uint8Array {
  return Buffer.from([transaction >> 8, transaction & 255, 0, 0, 0, 1 + pdu.length, 1, ...pdu]);
}

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

/** A DNS answer that names addresses. */
export function dnsAnswer(id: number, name: string, ...addresses: readonly (readonly number[])[]): Buffer {
  const message = dns(id, name);
  message.writeUInt16BE(0x8180, 2);
  message.writeUInt16BE(addresses.length, 6);
  // The name is a pointer to the question's.
  const records = addresses.flatMap((address) => [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address]);
  return Buffer.concat([message, Buffer.from(records)]);
}

/** A DNS message that asks for an address, or says that there is none. */
export function dns(id: number, name: string, isMissing = false): Buffer {
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  const flags = isMissing ? [0x81, 0x83] : [1, 0];
  return Buffer.from([id >> 8, id & 255, ...flags, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

/** Twenty-odd characters that nobody types, different for each number. */
export function randomLabel(index: number): string {
  return `k3x9q7zv${(index * 7919 + 104_729).toString(36)}w5j8m2t4b6p1${index}`;
}

/** The first bytes of a Windows program. */
export function program(): Buffer {
  const bytes = Buffer.alloc(0x100);
  bytes.write('MZ', 0);
  bytes[0x3c] = 0x80;
  bytes.write('PE', 0x80);
  return bytes;
}

const line = (text: string): string => `${text}\r\n`;
const slow = { vertical: { ports: 1000 }, horizontal: { hosts: 1000 } };

export const SCENARIOS: readonly Scenario[] = [
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
  {
    rule: 'brute-force',
    rules: { brute_force: { attempts: 4 } },
    threshold: 4,
    event: (i) =>
      connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:21`, [
        ['<', line('220 ready')],
        ['>', line('USER root')],
        ['<', line('331 Password required')],
        ['>', line(`PASS ${i}`)],
        ['<', line('530 Login incorrect')],
      ], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0859',
  },
  {
    rule: 'http-brute-force',
    rules: { http_brute_force: { attempts: 4 } },
    threshold: 4,
    event: (i) =>
      connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:80`, [
        ['>', line('GET /admin HTTP/1.1') + line('Host: plc.example') + line('')],
        ['<', line('HTTP/1.1 401 Unauthorized') + line('Content-Length: 0') + line('')],
      ], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0859',
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
    rule: 'exploit',
    rules: {},
    threshold: 1,
    // A name of an instance that is longer than a name can be (CVE-2002-0649).
    event: (i) => [
      { timeUs: i, frame: udp(`${ATTACKER}:5000`, `${VICTIM}:1434`, { payload: Buffer.alloc(376, 4) }) },
    ],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0866',
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
    rule: 'tcp-reset',
    rules: { tcp_reset: { conversations: 3 } },
    threshold: 3,
    event: tornDown,
    source: '',
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
  {
    rule: 'file-transfer',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${VICTIM}:${5000 + i}`, `${ATTACKER}:9999`, [['>', 'send it to me please'], ['<', program()]], i * SECOND), // prettier-ignore
    source: VICTIM,
    destination: ATTACKER,
    technique: 'T0867',
  },
  {
    rule: 'remote-shell',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:9999`, [['<', 'Microsoft Windows [Version 10.0.19045]\r\n']], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0807',
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
    rule: 'remote-access',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:5900`, [['>', 'hello'], ['<', 'world']], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0886',
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
    rule: 'weak-kerberos',
    rules: {},
    threshold: 1,
    event: (i) => [
      {
        timeUs: i * SECOND,
        frame: udp(`${ATTACKER}:${5000 + i}`, `${VICTIM}:88`, { payload: TICKET_REQUEST }),
      },
    ],
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0859',
  },
  {
    rule: 'directory-search',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:389`, [['>', ROAST_SEARCH]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0888',
  },
  {
    rule: 'web-attack',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:80`, [['>', 'GET /view?id=1%27%20OR%20%271%27=%271 HTTP/1.1\r\nHost: hmi\r\n\r\n']], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0819',
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
  {
    rule: 'malware',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${VICTIM}:${5000 + i}`, `${ATTACKER}:443`, [['>', Buffer.from('4768307374310000004c000000789c4b630800', 'hex')]], i * SECOND), // prettier-ignore
    source: VICTIM,
    destination: ATTACKER,
    technique: 'T0869',
  },
];
