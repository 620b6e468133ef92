/** What TLS must not let pass: strangers of every kind, plaintext that nobody asked for, keys that others can read. */
import { chmodSync, copyFileSync, readFileSync, readdirSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { createAuthority, issueCertificate } from '@tapline/collector/src/pki/certificates.ts';
import { helloOf } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packetsOfFile } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';
import {
  cleanUp,
  config,
  directory,
  forwarder,
  packetsIn,
  pki,
  plant,
  programs,
  setUp,
  startCollector,
} from './tls-testing.ts';

beforeAll(setUp);
afterAll(cleanUp);

describe('what does not pass', () => {
  it('strangers of every kind, while a sensor goes on undisturbed', async () => {
    const { collector, port, soc } = await startCollector();
    const program = forwarder('cell-1', port, undefined, ', max_rate: 3Mbit/s');
    await program.line('Connected to the collector.');
    const authority = await createAuthority('Stranger', 30);
    const stranger = await issueCertificate(authority, 'cell-1', { kind: 'sensor' }, 30);
    const own = {
      key: readFileSync(`${pki}/ca.key`, 'utf8'),
      certificate: readFileSync(`${pki}/ca.crt`, 'utf8'),
    };
    const expired = await issueCertificate(own, 'cell-1', { kind: 'sensor' }, -0.5);
    const server = await issueCertificate(own, 'cell-1', { kind: 'collector', hosts: ['x'] }, 30);
    const good = await issueCertificate(own, 'cell-7', { kind: 'sensor' }, 30);
    const ca = readFileSync(`${pki}/ca.crt`);
    const attempt = (options: object): Promise<string> =>
      new Promise((resolve) => {
        const socket = connectTls({ host: '127.0.0.1', port, ca, ...options });
        const bytes: Buffer[] = [];
        socket.on('secureConnect', () => socket.write(helloOf('cell-7')));
        socket.on('data', (chunk: Buffer) => bytes.push(chunk));
        socket.on('error', (error) => {
          resolve((error as NodeJS.ErrnoException).code ?? String(error));
        });
        socket.on('close', () => {
          resolve(Buffer.concat(bytes).toString('latin1'));
        });
      });
    const identity = ({ key, certificate }: { key: string; certificate: string }) => ({
      key,
      cert: certificate,
    });
    expect(await attempt({})).toContain('not accepted: NO_CERTIFICATE');
    expect(await attempt(identity(stranger))).toMatch(/not accepted: .*(SIGNATURE|ISSUER)/);
    expect(await attempt(identity(expired))).toContain('not accepted: CERT_HAS_EXPIRED');
    expect(await attempt(identity(server))).toContain('not accepted: INVALID_PURPOSE');
    expect(await attempt({ ...identity(good), maxVersion: 'TLSv1.2' })).toMatch(/PROTOCOL_VERSION|ALERT/);
    // A ticket of a good session opens nothing to who has no certificate, and is no session of its own to who has one.
    expect(await attempt({ session: await ticketOf(port, ca, identity(good)) })).toContain('not accepted: NO_CERTIFICATE'); // prettier-ignore
    expect(await isResumed(port, ca, identity(good))).toBe(false);
    expect(await plainly(port, helloOf('cell-7'))).not.toContain('TAPL');
    expect(await plainly(port, Buffer.alloc(5000, 0x55))).not.toContain('TAPL');
    // Silence is ended by the collector, a second after it began.
    expect(await plainly(port, Buffer.alloc(0))).toBe('');
    expect((await program.exited).code, program.transcript()).toBe(0);
    expect(await collector.stop()).toBe(0);
    const { listen } = booksOf(collector);
    const failed = Object.values(listen?.['handshakesFailedByReason'] as Record<string, number>);
    expect(failed.reduce((sum, count) => sum + count, 0)).toBe(9);
    expect(readdirSync(soc).filter((name) => name.startsWith('cell'))).toEqual(['cell-1']);
    expect((await packetsIn(join(soc, 'cell-1'))).length).toBe((await packetsOfFile(plant)).length);
  });

  it('a configuration that would send or take plaintext, unless it says so in so many words', async () => {
    const check = async (program: 'forwarder' | 'collector', text: string) => {
      const child = new Program(program, ['check', config(text)]);
      return { code: (await child.exited).code, said: child.noise.join('\n') };
    };
    const forward = (more: string) => `sensor: a\ncapture: {interface: eth1}\nforward: {enable: true, host: 192.0.2.1, port: 5000, protocol: tcp${more}}\n`; // prettier-ignore
    const refused = await check('forwarder', forward(''));
    expect(refused.code).toBe(2);
    expect(refused.said).toMatch(/:3:\d+ +forward\.host: is another machine[\s\S]*allow_plaintext: true/);
    expect((await check('forwarder', forward(', allow_plaintext: true'))).code).toBe(0);
    expect((await check('forwarder', forward(', failover: [{host: 192.0.2.2, port: 1}]').replace('192.0.2.1', '127.0.0.1'))).code).toBe(2); // prettier-ignore
    const collector = 'port: 5000\nprotocol: tcp\nbind: 0.0.0.0\n';
    expect((await check('collector', collector)).code).toBe(2);
    expect((await check('collector', `${collector}allow_plaintext: true\n`)).code).toBe(0);
  });

  it('but for a file of SecureOT’s, which knows no TLS: it runs, with a warning and in the status', async () => {
    const text = `capture: {interface: lo}\nrouting_rules: [{ip: 10.0.0.1, output_prefix: a}]\ndefault_output_prefix: b\noutput_directories: {pcap_raw_output_path: ${join(directory, 'legacy')}}\nforward: {enable: true, host: 192.0.2.1, port: 5000, protocol: UDP}\n`;
    const program = new Program('forwarder', ['-c', config(text)]);
    programs.push(program);
    await program.line('Packets leave this machine without encryption, to whoever answers there.');
    await program.line('Started.');
    await program.stop();
    expect(booksOf(program)['uplink']).toMatchObject({ plaintextNow: 1 });
  });

  it('a key that others can read is told of', async () => {
    const exposed = join(directory, 'exposed.pem');
    copyFileSync(`${pki}/cell-1.pem`, exposed);
    chmodSync(exposed, 0o644);
    const { collector, port } = await startCollector();
    const program = forwarder('cell-1', port, exposed);
    await program.line('Others than the owner may read the private key.');
    await program.exited;
    await collector.stop();
  });
});

function plainly(port: number, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1', () => socket.write(bytes));
    const answer: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => answer.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      resolve(Buffer.concat(answer).toString('latin1'));
    });
  });
}

/** The last of the tickets that a connection with this identity is given; `undefined`: none. */
function ticketOf(port: number, ca: Buffer, identity: object): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let ticket: Buffer | undefined;
    const socket = connectTls({ host: '127.0.0.1', port, ca, ...identity });
    socket.on('session', (session: Buffer) => (ticket = session));
    socket.on('secureConnect', () => setTimeout(() => socket.destroy(), 300));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      resolve(ticket);
    });
  });
}

async function isResumed(port: number, ca: Buffer, identity: object): Promise<boolean> {
  const session = await ticketOf(port, ca, identity);
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', port, ca, session, ...identity }, () => {
      resolve(socket.isSessionReused());
      setTimeout(() => socket.destroy(), 300);
    });
    socket.on('error', reject);
  });
}
