/** Logins at databases by hand. */
import { expect, test } from 'vitest';
import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import type { Dissector, Memory } from './dissector.ts';
import { Recorder, ascii, bytesOf, dissectOne, replay, testHostileBytes } from './it-testing.ts';
import { mysql, postgresql, tds } from './sql-login.ts';

type Step = readonly ['>' | '<', Uint8Array];

function talk(dissector: Dissector, steps: readonly Step[]): { told: string[]; memory: Memory } {
  const memory: Memory = {};
  const recorder = new Recorder();
  for (const [way, bytes] of steps) dissectOne(dissector, bytes, { memory, recorder, isFromClient: way === '>' }); // prettier-ignore
  const told = recorder.operations.map(({ name, object, isResponse, exception }) => `${isResponse ? '<' : '>'}${name} ${object} ${exception}`.trimEnd()); // prettier-ignore
  return { told, memory };
}

const my = (number: number, ...parts: (string | Uint8Array)[]): Uint8Array => {
  const body = bytesOf(...parts);
  return bytesOf([body.byteLength & 255, body.byteLength >> 8, 0, number], body);
};
const GREETING = my(0, '0a', ascii('8.0.36\0'), '00'.repeat(40));
const LOGIN = my(1, '85a60300', '00000001', '21', '00'.repeat(23), ascii('root\0'), '14', '11'.repeat(20));
const DENIED = my(2, 'ff 1504', ascii('#28000Access denied'));

const pg = (kind: string, ...parts: (string | Uint8Array)[]): Uint8Array => {
  const body = bytesOf(...parts);
  return bytesOf(ascii(kind), [0, 0, 0, body.byteLength + 4], body);
};
const STARTUP = bytesOf('00000020 00030000', ascii('user\0ann\0database\0tags\0\0'));
const REFUSED = pg('E', ascii('SFATAL\0C28P01\0Mpassword authentication failed\0\0'));

const packet = (kind: number, ...parts: (string | Uint8Array)[]): Uint8Array => {
  const body = bytesOf(...parts);
  return bytesOf([kind, 1, 0, body.byteLength + 8, 0, 0, 1, 0], body);
};
const PRELOGIN = packet(0x12, '00 0010 0006', '01 0016 0001', 'ff', '00'.repeat(14));
const LOGIN7 = packet(0x10, '00'.repeat(94));
const FAILED = packet(4, 'aa 0c00 18480000 010e 0000 0000 0000', 'fd 0200 0000 0000 0000 0000 0000');
const LOGGED_IN = packet(4, 'e3 0300 010203', 'ab 0200 0102', 'ad 0400 01020304');

test('MySQL says who wants in, and whether', () => {
  expect(talk(mysql, [['<', GREETING], ['>', LOGIN], ['<', DENIED]])).toMatchObject({ told: ['>login root', '<login root refused'], memory: { done: true } }); // prettier-ignore
  expect(talk(mysql, [['<', GREETING], ['>', LOGIN], ['<', my(2, 'fe', ascii('caching_sha2_password\0'))], ['>', my(3, '22'.repeat(32))], ['<', my(4, '0104')], ['<', my(5, '000000')]]).told).toEqual(['>login root', '<login root']); // prettier-ignore
  expect(talk(mysql, [['<', GREETING], ['>', LOGIN], ['<', my(2, 'ff 1804', ascii('#42000'))]]).told[1]).toBe('<login root error-1048'); // prettier-ignore
  // With TLS, or joined in the middle, there is nothing to read.
  expect(talk(mysql, [['<', GREETING], ['>', my(1, '85ae0300', '00'.repeat(28))]])).toMatchObject({ told: [], memory: { done: true } }); // prettier-ignore
  expect(talk(mysql, [['>', my(0, '03', ascii('SELECT 1'))]])).toMatchObject({ told: [], memory: { done: true } }); // prettier-ignore
});

test('PostgreSQL says who wants in, and whether', () => {
  expect(talk(postgresql, [['>', bytesOf('00000008 04d2162f')], ['<', ascii('N')], ['>', STARTUP], ['<', pg('R', '00000005 01020304')], ['>', pg('p', ascii('md5abc\0'))], ['<', REFUSED]])).toMatchObject({ told: ['>login ann', '<login ann refused'], memory: { done: true } }); // prettier-ignore
  expect(talk(postgresql, [['>', STARTUP], ['<', pg('R', '00000000')]]).told).toEqual(['>login ann', '<login ann']); // prettier-ignore
  expect(talk(postgresql, [['>', STARTUP], ['<', pg('E', ascii('SFATAL\0C3D000\0\0'))]]).told[1]).toBe('<login ann error-3D000'); // prettier-ignore
  expect(
    talk(postgresql, [
      ['>', bytesOf('00000008 04d2162f')],
      ['<', ascii('S')],
    ]).memory['done'],
  ).toBe(true);
  expect(postgresql.looksLike?.(STARTUP, 0, STARTUP.byteLength)).toBe(true);
});

test('SQL Server says whether, also where who it is was encrypted', () => {
  expect(talk(tds, [['>', PRELOGIN], ['<', packet(4, '00'.repeat(30))], ['>', LOGIN7], ['<', FAILED]])).toMatchObject({ told: ['>login', '<login  refused'], memory: { done: true } }); // prettier-ignore
  expect(talk(tds, [['>', LOGIN7], ['<', LOGGED_IN]])).toMatchObject({ told: ['>login', '<login'], memory: { done: true } }); // prettier-ignore
  expect(tds.looksLike?.(PRELOGIN, 0, PRELOGIN.byteLength)).toBe(true);
});

testHostileBytes(mysql, [GREETING, LOGIN, DENIED]);
testHostileBytes(postgresql, [STARTUP, REFUSED, pg('R', '00000000')]);
testHostileBytes(tds, [PRELOGIN, LOGIN7, FAILED, LOGGED_IN]);

describeWithCorpus('over a real capture', () => {
  test('a server of MySQL says its version, and goes on in TLS', async () => {
    const { facts, operations } = await replay(corpusPath('linktypes/cooked/pcapng-example.pcapng'), mysql);
    expect(facts).toContainEqual(['mysql-server', expect.stringContaining('MariaDB')]);
    expect(operations.filter(({ exception }) => exception !== '')).toEqual([]);
  });
});
