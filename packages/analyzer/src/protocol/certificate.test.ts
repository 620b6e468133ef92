/** Names of certificates: of those that OpenSSL makes, and of any bytes. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCertificate } from './certificate.ts';

let directory: string;
let own: Buffer;
let signed: Buffer;

function openssl(...words: readonly string[]): void {
  execFileSync('openssl', words, { cwd: directory, stdio: 'ignore' });
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tapline-certificate-'));
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/C=DE/O=Plant/CN=Plant CA',
  );
  openssl('req', ...key, '-keyout', 'plc.key', '-out', 'plc.csr', '-subj', '/O=Plant/OU=Cell 1/CN=plc-1');
  openssl('x509', '-req', '-in', 'plc.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-out', 'plc.pem');
  for (const name of ['ca', 'plc']) openssl('x509', '-in', `${name}.pem`, '-outform', 'der', '-out', `${name}.der`); // prettier-ignore
  own = readFileSync(join(directory, 'ca.der'));
  signed = readFileSync(join(directory, 'plc.der'));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

describe('a certificate', () => {
  it('says whom it is about and who vouches for that', () => {
    expect(readCertificate(signed, 0, signed.byteLength)).toEqual({
      subject: 'O=Plant, OU=Cell 1, CN=plc-1',
      issuer: 'O=Plant, CN=Plant CA',
      isSelfSigned: false,
    });
  });

  it('that vouches for itself is known', () => {
    expect(readCertificate(own, 0, own.byteLength)).toMatchObject({ subject: 'O=Plant, CN=Plant CA', isSelfSigned: true }); // prettier-ignore
  });

  it('that is cut within its names is none, and behind them it is one', () => {
    const whole = readCertificate(signed, 0, signed.byteLength);
    for (let end = 0; end < signed.byteLength; end++) expect([null, whole]).toContainEqual(readCertificate(signed, 0, end)); // prettier-ignore
  });

  it('of any bytes throws nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), fc.nat(255), (noise, at, byte) => {
        readCertificate(noise, 0, noise.byteLength);
        const hurt = Buffer.from(signed);
        hurt[at % hurt.byteLength] = byte;
        const names = readCertificate(hurt, 0, hurt.byteLength);
        expect((names?.subject ?? '').length + (names?.issuer ?? '').length).toBeLessThanOrEqual(400);
      }),
    );
  });
});
