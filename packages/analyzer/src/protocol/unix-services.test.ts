/** The small readers by hand: Redis, VNC, SNMP, SIP, rlogin and its kind, TFTP. */
import { describe, expect, it, test } from 'vitest';
import type { Dissector, Memory } from './dissector.ts';
import { Recorder, ascii, bytesOf, dissectOne, testHostileBytes } from './it-testing.ts';
import { redis } from './redis.ts';
import { rexec, rlogin, rsh } from './rlogin.ts';
import { sip } from './sip.ts';
import { snmpMessage, sipMessage } from './services-testing.ts';
import { snmp } from './snmp.ts';
import { tftp } from './tftp.ts';
import { vnc } from './vnc.ts';

const SECRET = 'hunter2';
type Step = readonly ['>' | '<', Uint8Array | string];

function talk(
  dissector: Dissector,
  steps: readonly Step[],
): { told: string[]; memory: Memory; facts: string[] } {
  // prettier-ignore
  const memory: Memory = {};
  const recorder = new Recorder();
  for (const [way, bytes] of steps)
    dissectOne(dissector, typeof bytes === 'string' ? ascii(bytes) : bytes, { memory, recorder, isFromClient: way === '>' }); // prettier-ignore
  expect(JSON.stringify([recorder.operations, recorder.facts, memory])).not.toContain(SECRET);
  return {
    told: recorder.operations.map(({ name, object, isResponse, exception }) => `${isResponse ? '<' : '>'}${name} ${object} ${exception}`.trimEnd()), // prettier-ignore
    memory,
    facts: recorder.facts.map(([key, value]) => `${key}=${value}`),
  };
}

const resp = (...parts: string[]): string => `*${parts.length}\r\n${parts.map((part) => `$${part.length}\r\n${part}\r\n`).join('')}`; // prettier-ignore

test('Redis: logins and what is done to the server itself', () => {
  expect(talk(redis, [['>', resp('AUTH', SECRET)], ['<', '-WRONGPASS invalid username-password pair\r\n']]).told).toEqual(['>auth', '<auth  refused']); // prettier-ignore
  expect(
    talk(redis, [
      ['>', resp('AUTH', SECRET)],
      ['<', '+OK\r\n'],
    ]).told,
  ).toEqual(['>auth', '<auth']);
  expect(talk(redis, [['>', resp('CONFIG', 'SET', 'dir', '/var/spool/cron')], ['<', '+OK\r\n']]).told).toEqual(['>config-set dir /var/spool/cron']); // prettier-ignore
  expect(talk(redis, [['>', resp('CONFIG', 'SET', 'requirepass', SECRET)]]).told).toEqual(['>config-set']);
  // Beside another setting, and in the next request of the segment.
  expect(talk(redis, [['>', resp('CONFIG', 'SET', 'dir', '/tmp', 'requirepass', SECRET)]]).told).toEqual(['>config-set']); // prettier-ignore
  expect(talk(redis, [['>', resp('SLAVEOF', '10.0.0.1', '6379') + resp('AUTH', SECRET)]]).told).toEqual(['>slaveof 10.0.0.1 6379']); // prettier-ignore
  expect(
    talk(redis, [
      ['>', resp('GET', 'tag')],
      ['<', '$1\r\n7\r\n'],
    ]).told,
  ).toEqual([]);
  expect(redis.looksLike?.(ascii(resp('CLIENT', 'LIST')), 0, 30)).toBe(true);
});

describe('VNC', () => {
  const banner = 'RFB 003.008\n';
  const challenge = new Uint8Array(16).fill(9);
  const begun: Step[] = [['<', banner], ['>', banner], ['<', Uint8Array.of(1, 2)], ['>', Uint8Array.of(2)], ['<', challenge], ['>', challenge]]; // prettier-ignore

  it('refuses after challenge and response', () => {
    expect(talk(vnc, [...begun, ['<', bytesOf('00000001 00000004', ascii('fail'))]]).told).toEqual(['<login  refused']); // prettier-ignore
    expect(talk(vnc, [...begun, ['<', bytesOf('00000000')]])).toMatchObject({ told: ['<login'], memory: { done: true } }); // prettier-ignore
  });

  it('of old says itself what it wants', () => {
    const old: Step[] = [['<', 'RFB 003.003\n'], ['>', 'RFB 003.003\n'], ['<', bytesOf('00000002', challenge)], ['>', challenge], ['<', bytesOf('00000001')]]; // prettier-ignore
    expect(talk(vnc, old).told).toEqual(['<login  refused']);
  });

  it('may ask for nothing, or have heard too much', () => {
    expect(talk(vnc, [['<', banner], ['>', banner], ['<', Uint8Array.of(1, 1)], ['>', Uint8Array.of(1)]]).facts).toEqual(['vnc-security=none']); // prettier-ignore
    expect(talk(vnc, [['<', banner], ['>', banner], ['<', bytesOf('00 00000003', ascii('too'))]]).told).toEqual(['<login  refused-too-often']); // prettier-ignore
  });
});

