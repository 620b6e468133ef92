/** TLS between the real programs, with certificates made by `tapline-collector pki` and judged by openssl. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { createAuthority, issueCertificate } from '@tapline/collector/src/pki/certificates.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';
import {
  cleanUp,
  directory,
  forwarder,
  packetsIn,
  pki,
  plant,
  run,
  setUp,
  startCollector,
} from './tls-testing.ts';

beforeAll(setUp);
afterAll(cleanUp);

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
