/** Password guessing over the services whose refusals are read: each by its own words, and silent when it is let in. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { bytesOf } from '../../protocol/it-testing.ts';
import { connection } from '../traffic-testing.ts';

type Line = readonly ['>' | '<', string | Uint8Array];

const CHALLENGE = new Uint8Array(16).fill(9);
const vnc = (result: string): Line[] => [['<', 'RFB 003.008\n'], ['>', 'RFB 003.008\n'], ['<', Uint8Array.of(1, 2)], ['>', Uint8Array.of(2)], ['<', CHALLENGE], ['>', CHALLENGE], ['<', bytesOf(result)]]; // prettier-ignore
const my = (number: number, hex: string): Uint8Array => bytesOf([hex.length / 2, 0, 0, number], hex);
const mysql = (answer: string): Line[] => [['<', my(0, `0a382e302e333600${'00'.repeat(40)}`)], ['>', my(1, `85a603000000000121${'00'.repeat(23)}726f6f7400`)], ['<', my(2, answer)]]; // prettier-ignore
const STARTUP = Buffer.concat([Buffer.from('0000001200030000', 'hex'), Buffer.from('user\0ann\0\0')]);

const GUESSES: readonly (readonly [string, number, readonly Line[], readonly Line[]])[] = [
  ['pop3', 110, [['<', '+OK\r\n'], ['>', 'USER ann\r\n'], ['<', '+OK\r\n'], ['>', 'PASS x\r\n'], ['<', '-ERR no\r\n']], [['>', 'PASS x\r\n'], ['<', '+OK\r\n'], ['>', 'LIST\r\n'], ['<', '-ERR\r\n']]],
  ['imap', 143, [['<', '* OK\r\n'], ['>', 'a LOGIN ann x\r\n'], ['<', 'a NO\r\n']], [['>', 'a LOGIN ann x\r\n'], ['<', 'a OK\r\n']]],
  ['smtp', 25, [['<', '220 mail\r\n'], ['>', 'AUTH PLAIN eA==\r\n'], ['<', '535 5.7.8 no\r\n']], [['>', 'RCPT TO:<a@b>\r\n'], ['<', '550 no\r\n']]],
  ['mysql', 3306, mysql('ff1504'), mysql('00000000')],
  ['postgresql', 5432, [['>', bytesOf('00000008 04d2162f')], ['<', 'N'], ['>', STARTUP], ['<', Buffer.from('E\0\0\0\x0dC28P01\0\0')]], [['>', STARTUP], ['<', Buffer.from('R\0\0\0\x08\0\0\0\0')]]],
  ['tds', 1433, [['>', bytesOf('1001006600000100', new Uint8Array(94))], ['<', bytesOf('0401001200000100 aa0700 18480000 010e 00')]], [['>', bytesOf('1001006600000100', new Uint8Array(94))], ['<', bytesOf('0401000f00000100 ad0400 01020304')]]],
  ['redis', 6379, [['>', '*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n'], ['<', '-ERR invalid password\r\n']], [['>', '*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n'], ['<', '+OK\r\n']]],
  ['vnc', 5900, vnc('00000001'), vnc('00000000')],
  ['rlogin', 513, [['>', '\0me\0root\0vt100/9600\0'], ['<', '\0'], ['<', 'Login incorrect\r\n']], [['>', '\0me\0root\0vt100/9600\0'], ['<', '\0']]],
  ['rsh', 514, [['>', '0\0me\0root\0id\0'], ['<', '\x01Permission denied.\n']], [['>', '0\0me\0root\0id\0'], ['<', '\0']]],
  ['rexec', 512, [['>', '0\0root\0x\0id\0'], ['<', '\x01Login incorrect.\n']], [['>', '0\0root\0x\0id\0'], ['<', '\0']]],
]; // prettier-ignore

it.each(GUESSES)(
  '%s: refusals one after another are told, logins are not',
  (service, port, refused, welcome) => {
    const told = (lines: readonly Line[], count: number): string[] => {
      const rig = new Rig({ rules: { brute_force: { attempts: 6 } } });
      for (let i = 0; i < count; i++) rig.add(connection(`10.0.0.66:${5000 + i}`, `10.0.0.2:${port}`, lines, i * 1_000_000)); // prettier-ignore
      const { alerts } = rig.finish();
      return [...alerts.values()].filter(({ rule }) => rule === 'brute-force' || rule === 'protocol-violation').map(({ protocol }) => protocol); // prettier-ignore
    };
    expect(told(refused, 6)).toEqual([service]);
    expect(told(refused, 5)).toEqual([]);
    expect(told(welcome, 12)).toEqual([]);
  },
);

it('what follows a login is not read, whatever it holds', () => {
  const sled = Buffer.alloc(400, 0x90);
  const lines: Line[] = [
    ['>', 'PASS x\r\n'],
    ['<', '+OK\r\n'],
    ['>', 'RETR 1\r\n'],
    ['<', sled],
    ['>', sled],
  ];
  const rig = new Rig().add(connection('10.0.0.1:5000', '10.0.0.2:110', lines, 0));
  expect(rig.engine.dissection.counters.messages).toBe(2);
  expect(rig.finish().rules.filter((rule) => rule === 'exploit' || rule === 'protocol-violation')).toEqual(
    [],
  );
  expect(rig.flows[0]).toMatchObject({ service: 'pop3' });
});

it('syslog on the port of rsh is not called by its name', () => {
  const rig = new Rig().add(connection('10.0.0.1:5000', '10.0.0.2:514', [['>', '<34>Oct 11 su: failed\n'], ['>', '<34>Oct 11 su: failed\n']], 0)); // prettier-ignore
  expect(rig.finish().flows[0]).toMatchObject({ service: '' });
});
