/** What is asked of a domain's directory and its ticket service: what tools ask, and what machines ask all day. */
import { describe, expect, it } from 'vitest';
import type { Alert } from '../../alert/alert-desk.ts';
import { Rig } from '../../engine-testing.ts';
import { udp } from '../../packet/frame-testing.ts';
import { connection } from '../traffic-testing.ts';

const CLIENT = '10.0.0.66';
const SERVER = '10.0.0.2';

function element(tag: number, ...content: (number | readonly number[])[]): number[] {
  const bytes = content.flat();
  return bytes.length < 0x80 ? [tag, bytes.length, ...bytes] : [tag, 0x82, bytes.length >> 8, bytes.length & 0xff, ...bytes]; // prettier-ignore
}
const string = (tag: number, value: string): number[] => element(tag, [...Buffer.from(value)]);
const message = (operation: number[]): number[] => element(0x30, [2, 1, 7], operation);

function search(filter: number[], scope = 2): number[] {
  return message(element(0x63, string(4, 'DC=plant'), [0x0a, 1, scope], [0x0a, 1, 0], [2, 1, 0], [2, 1, 0], [1, 1, 0], filter)); // prettier-ignore
}
const present = (attribute: string): number[] => string(0x87, attribute);
const equals = (attribute: string, value: string): number[] => element(0xa3, string(4, attribute), string(4, value)); // prettier-ignore
const bits = (attribute: string, value: string): number[] => element(0xa9, string(0x81, '1.2.840.113556.1.4.803'), string(0x82, attribute), string(0x83, value)); // prettier-ignore
const ENTRY = message(element(0x64, string(4, 'CN=a,DC=plant'), element(0x30)));
const DONE = message(element(0x65, [0x0a, 1, 0], string(4, ''), string(4, '')));

function alerts(rule: string, rig: Rig): Alert[] {
  return [...rig.finish().alerts.values()].filter((alert) => alert.rule === rule);
}

function searched(request: number[], ...answers: number[][]): Alert[] {
  const lines = [['>', Buffer.from(request)], ...answers.map((answer) => ['<', Buffer.from(answer)])] as ['>' | '<', Buffer][]; // prettier-ignore
  return alerts('directory-search', new Rig().add(connection(`${CLIENT}:5000`, `${SERVER}:389`, lines, 0))); // prettier-ignore
}

describe('a directory', () => {
  it.each([
    ['Accounts whose tickets can be cracked are looked for', element(0xa0, present('servicePrincipalName'), equals('objectCategory', 'person'))],
    ['Accounts without preauthentication are looked for', bits('userAccountControl', '4194304')],
    ['Accounts that may speak for others are looked for', bits('userAccountControl', '524288')],
    ['Passwords of local administrators are looked for', present('ms-Mcs-AdmPwd')],
  ])('is asked for accounts to attack: %s', (title, filter) => {
    expect(searched(search(filter))).toMatchObject([{ title, severity: 'medium', source: CLIENT, technique: 'T0888' }]);
  }); // prettier-ignore

  it.each([
    ['name', equals('servicePrincipalName', 'HOST/plc1')],
    ['account', equals('sAMAccountName', 'operator')],
    ['state', bits('userAccountControl', '2')],
  ])('is asked for one account by its %s, and that is its use', (_, filter) => {
    expect(searched(search(filter))).toEqual([]);
  });

  it('that is read from end to end is told, a few entries of it are not', () => {
    const entries = (count: number): number[][] => [...Array.from({ length: count }, () => ENTRY), DONE];
    expect(searched(search(present('objectClass')), ...entries(199))).toEqual([]);
    expect(searched(search(present('objectClass')), ...entries(200))).toMatchObject([{ title: 'The whole directory is read' }]); // prettier-ignore
    expect(searched(search(equals('objectClass', 'printQueue')), ...entries(200))).toEqual([]);
  });
});

it('a directory that hands out Java code is an exploit, on any port', () => {
  const bind = message(element(0x60, [2, 1, 3], string(4, ''), string(0x80, '')));
  const entry = message(element(0x64, string(4, 'a'), element(0x30, element(0x30, string(4, 'javaCodeBase'), element(0x31, string(4, 'http://10.0.0.66/')))))); // prettier-ignore
  for (const port of [389, 1389]) {
    const lines = [['>', Buffer.from(bind)], ['>', Buffer.from(search(present('objectClass'), 0))], ['<', Buffer.from(entry)]] as ['>' | '<', Buffer][]; // prettier-ignore
    expect(alerts('exploit', new Rig().add(connection(`${SERVER}:5000`, `${CLIENT}:${port}`, lines, 0)))).toMatchObject([{ severity: 'high', source: SERVER, destination: CLIENT }]); // prettier-ignore
  }
});

describe('a ticket', () => {
  const asked = (...types: number[][]): Alert[] => {
    const payload = Uint8Array.from(element(0x6a, element(0x30, element(0xa4, element(0x30, element(0xa8, element(0x30, ...types))))))); // prettier-ignore
    return alerts('weak-kerberos', new Rig().add([{ timeUs: 0, frame: udp(`${CLIENT}:5000`, `${SERVER}:88`, { payload }) }])); // prettier-ignore
  };
  const one = (type: number): number[] => (type < -128 ? [2, 2, type >> 8, type & 255] : [2, 1, type & 255]);

  it('with AES among the offers is what Windows asks for', () => {
    expect(asked(one(18), one(17), one(23), one(24), one(-135))).toEqual([]);
  });

  it('with weak encryption only is a thing to know', () => {
    expect(asked(one(23))).toMatchObject([{ severity: 'low' }]);
    expect(asked(one(23), one(-133), one(3))).toMatchObject([{ severity: 'low' }]);
  });

  it('with no encryption among the offers comes from a tool', () => {
    expect(asked(one(0), one(0), one(23), one(-133))).toMatchObject([{ severity: 'medium', evidence: expect.stringContaining('0, 0, 23, -133') as string }]); // prettier-ignore
  });
});
