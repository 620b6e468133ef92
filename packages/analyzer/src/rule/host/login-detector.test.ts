/** What is a guess at a password over HTTP and MQTT, and what are machines that talk to one another. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { connect, field, packet } from '../../protocol/mqtt-testing.ts';
import { udp } from '../../packet/frame-testing.ts';
import { refusal, ticketRequest } from '../../protocol/kerberos-testing.ts';
import { connection } from '../traffic-testing.ts';

function told(target: string, contentType: string | null, count = 40, method = 'POST'): boolean {
  const header = contentType === null ? '' : `Content-Type: ${contentType}\r\n`;
  const packets = Array.from({ length: count }, (_, i) =>
    connection(`10.0.0.66:${5000 + i}`, '10.0.0.2:80', [
      ['>', `${method} ${target} HTTP/1.1\r\nHost: hmi\r\n${header}Content-Length: 9\r\n\r\nu=a&p=${i}`],
      ['<', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ], i * 500_000),
  ).flat(); // prettier-ignore
  return new Rig().add(packets).finish().rules.includes('http-brute-force');
}

it('forms posted to one address again and again are guesses', () => {
  expect(told('/login.php', 'application/x-www-form-urlencoded', 15)).toBe(true);
  expect(told('/login.php', 'application/x-www-form-urlencoded', 14)).toBe(false);
  // Where the address says nothing of logins, it takes more.
  expect(told('/index.php', 'multipart/form-data; boundary=x', 60)).toBe(true);
  expect(told('/index.php', 'application/x-www-form-urlencoded', 59)).toBe(false);
});

it('passwords posted to one address of logins faster than anybody types are guesses, whatever the answer', () => {
  const posted = (count: number, apartUs: number, target: string, body: string): string | undefined => {
    const packets = Array.from({ length: count }, (_, i) =>
      connection(`10.0.0.66:${5000 + i}`, '10.0.0.2:80', [
        ['>', `POST ${target} HTTP/1.1\r\nHost: hmi\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n${body}`],
        ['<', 'HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n'],
      ], i * apartUs),
    ).flat(); // prettier-ignore
    return new Rig().add(packets).finish().alert('http-brute-force')?.evidence;
  };
  const form = 'user=admin&password=a';
  expect(posted(8, 100_000, '/login.php', form)).toContain('8 logins at /login.php by 10.0.0.66');
  expect(posted(7, 100_000, '/login.php', form)).toBeUndefined();
  // As somebody who mistypes, or a page that asks for tokens, or one that is filled in by a machine.
  expect(posted(14, 1_000_000, '/login.php', form)).toBeUndefined();
  expect(posted(14, 100_000, '/oauth/token', 'grant_type=client_credentials')).toBeUndefined();
  expect(posted(14, 100_000, '/settings', form)).toBeUndefined();
});

it('names of users that a ticket service does not know are guesses when they are many', () => {
  const asked = (names: readonly string[], code: number): boolean => {
    const packets = names.flatMap((name, i) => [
      { timeUs: i * 200_000, frame: udp(`10.0.0.66:${5000 + i}`, '10.0.0.2:88', { payload: Buffer.from(ticketRequest(name, 18)) }) },
      { timeUs: i * 200_000 + 500, frame: udp('10.0.0.2:88', `10.0.0.66:${5000 + i}`, { payload: Buffer.from(refusal(code)) }) },
    ]); // prettier-ignore
    return new Rig().add(packets).finish().rules.includes('brute-force');
  };
  const names = (count: number, different: number): string[] => Array.from({ length: count }, (_, i) => `user${i % different}`); // prettier-ignore
  const [unknown, wrongPassword] = [6, 24];
  expect(asked(names(6, 6), unknown)).toBe(true);
  expect(asked(names(40, 5), unknown)).toBe(false);
  expect(asked(names(40, 1), unknown)).toBe(false);
  expect(asked(names(6, 1), wrongPassword)).toBe(true);
});

it('passwords in addresses are guesses', () => {
  expect(told('/brute/?username=admin&password=letmein&Login=Login', null, 15, 'GET')).toBe(true);
  expect(told('/view/?page=7', null, 40, 'GET')).toBe(false);
});

it('JSON and bodies of no kind are, where the address is one of logins', () => {
  expect(told('/api/login', 'application/json')).toBe(true);
  expect(told('/api/auth/token', null)).toBe(true);
  expect(told('/api/tags', 'application/json')).toBe(false);
  expect(told('/api/tags', null)).toBe(false);
});

it('SOAP, WinRM and UPnP post all day and guess nothing', () => {
  expect(told('/wsman?PSVersion=2.0', 'application/soap+xml;charset=UTF-8')).toBe(false);
  expect(told('/upnp/control/WANCommonInterfaceConfig0', 'text/xml; charset="utf-8"')).toBe(false);
});

it('logins that an MQTT broker refuses are guesses, topics that it refuses are not', () => {
  const guessed = (answer: Uint8Array): string[] => {
    const packets = Array.from({ length: 8 }, (_, i) =>
      connection(`10.0.0.66:${5000 + i}`, '10.0.0.2:1883', [
        ['>', connect({ level: 5, client: `c${i}`, user: 'admin', password: `p${i}` })],
        ['>', packet(0x82, [0, 1, 0], field('plant/level'), [0])],
        ['<', answer],
      ], i * 1_000_000),
    ).flat(); // prettier-ignore
    const rig = new Rig().add(packets).finish();
    expect(JSON.stringify([...rig.alerts.values()])).not.toMatch(/"p\d"/);
    return rig.rules;
  };
  expect(guessed(packet(0x20, [0, 0x86, 0]))).toContain('brute-force');
  expect(guessed(packet(0x20, [0, 5]))).toContain('brute-force');
  expect(guessed(packet(0x20, [0, 0x88, 0]))).not.toContain('brute-force');
  expect(guessed(packet(0x90, [0, 1, 0, 0x87]))).not.toContain('brute-force');
});
