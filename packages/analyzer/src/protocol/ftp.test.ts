import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Memory } from './dissector.ts';
import { ftp } from './ftp.ts';
import { ascii, bytesOf, dissectOne, replay, testHostileBytes, tsharkValues } from './it-testing.ts';

const SECRET = 'hunter2';
const USER = ascii('USER admin\r\n');
const PASS = ascii(`PASS ${SECRET}\r\n`);
const STORE = ascii('STOR firmware.bin\r\n');
const REFUSED = ascii('530 Login incorrect.\r\n');
const BANNER = ascii('220 FTP server ready\r\n');

test('a login that is refused, without its password', () => {
  const memory: Memory = {};
  const say = (bytes: Uint8Array, isFromClient: boolean): ReturnType<typeof dissectOne> =>
    dissectOne(ftp, bytes, { memory, isFromClient });
  expect(say(BANNER, false).facts).toEqual([['ftp-server', 'FTP server ready']]);
  expect(say(USER, true).facts).toEqual([['ftp-user', 'admin']]);
  expect(say(PASS, true).operations).toMatchObject([{ action: 'session', name: 'pass', object: 'admin' }]);
  expect(say(REFUSED, false).operations).toMatchObject([
    { name: 'pass', object: 'admin', isResponse: true, code: 530, exception: '530' },
  ]);
  expect(say(ascii('230-Welcome\r\n'), false).operations).toEqual([]);
  expect(JSON.stringify(memory)).not.toContain(SECRET);
  expect(say(STORE, true).operations).toMatchObject([
    { action: 'file', name: 'stor', object: 'firmware.bin' },
  ]);
});

test('lines are framed, TLS after AUTH too', () => {
  const two = bytesOf(USER, PASS);
  expect(ftp.messageBytes?.(two, 0, two.byteLength)).toBe(USER.byteLength);
  expect(ftp.messageBytes?.(USER, 0, 5)).toBe(NEED_MORE);
  const record = bytesOf('16 0301 0003 010203');
  expect(ftp.messageBytes?.(record, 0, record.byteLength)).toBe(8);
  expect(dissectOne(ftp, record)).toMatchObject({ operations: [], violations: [] });
  expect(ftp.messageBytes?.(bytesOf('00 01 02'), 0, 3)).toBe(NOT_OURS);
  expect(dissectOne(ftp, ascii('{"json": 1}\n')).violations).toEqual(['command is not a word']);
  expect(ftp.looksLike?.(BANNER, 0, BANNER.byteLength)).toBe(true);
});

testHostileBytes(ftp, [USER, PASS, STORE, REFUSED, BANNER]);

describeWithCorpus('over real captures', () => {
  test('commands and replies are those of tshark', async () => {
    const path = corpusPath('attacks/bruteforce/ftp-crack.pcap.gz');
    const { operations } = await replay(path, ftp);
    const commands = operations.filter(({ isResponse }) => !isResponse).map(({ name }) => name.toUpperCase());
    const count = (list: readonly string[], value: string): number =>
      list.filter((one) => one === value).length;
    const expected = tsharkValues(path, 'ftp.request', 'ftp.request.command');
    for (const command of ['USER', 'PASS']) {
      expect(count(commands, command), command).toBe(count(expected, command));
      expect(count(commands, command)).toBeGreaterThan(0);
    }
    const codes = operations.filter(({ exception }) => exception === '530').length;
    expect(codes).toBe(count(tsharkValues(path, 'ftp.response.code == 530', 'ftp.response.code'), '530'));
  });
});
