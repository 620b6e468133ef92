/**
 * The one door to the files of TLS: keys, certificates and revocation lists from the disk, checked before anyone relies on them.
 * A bundle is one PEM file with everything in it; files of their own for some of it go before.
 */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { OperatingError, messageOf } from '../base/errors.ts';

export interface TlsPaths {
  readonly bundle?: string | undefined;
  readonly ca?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  readonly crl?: string | undefined;
}

export interface TlsFiles {
  /** PEM. The authorities that are trusted, and no others. */
  readonly ca: readonly string[];
  /** PEM, the own one first. */
  readonly certificates: readonly string[];
  readonly key: string;
  readonly crl: string | null;
  /** CN of the own certificate. */
  readonly name: string;
  readonly notAfterMs: number;
  /** Others than the owner may read the key. */
  readonly isKeyExposed: boolean;
}

const PEM = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]+?-----END \1-----/g;
const BYTES_MAX = 1024 * 1024;

/** Reads and checks them all. Throws CONFIG_INVALID with a sentence that names the file. */
export function readTlsFiles(paths: TlsPaths): TlsFiles {
  const caPath = required(paths.ca ?? paths.bundle, 'ca');
  const certificatePath = required(paths.certificate ?? paths.bundle, 'certificate');
  const keyPath = required(paths.key ?? paths.bundle, 'key');
  const ca = certificatesIn(caPath).filter((certificate) => certificate.ca);
  if (ca.length === 0) throw invalid(caPath, 'holds no certificate of an authority');
  const own = certificatesIn(certificatePath).filter((certificate) => !certificate.ca);
  const [leaf] = own;
  if (leaf === undefined) throw invalid(certificatePath, 'holds no certificate but an authority’s');
  const key = blocksOf(keyPath, (label) => label.endsWith('PRIVATE KEY'))[0];
  if (key === undefined) throw invalid(keyPath, 'holds no private key');
  if (!isKeyOf(leaf, key, keyPath)) throw invalid(keyPath, `holds a key that is not that of the certificate in ${certificatePath}`); // prettier-ignore
  const crl = paths.crl === undefined ? null : blocksOf(paths.crl, (label) => label === 'X509 CRL')[0];
  if (crl === undefined) throw invalid(paths.crl ?? '', 'holds no revocation list');
  return {
    ca: ca.map(String),
    certificates: own.map(String),
    key,
    crl,
    name: commonNameOf(leaf.subject),
    notAfterMs: Date.parse(leaf.validTo),
    isKeyExposed: (statSync(keyPath).mode & 0o077) !== 0,
  };
}

/** The CN of a subject as `X509Certificate` writes it, a line per attribute; empty when there is none, or more than one. */
export function commonNameOf(subject: string): string {
  const names = subject.split('\n').filter((line) => line.startsWith('CN='));
  return names.length === 1 ? (names[0] ?? '').slice(3) : '';
}

function isKeyOf(certificate: X509Certificate, key: string, path: string): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    throw invalid(path, `holds a private key that cannot be read: ${messageOf(error)}`);
  }
}

function certificatesIn(path: string): X509Certificate[] {
  return blocksOf(path, (label) => label === 'CERTIFICATE').map((pem) => {
    try {
      return new X509Certificate(pem);
    } catch (error) {
      throw invalid(path, `holds a certificate that cannot be read: ${messageOf(error)}`);
    }
  });
}

function blocksOf(path: string, isWanted: (label: string) => boolean): string[] {
  let text;
  try {
    if (statSync(path).size > BYTES_MAX) throw new Error('it is too large for that');
    text = readFileSync(path, 'latin1');
  } catch (error) {
    throw invalid(path, `cannot be read: ${messageOf(error)}`);
  }
  return [...text.matchAll(PEM)].filter(([, label = '']) => isWanted(label)).map(([block]) => `${block}\n`);
}

function required(path: string | undefined, key: string): string {
  if (path === undefined)
    throw new OperatingError('CONFIG_INVALID', `tls needs a bundle, or a ${key}`, { key: `tls.${key}` });
  return path;
}

function invalid(path: string, sentence: string): OperatingError {
  return new OperatingError('CONFIG_INVALID', `${path} ${sentence}`, { path });
}
