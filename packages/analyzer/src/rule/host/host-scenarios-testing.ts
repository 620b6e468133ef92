/** For tests: scenarios of what is done to machines and accounts: guessed passwords, exploits, programs, doors. */
import { udp } from '../../packet/frame-testing.ts';
import { certificate } from '../certificate-testing.ts';
import { CLIENT_HELLO, SERVER_HELLO, connection, dns, program } from '../traffic-testing.ts';
import { SECOND, ATTACKER, VICTIM, type Scenario } from '../scenario-testing.ts';

const line = (text: string): string => `${text}\r\n`;

/** AS-REQ that offers RC4 (23) and nothing else. */
const TICKET_REQUEST = Buffer.from('6a173015a103020105a20302010aa4093007a8053003020117', 'hex');

/** A search of all below the root for (servicePrincipalName=*). */
const ROAST_SEARCH = Buffer.from(
  '30360201026331040844433d706c616e740a01020a01000201000201000101008714736572766963655072696e636970616c4e616d653000',
  'hex',
);

export const HOST_SCENARIOS: readonly Scenario[] = [
  {
    rule: 'clear-password',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:21`, [['>', line('USER plant')], ['<', line('331 and?')], ['>', line('PASS secret')]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0859',
  },
  {
    rule: 'self-signed-tls',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, '203.0.113.9:443', [['>', CLIENT_HELLO], ['<', SERVER_HELLO], ['<', certificate('c2')]], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: '203.0.113.9',
    technique: 'T0885',
  },
  {
    rule: 'notable-host',
    rules: {},
    threshold: 1,
    event: (i) => [{ timeUs: i * SECOND, frame: udp(`${ATTACKER}:${5000 + i}`, `${VICTIM}:53`, { payload: dns(i, 'rat.duckdns.org') }) }], // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0869',
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
    rule: 'remote-access',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${ATTACKER}:${5000 + i}`, `${VICTIM}:5900`, [['>', 'hello'], ['<', 'world']], i * SECOND), // prettier-ignore
    source: ATTACKER,
    destination: VICTIM,
    technique: 'T0886',
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
    rule: 'malware',
    rules: {},
    threshold: 1,
    event: (i) => connection(`${VICTIM}:${5000 + i}`, `${ATTACKER}:443`, [['>', Buffer.from('4768307374310000004c000000789c4b630800', 'hex')]], i * SECOND), // prettier-ignore
    source: VICTIM,
    destination: ATTACKER,
    technique: 'T0869',
  },
];
