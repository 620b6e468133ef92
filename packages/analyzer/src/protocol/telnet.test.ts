import { expect, test } from 'vitest';

import type { Memory } from './dissector.ts';
import { ascii, bytesOf, dissectOne, testHostileBytes } from './it-testing.ts';
import { telnet } from './telnet.ts';

const NEGOTIATION = bytesOf('fffd18 fffd20 fffa1801fff0');
const PROMPT = bytesOf(ascii('\r\nplc login: '));
const REFUSED = ascii('\r\nLogin incorrect\r\nlogin: ');

test('a refused login', () => {
  const memory: Memory = {};
  const server = (bytes: Uint8Array): unknown[] =>
    dissectOne(telnet, bytes, { memory, isFromClient: false }).operations.map(({ name, exception }) => [
      name,
      exception,
    ]);
  expect(server(NEGOTIATION)).toEqual([['begin', '']]);
  expect(server(PROMPT)).toEqual([['login-prompt', '']]);
  expect(dissectOne(telnet, ascii('root\r\n'), { memory }).operations).toEqual([]);
  expect(server(ascii('Password: '))).toEqual([['password-prompt', '']]);
  expect(server(REFUSED)).toEqual([
    ['login', 'login-incorrect'],
    ['login-prompt', ''],
  ]);
});

test('words cut in two or by a command are found, and once only', () => {
  const memory: Memory = {};
  const names = ['\r\nLogin inc', 'orr', 'ect', '\r\n', 'Welcome'].flatMap((part) =>
    dissectOne(telnet, ascii(part), { memory, isFromClient: false }).names(),
  );
  expect(names).toEqual(['begin', 'login']);
  const split = bytesOf(ascii('Login '), 'fffb01', ascii('incorrect'));
  expect(dissectOne(telnet, split, { isFromClient: false }).names()).toEqual(['begin', 'login']);
});

test('what the client types is not read', () => {
  expect(dissectOne(telnet, ascii('login incorrect')).names()).toEqual(['begin']);
});

testHostileBytes(telnet, [NEGOTIATION, PROMPT, REFUSED]);
