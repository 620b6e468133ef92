/** Things to know: passwords in the clear, certificates that vouch for themselves, names that controllers do not ask for; and what is none of them. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { udp, type Packet } from '../../packet/frame-testing.ts';
import { connect } from '../../protocol/mqtt-testing.ts';
import { connection, dns } from '../traffic-testing.ts';

type Lines = Parameters<typeof connection>[2];

function evidenceOf(rule: string, packets: readonly Packet[], rules: object = {}): string | undefined {
  return new Rig({ rules }).add(packets).finish().alert(rule)?.evidence;
}

function passwordOver(port: number, lines: Lines): string | undefined {
  const evidence = evidenceOf('clear-password', connection('10.0.0.1:5000', `10.0.0.2:${port}`, lines, 0));
  return evidence === undefined ? undefined : /\((.*?)\)/.exec(evidence)?.[1];
}

const post = (head: string, body: string): Lines => [['>', `POST /login HTTP/1.1\r\nHost: hmi\r\n${head}\r\n\r\n${body}`]]; // prettier-ignore

describe('a password in the clear', () => {
  it.each<[string, number, Lines]>([
    ['ftp', 21, [['>', 'USER plant\r\n'], ['<', '331 and?\r\n'], ['>', 'PASS secret\r\n']]],
    ['telnet', 23, [['<', 'login: '], ['>', 'plant\r\n'], ['<', 'Password: '], ['>', 's']]],
    ['http-basic', 80, [['>', 'GET / HTTP/1.1\r\nHost: hmi\r\nAuthorization: Basic cGxhbnQ6c2VjcmV0\r\n\r\n']]],
    ['http-form', 80, post('Content-Type: application/x-www-form-urlencoded', 'user=plant&password=secret')],
    ['http-form', 8080, post('Content-Type: application/json', '{"user":"plant","password":"secret"}')],
    ['pop3', 110, [['<', '+OK\r\n'], ['>', 'USER plant\r\n'], ['<', '+OK\r\n'], ['>', 'PASS secret\r\n']]],
    ['imap', 143, [['<', '* OK\r\n'], ['>', 'a LOGIN plant secret\r\n']]],
    ['smtp', 25, [['<', '220 mail\r\n'], ['>', 'EHLO plc\r\n'], ['<', '250 AUTH\r\n'], ['>', 'AUTH PLAIN AHBsYW50AHNlY3JldA==\r\n']]],
    ['mqtt', 1883, [['>', connect({ client: 'plc', user: 'plant', password: 'secret' })]]],
    ['ldap', 389, [['>', Buffer.from('3013020101600e0201030403636e3d800473656372','hex')]]],
  ])('is told: %s on port %i', (how, port, lines) => {
    expect(passwordOver(port, lines)).toBe(how);
  }); // prettier-ignore

  it.each<[string, number, Lines]>([
    ['FTP for everybody', 21, [['>', 'USER anonymous\r\n'], ['>', 'PASS me@\r\n']]],
    ['a Telnet prompt that nobody answers', 23, [['<', 'Password: '], ['>', '\r\n']]],
    ['a token', 80, [['>', 'GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n']]],
    ['a form without one', 80, post('Content-Type: application/x-www-form-urlencoded', 'name=passat&compass=north')],
    ['a login that hides it', 143, [['<', '* OK\r\n'], ['>', 'a AUTHENTICATE CRAM-MD5\r\n']]],
  ])('is none: %s', (_, port, lines) => {
    expect(passwordOver(port, lines)).toBeUndefined();
  }); // prettier-ignore

  it('itself stands nowhere', () => {
    const rig = new Rig().add(connection('10.0.0.1:5000', '10.0.0.2:21', [['>', 'USER plant\r\n'], ['>', 'PASS s3cr3t\r\n']], 0)).finish(); // prettier-ignore
    expect(JSON.stringify([rig.flows, [...rig.alerts.values()]])).not.toContain('s3cr3t');
  });
});

describe('a name', () => {
  const asks = (name: string): string | undefined =>
    evidenceOf('notable-host', [
      { timeUs: 0, frame: udp('10.0.0.1:5000', '10.0.0.2:53', { payload: dns(1, name) }) },
    ]);

  it('that is listed is told with what is below it', () => {
    expect(asks('duckdns.org')).toContain('duckdns.org');
    expect(asks('a.b.DuckDNS.org')).toContain('a.b.DuckDNS.org');
    expect(asks('much.data.in.many.labels.of.a.oast.fun')).toContain('oast.fun');
  });

  it('that only looks like it is none', () => {
    expect(asks('notduckdns.org')).toBeUndefined();
    expect(asks('duckdns.org.example')).toBeUndefined();
    expect(asks('org')).toBeUndefined();
  });

  it('may stand in a request, and in the rules', () => {
    const packets = connection('10.0.0.1:5000', '203.0.113.9:80', [['>', 'GET / HTTP/1.1\r\nHost: evil.example:80\r\n\r\n']], 0); // prettier-ignore
    expect(evidenceOf('notable-host', packets)).toBeUndefined();
    expect(evidenceOf('notable-host', packets, { notable_host: { hosts: { 'what is ours': ['evil.example'] } } })).toContain('evil.example'); // prettier-ignore
  });
});