test('SNMP: communities are told apart, and only the well known are named', () => {
  const told = (community: string, kind = 0xa0): string => talk(snmp, [['>', snmpMessage(community, kind)]]).told.join(); // prettier-ignore
  expect(told('public')).toBe('>get community:public');
  expect(told('public@17')).toBe('>get community:public');
  expect(told('private', 0xa3)).toBe('>set community:private');
  expect(told(SECRET)).toMatch(/^>get community:#[0-9a-f]{4}$/);
  expect(told(SECRET)).not.toBe(told('hunter3'));
  expect(talk(snmp, [['<', snmpMessage('public', 0xa2)]]).told).toEqual(['<response community:public']);
});

describe('SIP', () => {
  const register = (more = '', branch = 'z9hG4bK1'): string => sipMessage('REGISTER sip:10.0.0.2 SIP/2.0', '100', branch, more); // prettier-ignore
  const answer = (status: string, more = '', branch = 'z9hG4bK1'): string => sipMessage(`SIP/2.0 ${status}`, '100', branch, more); // prettier-ignore
  const authorization = `Authorization: Digest username="100", response="${'0'.repeat(32)}"\r\n`;

  it('refuses each registration once, and that is none', () => {
    expect(talk(sip, [['>', register()], ['<', answer('401 Unauthorized')]]).told).toEqual(['>register 100', '<register 100 401']); // prettier-ignore
  });

  it('refuses what brought an answer: that is one', () => {
    const again: Step[] = [['>', register(authorization)], ['<', answer('401 Unauthorized')], ['<', answer('401 Unauthorized')]]; // prettier-ignore
    expect(talk(sip, again).told.slice(1)).toEqual(['<register 100 refused-401', '<register 100 401']);
    const stale: Step[] = [['>', register(authorization)], ['<', answer('401 Unauthorized', 'WWW-Authenticate: Digest stale=true\r\n')]]; // prettier-ignore
    expect(talk(sip, stale).told[1]).toBe('<register 100 401');
    expect(
      talk(sip, [
        ['>', register(authorization)],
        ['<', answer('200 OK')],
      ]).told[1],
    ).toBe('<register 100');
  });

  it('says which program asks', () => {
    expect(talk(sip, [['>', register('User-Agent: friendly-scanner\r\n')]]).facts).toEqual(['sip-agent=friendly-scanner']); // prettier-ignore
    const bytes = ascii(register());
    expect(sip.looksLikeDatagram?.(bytes, 0, bytes.byteLength)).toBe(true);
  });
});

describe('the remote commands of BSD', () => {
  it('rlogin is read up to its refusals', () => {
    expect(talk(rlogin, [['>', '\0'], ['>', 'me\0root\0xterm/38400\0'], ['<', '\0'], ['<', 'Password: '], ['<', '\r\nLogin incorrect\r\n']]).told).toEqual(['>login root', '<login  refused']); // prettier-ignore
    expect(
      talk(rlogin, [
        ['>', '\0me\0root\0xterm/38400\0'],
        ['<', '\0'],
      ]).told,
    ).toEqual(['>login root']);
  });

  it('rsh names the command, however it is cut', () => {
    const whole = ['1023\0me\0root\0cat /etc/passwd\0'];
    const cut = ['1023\0', 'me\0ro', 'ot\0cat /etc/passwd\0'];
    for (const parts of [whole, cut])
      expect(talk(rsh, [...parts.map((part): Step => ['>', part]), ['<', '\x01Permission denied.\n']])).toMatchObject({ told: ['>command me: cat /etc/passwd', '<login  refused'], memory: { done: true } }); // prettier-ignore
    expect(talk(rsh, [['>', '<34>Oct 11 su: failed\n']])).toMatchObject({
      told: [],
      memory: { done: 'other' },
    });
  });

  it('rexec does not name the password', () => {
    expect(talk(rexec, [['>', `0\0root\0${SECRET}\0id\0`], ['<', '\x01Login incorrect.\n']]).told).toEqual(['>command root: id', '<login  refused']); // prettier-ignore
  });
});

test('TFTP: which file, which way', () => {
  expect(talk(tftp, [['>', '\0\x01startup-config\0octet\0']]).told).toEqual(['>read startup-config']);
  expect(talk(tftp, [['>', '\0\x02fw.bin\0netascii\0blksize\x001428\0']]).told).toEqual(['>write fw.bin']);
  expect(talk(tftp, [['>', '\0\x01nothing']]).told).toEqual([]);
});

testHostileBytes(redis, [ascii(resp('CONFIG', 'SET', 'dir', '/tmp')), ascii(resp('AUTH', 'x')), ascii('-ERR invalid password\r\n')]); // prettier-ignore
testHostileBytes(vnc, [ascii('RFB 003.008\n'), Uint8Array.of(1, 2), new Uint8Array(16), bytesOf('00000001')]);
testHostileBytes(snmp, [snmpMessage('public', 0xa0), snmpMessage('x'.repeat(40), 0xa2)]);
testHostileBytes(sip, [ascii(sipMessage('OPTIONS sip:a@10.0.0.2 SIP/2.0', '7', 'b', 'Authorization: x\r\n')), ascii(sipMessage('SIP/2.0 401 No', '7', 'b'))]); // prettier-ignore
testHostileBytes(rlogin, [ascii('\0a\0b\0c\0'), ascii('Login incorrect')]);
testHostileBytes(rsh, [ascii('10\0a\0b\0c\0'), ascii('\x01Permission denied')]);
testHostileBytes(rexec, [ascii('10\0a\0b\0c\0'), ascii('\x01Login incorrect')]);
testHostileBytes(tftp, [ascii('\0\x01file\0octet\0')]);
