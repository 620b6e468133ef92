/**
 * TLS between the real programs, with certificates made by `tapline-collector pki` and judged by openssl; and everything that
 * must not pass.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { createAuthority, issueCertificate } from '@tapline/collector/src/pki/certificates.ts';
import { helloOf } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-tls-'));
const pki = join(directory, 'pki');
const plant = join(directory, 'plant.pcap');
const programs: Program[] = [];

beforeAll(async () => {
  await run('forwarder', 'simulate', '-o', plant, '--duration', '20s', '--seed', '11');
  await run('collector', 'pki', 'init', '--dir', pki, '--name', 'Test Plant');
  await run('collector', 'pki', 'issue', '--dir', pki, '--collector', 'soc', '--host', '127.0.0.1', '--host', 'localhost'); // prettier-ignore
  for (const sensor of ['cell-1', 'cell-2', 'cell-3'])
    await run('collector', 'pki', 'issue', '--dir', pki, sensor);
});
afterAll(async () => {
  for (const program of programs) program.child.kill('SIGKILL');
  for (const program of programs) await program.exited;
  rmSync(directory, { recursive: true, force: true });
});

async function run(program: 'forwarder' | 'collector', ...words: string[]): Promise<string> {
  const child = new Program(program, words);
  let text = '';
  child.child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const { code } = await child.exited;
  expect(code, child.transcript()).toBe(0);
  return text;
}

let files = 0;
function config(text: string): string {
  const file = join(directory, `config-${String(files++)}.yaml`);
  writeFileSync(file, text);
  return file;
}

async function startCollector(
  more = '',
  bind = '127.0.0.1',
): Promise<{ collector: Program; port: number; soc: string; file: string }> {
  const soc = join(directory, `soc-${String(files)}`);
  const file = config(
    `port: 0\nbind: ${bind}\nprotocol: tcp\narchive: {link_type: ethernet}\nlimits: {hello_timeout: 1s}\ntls: {bundle: ${pki}/soc.pem, crl: ${pki}/ca.crl}\noutput_directories: {pcap_raw_output_path: ${soc}}\n${more}`,
  );
  const collector = new Program('collector', ['-c', file]);
  programs.push(collector);
  return { collector, port: Number((await collector.line('Listening for sensors.'))['port']), soc, file };
}

function forwarder(
  sensor: string,
  port: number,
  bundle = `${pki}/${sensor}.pem`,
  more = '',
  host = '127.0.0.1',
): Program {
  const program = new Program('forwarder', [
    '-c',
    config(
      `sensor: ${sensor}\ncapture: {driver: file, files: [${plant}]}\narchive: {enable: false}\nforward: {enable: true, host: ${host}, port: ${String(port)}, protocol: tcp, tls: {bundle: ${bundle}}, drain_timeout: 100ms${more}}\n`,
    ),
  ]);
  programs.push(program);
  return program;
}

async function packetsIn(path: string): Promise<SeenPacket[]> {
  const packets: SeenPacket[] = [];
  for (const name of readdirSync(path))
    if (name.endsWith('.pcap')) packets.push(...(await packetsOfFile(join(path, name))));
  return packets;
}

function openssl(...words: string[]): { ok: boolean; said: string } {
  const { status, stdout, stderr } = spawnSync('openssl', words, { encoding: 'utf8' });
  return { ok: status === 0, said: stdout + stderr };
}

describe('the certificates of `pki`', () => {
  const verify = (name: string, purpose: string) =>
    openssl('verify', '-crl_check', '-CAfile', `${pki}/ca.crt`, '-CRLfile', `${pki}/ca.crl`, '-purpose', purpose, leafOf(name)); // prettier-ignore

  function leafOf(name: string): string {
    const file = join(directory, `${name}.crt`);
    writeFileSync(file, execFileSync('openssl', ['x509', '-in', `${pki}/${name}.pem`]));
    return file;
  }

  it('are good for their purpose and no other, says openssl', () => {
    expect(verify('cell-1', 'sslclient').ok).toBe(true);
    expect(verify('cell-1', 'sslserver').ok).toBe(false);
    expect(verify('soc', 'sslserver').ok).toBe(true);
    expect(verify('soc', 'sslclient').ok).toBe(false);
    expect(openssl('x509', '-in', leafOf('soc'), '-noout', '-ext', 'subjectAltName').said).toMatch(/IP Address:127\.0\.0\.1.*DNS:localhost/); // prettier-ignore
  });

  it('are no good after they were taken back, and a new one is', async () => {
    await run('collector', 'pki', 'issue', '--dir', pki, 'cell-9');
    const old = readFileSync(leafOf('cell-9'));
    expect(verify('cell-9', 'sslclient').ok).toBe(true);
    await run('collector', 'pki', 'issue', '--dir', pki, 'cell-9', '--force');
    expect(verify('cell-9', 'sslclient').ok).toBe(true);
    writeFileSync(join(directory, 'old.crt'), old);
    expect(openssl('verify', '-crl_check', '-CAfile', `${pki}/ca.crt`, '-CRLfile', `${pki}/ca.crl`, join(directory, 'old.crt')).said).toContain('revoked'); // prettier-ignore
    const { issued } = JSON.parse(await run('collector', 'pki', 'list', '--dir', pki, '--json')) as { issued: { name: string; revokedAtMs: number | null }[] }; // prettier-ignore
    expect(issued.filter(({ name }) => name === 'cell-9').map(({ revokedAtMs }) => revokedAtMs === null)).toEqual([false, true]); // prettier-ignore
  });

  it('lie where only their owner reads the keys, and are not overwritten by mistake', async () => {
    expect(statSync(pki).mode & 0o777).toBe(0o700);
    // Where nothing was before: the directories above are not closed to the services.
    await run('collector', 'pki', 'init', '--dir', join(directory, 'etc/tapline/pki'));
    expect(statSync(join(directory, 'etc/tapline')).mode & 0o055).toBe(0o055);
    for (const name of ['ca.key', 'cell-1.pem', 'soc.pem'])
      expect(statSync(join(pki, name)).mode & 0o777, name).toBe(0o600);
    for (const words of [['init'], ['issue', 'cell-1'], ['revoke', 'nobody'], ['issue', '../x']]) {
      const child = new Program('collector', ['pki', ...words, '--dir', pki]);
      expect((await child.exited).code, words.join(' ')).toBe(2);
    }
  });

  it('are installed on a probe by one command, which tells the lines to write', async () => {
    const target = join(directory, 'etc', 'forwarder.pem');
    const said = await run('forwarder', 'enroll', `${pki}/cell-1.pem`, '--to', target);
    expect(said).toContain('sensor: cell-1');
    expect(statSync(target).mode & 0o777).toBe(0o400);
    const other = new Program('forwarder', ['enroll', `${pki}/cell-2.pem`, '--to', target]);
    expect((await other.exited).code).toBe(2);
    await run('forwarder', 'enroll', `${pki}/cell-1.pem`, '--to', target);
  });
});

describe('the tunnel over TLS', () => {
  it('carries everything, and nothing of it can be read on the way', async () => {
    const { collector, port, soc } = await startCollector();
    const seen: Buffer[] = [];
    const tap = createServer((client) => {
      const target = connectTcp(port, '127.0.0.1');
      client.on('data', (chunk) => seen.push(chunk)).on('error', () => undefined).pipe(target); // prettier-ignore
      target.on('data', (chunk) => seen.push(chunk)).on('error', () => undefined).pipe(client); // prettier-ignore
    });
    await new Promise<void>((resolve) => tap.listen(0, '127.0.0.1', resolve));
    const { port: tapPort } = tap.address() as { port: number };
    const program = forwarder('cell-1', tapPort, undefined, ', compression: none');
    expect((await program.exited).code, program.transcript()).toBe(0);
    tap.close();
    expect(await collector.stop()).toBe(0);
    const sent = contentOf(await packetsOfFile(plant)).sort();
    expect(contentOf(await packetsIn(join(soc, 'cell-1'))).sort()).toEqual(sent);
    const bytes = Buffer.concat(seen);
    expect(bytes.byteLength).toBeGreaterThan(100_000);
    expect([bytes.includes('TAPL'), bytes.includes('cell-1'), bytes.includes('IEEE')]).toEqual([
      false,
      false,
      false,
    ]);
    expect(booksOf(program)['uplink']).toMatchObject({ plaintextNow: 0 });
    expect(booksOf(program)['uplink']?.['certificateDaysLeftNow']).toBeGreaterThan(700);
  });

  it('lets nobody write into another sensor’s archive', async () => {
    const { collector, port, soc } = await startCollector();
    const thief = forwarder('cell-2', port, `${pki}/cell-1.pem`);
    const refusal = await thief.line('The collector refused this sensor.');
    expect(refusal['sentence']).toBe('the certificate is that of cell-1, not of cell-2');
    await thief.stop();
    expect(readdirSync(soc)).not.toContain('cell-2');
    await collector.stop();
  });

  it('is refused by a forwarder when the collector is not the one it called, or has another authority', async () => {
    const { collector, port } = await startCollector('', '0.0.0.0');
    const elsewhere = forwarder('cell-1', port, undefined, '', '127.0.0.2');
    expect((await elsewhere.line('The collector cannot be reached.'))['message']).toContain(
      'IP: 127.0.0.2 is not in the cert',
    );
    await elsewhere.stop();
    await collector.stop();
    const authority = await createAuthority('Impostor', 30);
    const impostor = await issueCertificate(
      authority,
      'soc',
      { kind: 'collector', hosts: ['127.0.0.1'] },
      30,
    );
    const server = createTlsServer({ key: impostor.key, cert: impostor.certificate });
    server.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const fooled = forwarder('cell-1', (server.address() as { port: number }).port);
    expect((await fooled.line('The collector cannot be reached.'))['message']).toMatch(
      /no TLS .*(unable to verify|signature)/,
    );
    await fooled.stop();
    server.close();
  });

  it('ends with the certificate: revoked and reloaded, the session is over and does not come back; others stay', async () => {
    const { collector, port } = await startCollector();
    const slow = ', max_rate: 100kbit/s';
    const [good, bad] = [
      forwarder('cell-2', port, undefined, slow),
      forwarder('cell-3', port, undefined, slow),
    ];
    await Promise.all([good.line('Connected to the collector.'), bad.line('Connected to the collector.')]);
    await run('collector', 'pki', 'revoke', 'cell-3', '--dir', pki);
    collector.child.kill('SIGHUP');
    expect((await bad.line('The collector refused this sensor.'))['sentence']).toBe(
      'the certificate was revoked',
    );
    const again = forwarder('cell-3', port);
    expect((await again.line('The collector refused this sensor.'))['sentence']).toContain('CERT_REVOKED');
    expect(good.log.some(({ msg }) => msg === 'The connection to the collector was lost.')).toBe(false);
    for (const program of [again, bad]) program.child.kill('SIGKILL');
    good.child.kill('SIGKILL');
    await collector.stop();
  });

  it('takes new certificates without a restart, and keeps the old ones when the new are no good', async () => {
    const { collector, port, file } = await startCollector();
    const bundle = join(directory, 'renewed.pem');
    copyFileSync(`${pki}/soc.pem`, bundle);
    writeFileSync(file, readFileSync(file, 'utf8').replace(`${pki}/soc.pem`, bundle));
    const serialAt = async (): Promise<string> =>
      new Promise((resolve) => {
        const socket = connectTls({ host: '127.0.0.1', port, ca: readFileSync(`${pki}/ca.crt`) }, () => {
          resolve(socket.getPeerCertificate().serialNumber);
          socket.destroy();
        });
        socket.on('error', () => undefined);
      });
    const before = await serialAt();
    await run(
      'collector',
      'pki',
      'issue',
      '--dir',
      pki,
      '--collector',
      'soc',
      '--host',
      '127.0.0.1',
      '--force',
    );
    writeFileSync(`${pki}/soc.pem`, 'no PEM at all');
    collector.child.kill('SIGHUP');
    await collector.line('The new certificate is not usable; the old one stays in force.');
    expect(await serialAt()).toBe(before);
    await run('collector', 'pki', 'issue', '--dir', pki, '--collector', 'soc', '--host', '127.0.0.1', '--host', 'localhost', '--force'); // prettier-ignore
    const program = forwarder('cell-2', port, undefined, ', max_rate: 2Mbit/s');
    await program.line('Connected to the collector.');
    const renewed = collector.log.filter(({ msg }) => msg === 'The certificate was read.').length;
    collector.child.kill('SIGHUP');
    while (collector.log.filter(({ msg }) => msg === 'The certificate was read.').length === renewed)
      await sleep(20);
    expect(await serialAt()).not.toBe(before);
    // The session that was there goes on as if nothing had happened.
    expect((await program.exited).code, program.transcript()).toBe(0);
    expect(program.log.some(({ msg }) => msg === 'The connection to the collector was lost.')).toBe(false);
    await collector.stop();
  });
});

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
