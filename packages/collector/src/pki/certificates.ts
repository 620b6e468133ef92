/**
 * The X.509 behind `tapline-collector pki`, and nothing of its files: a certificate authority, certificates it signs, and the
 * list of those it takes back. ECDSA on P-256 with SHA-256, which every TLS library knows.
 *
 *   authority   CN = its name            CA, signs certificates and lists only, no further authority below it
 *   collector   CN = its name            serverAuth, its host names and addresses as subjectAltName
 *   sensor      CN = the sensor's name   clientAuth: the name is the identity, and the archive's directory
 *
 * RFC 5280 for the profiles. A collector's certificate cannot speak for a sensor, nor a sensor's for a collector: the
 * extended key usage keeps them apart.
 */
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;
/** Clocks in plants are wrong: a certificate that is valid since a day ago spares the first hour's search. */
const BACKDATED_MS = DAY_MS;

x509.cryptoProvider.set(webcrypto);

/** A key and its certificate, as PEM. */
export interface Identity {
  readonly key: string;
  readonly certificate: string;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notAfterMs: number;
}

export interface RevokedEntry {
  readonly serial: string;
  readonly atMs: number;
}

export type Purpose =
  { readonly kind: 'sensor' } | { readonly kind: 'collector'; readonly hosts: readonly string[] };

/** A new certificate authority. */
export async function createAuthority(name: string, days: number): Promise<Identity> {
  const keys = await newKeys();
  const serial = newSerial();
  const notAfterMs = Date.now() + days * DAY_MS;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial,
    name: [{ CN: [name] }],
    notBefore: new Date(Date.now() - BACKDATED_MS),
    notAfter: new Date(notAfterMs),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { key: await keyText(keys), certificate: pem(certificate), serial, notAfterMs };
}

/** A certificate of that authority, with a new key. It never outlives the authority. */
export async function issueCertificate(
  authority: { readonly key: string; readonly certificate: string },
  name: string,
  purpose: Purpose,
  days: number,
): Promise<Identity> {
  const keys = await newKeys();
  const issuer = new x509.X509Certificate(authority.certificate);
  const serial = newSerial();
  const notAfterMs = Math.min(Date.now() + days * DAY_MS, issuer.notAfter.getTime());
  const usage =
    purpose.kind === 'sensor' ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth;
  const names =
    purpose.kind === 'sensor'
      ? []
      : [new x509.SubjectAlternativeNameExtension(purpose.hosts.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })))]; // prettier-ignore
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial,
    subject: [{ CN: [name] }],
    issuer: issuer.subject,
    notBefore: new Date(Date.now() - BACKDATED_MS),
    notAfter: new Date(notAfterMs),
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage], true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ...names,
    ],
  });
  return { key: await keyText(keys), certificate: pem(certificate), serial, notAfterMs };
}

/**
 * The list of certificates taken back, signed. It is valid as long as the authority: an expired list would lock every sensor
 * out, and whoever runs a plant for ten years will not renew one every week.
 */
export async function createRevocationList(
  authority: { readonly key: string; readonly certificate: string },
  revoked: readonly RevokedEntry[],
): Promise<string> {
  const issuer = new x509.X509Certificate(authority.certificate);
  const list = await x509.X509CrlGenerator.create({
    issuer: issuer.subject,
    thisUpdate: new Date(Date.now() - BACKDATED_MS),
    nextUpdate: issuer.notAfter,
    signingAlgorithm: ALGORITHM,
    signingKey: await importKey(authority.key),
    entries: revoked.map(({ serial, atMs }) => ({
      serialNumber: serial,
      revocationDate: new Date(atMs),
      reason: x509.X509CrlReason.unspecified,
    })),
    extensions: [await x509.AuthorityKeyIdentifierExtension.create(issuer)],
  });
  // The library says CRL; RFC 7468, section 6, and openssl say X509 CRL.
  return x509.PemConverter.encode(list.rawData, 'X509 CRL') + '\n';
}

/** The serials in a list, lower-case hex. Throws when it is none. */
export function revokedSerials(listPem: string): Set<string> {
  return new Set(new x509.X509Crl(listPem).entries.map(({ serialNumber }) => normalSerial(serialNumber)));
}

/** Serials are compared without regard to case and leading zeros, which every library handles in its own way. */
export function normalSerial(serial: string): string {
  return serial.toLowerCase().replace(/^0+/, '');
}

/** 127 random bits; positive, and never beginning with a zero byte. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function keyText(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const bytes = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return x509.PemConverter.encode(bytes, 'PRIVATE KEY') + '\n';
}

function importKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const bytes = x509.PemConverter.decodeFirst(keyPem);
  return webcrypto.subtle.importKey('pkcs8', bytes, ALGORITHM, false, ['sign']);
}

function pem(certificate: x509.X509Certificate): string {
  return certificate.toString('pem') + '\n';
}
