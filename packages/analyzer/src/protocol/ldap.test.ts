/** LDAP messages by hand, hostile ones, and real ones beside tshark. */
import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS } from './dissector.ts';
import {
  ascii,
  bytesOf,
  dissectOne,
  replay,
  testHostileBytes,
  tsharkFields,
  tsharkValues,
} from './it-testing.ts';
import { ldap } from './ldap.ts';

/** An element; with four bytes of length, as Windows writes it. */
function element(tag: number, ...content: (number | readonly number[])[]): number[] {
  const bytes = content.flat();
  return [tag, 0x84, 0, 0, bytes.length >> 8, bytes.length & 0xff, ...bytes];
}
const string = (tag: number, value: string): number[] => element(tag, [...Buffer.from(value)]);
const message = (...operation: number[][]): Uint8Array =>
  Uint8Array.from(element(0x30, [2, 1, 7], ...operation));
const search = (scope: number, filter: number[]): Uint8Array =>
  message(element(0x63, string(4, 'DC=plant,DC=local'), [0x0a, 1, scope], [0x0a, 1, 0], [2, 1, 0], [2, 1, 0], [1, 1, 0], filter)); // prettier-ignore
const result = (tag: number, code: number): Uint8Array =>
  message(element(tag, [0x0a, 1, code], string(4, ''), string(4, '')));

const present = (attribute: string): number[] => [0x87, attribute.length, ...Buffer.from(attribute)];
const equals = (attribute: string, value: string): number[] => element(0xa3, string(4, attribute), string(4, value)); // prettier-ignore
const BIND = message(element(0x60, [2, 1, 3], string(4, 'CN=svc,DC=plant'), string(0x80, 'secret')));
const ROAST = search(2, element(0xa0, equals('samAccountType', '805306368'), present('servicePrincipalName'), element(0xa2, equals('cn', 'krbtgt')))); // prettier-ignore
const BITS = search(1, element(0xa9, string(0x81, '1.2.840.113556.1.4.803'), string(0x82, 'userAccountControl'), string(0x83, '4194304'))); // prettier-ignore

test('a search says where it looks and for what', () => {
  expect(dissectOne(ldap, ROAST).operations).toMatchObject([
    {
      name: 'search-subtree',
      action: 'read',
      object: '(&(samAccountType=805306368)(servicePrincipalName=*)(!(cn=krbtgt)))',
    },
  ]);
  expect(dissectOne(ldap, BITS).operations).toMatchObject([
    { name: 'search-one-level', object: '(userAccountControl:1.2.840.113556.1.4.803:=4194304)' },
  ]);
  const parts = element(0xa4, string(4, 'cn'), element(0x30, string(0x80, 'a')));
  expect(dissectOne(ldap, search(0, parts)).operations).toMatchObject([
    { name: 'search-base', object: '(cn=*)' },
  ]);
});

test('a bind names who, never the password, and an answer why not', () => {
  const { operations } = dissectOne(ldap, BIND);
  expect(operations).toMatchObject([{ name: 'bind', action: 'session', object: 'CN=svc,DC=plant' }]);
  expect(JSON.stringify(operations)).not.toContain('secret');
  const answer = (code: number): unknown =>
    dissectOne(ldap, result(0x61, code), { isFromClient: false }).operations[0]?.exception;
  expect([0, 14, 49, 50, 119].map(answer)).toEqual(['', '', 'invalid-credentials', 'insufficient-access-rights', 'result-119']); // prettier-ignore
});

test('a signed buffer is read behind its token, a sealed one and TLS are passed over', () => {
  const signed = bytesOf([0, 0, 0, 28 + ROAST.byteLength], new Uint8Array(28).fill(0x55), ROAST);
  expect(ldap.messageBytes?.(signed, 0, signed.byteLength)).toBe(signed.byteLength);
  expect(dissectOne(ldap, signed).operations).toMatchObject([{ name: 'search-subtree' }]);
  const sealed = bytesOf([0, 0, 0, 40], new Uint8Array(40).fill(0x30));
  expect(dissectOne(ldap, sealed)).toMatchObject({ operations: [], violations: [] });
  const record = bytesOf('16 0303 0003 010203');
  expect(ldap.messageBytes?.(record, 0, record.byteLength)).toBe(8);
  expect(dissectOne(ldap, record)).toMatchObject({ operations: [], violations: [] });
});

test('messages are framed by their BER length', () => {
  const two = bytesOf(BIND, ROAST);
  expect(ldap.messageBytes?.(two, 0, two.byteLength)).toBe(BIND.byteLength);
  expect(ldap.messageBytes?.(two, 0, 4)).toBe(NEED_MORE);
  expect(ldap.messageBytes?.(ascii('GET / HTTP'), 0, 10)).toBe(NOT_OURS);
});

test('a filter that is nested without end is cut', () => {
  let filter = present('cn');
  for (let i = 0; i < 60; i++) filter = element(0xa2, filter);
  expect(dissectOne(ldap, search(2, filter)).operations).toMatchObject([
    { name: 'search-subtree', object: expect.stringMatching(/^(\(!)+\)+$/) as string },
  ]);
});

testHostileBytes(ldap, [BIND, ROAST, BITS, result(0x65, 0)]);

describeWithCorpus('over real captures', () => {
  // Single messages of many conversations, with gaps between them: each payload by itself.
  test('every kind of message is the one that tshark sees', () => {
    const path = corpusPath('linktypes/cooked/ldap.pcapng');
    const payloads = tsharkValues(path, 'ldap', 'tcp.payload');
    const mine = payloads.flatMap((payload) => dissectOne(ldap, Buffer.from(payload, 'hex')).operations);
    // The application tag's number; tshark tells the same.
    const theirs = tsharkValues(path, 'ldap', 'ldap.protocolOp').map(Number);
    expect(new Set(theirs).size).toBeGreaterThan(15);
    expect(mine.map(({ code }) => code & 0x1f)).toEqual(theirs);
    const filters = tsharkFields(path, 'ldap.protocolOp == 3', ['ldap.baseObject', 'ldap.scope']);
    const searches = mine.filter(({ code }) => code === 0x63);
    expect(searches.map(({ name }) => name)).toEqual(filters.map((line) => (line.endsWith('2') ? 'search-subtree' : 'search-base'))); // prettier-ignore
  });

  test('conversations are followed through signed buffers', async () => {
    const path = corpusPath('attacks/lateral-otrf/purplesharp_ad_playbook_I_2020-10-22042947.pcap');
    const { operations, violations } = await replay(path, ldap);
    const theirs = tsharkValues(path, 'ldap || cldap', 'ldap.protocolOp').map(Number);
    for (const code of [3, 4, 5])
      expect(operations.filter((one) => (one.code & 0x1f) === code).length, `operation ${code}`).toBe(
        theirs.filter((one) => one === code).length,
      );
    expect(violations).toEqual([]);
  });
});
