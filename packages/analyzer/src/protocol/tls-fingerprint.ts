/**
 * Fingerprints of the hello that was read last: programs that speak TLS offer the same things in the same order, wherever they run.
 *
 *   JA3    MD5 of version,ciphers,extensions,groups,point formats (in decimal, each list joined by -)        of a client
 *   JA3S   MD5 of version,cipher,extensions                                                                   of a server
 *   JA4    t, version, d or i (with or without a server's name), two counts, two characters of ALPN _ SHA-256 of the sorted ciphers _ SHA-256 of the
 *          sorted extensions and the signature algorithms (twelve digits each)                                of a client
 */
import { createHash } from 'node:crypto';
import { EXTENSION_ALPN, EXTENSION_SERVER_NAME, hello } from './tls-hello.ts';

export function ja3(): string {
  const lists = [hello.ciphers, hello.extensions, hello.groups, hello.pointFormats].map((list) =>
    list.join('-'),
  );
  return digest('md5', [String(hello.version), ...lists].join(','));
}

export function ja3s(): string {
  return digest('md5', `${hello.version},${hello.ciphers[0] ?? 0},${hello.extensions.join('-')}`);
}

export function ja4(): string {
  const version = { 0x0304: '13', 0x0303: '12', 0x0302: '11', 0x0301: '10', 0x0300: 's3', 2: 's2' }[
    hello.bestVersion
  ];
  const two = (count: number): string => String(Math.min(count, 99)).padStart(2, '0');
  const list = (values: readonly number[]): string =>
    values.map((value) => value.toString(16).padStart(4, '0')).join(',');
  const sorted = (values: readonly number[]): string => list([...values].sort((a, b) => a - b));
  const extensions = sorted(
    hello.extensions.filter((type) => type !== EXTENSION_SERVER_NAME && type !== EXTENSION_ALPN),
  );
  const signatures = hello.signatures.length === 0 ? '' : `_${list(hello.signatures)}`;
  const short = (value: string): string =>
    value === '' ? '0'.repeat(12) : digest('sha256', value).slice(0, 12);
  return [
    `t${version ?? '00'}${hello.hasServerName ? 'd' : 'i'}${two(hello.ciphers.length)}${two(hello.extensions.length)}${hello.alpnMark}`,
    short(sorted(hello.ciphers)),
    hello.extensions.length === 0 ? '0'.repeat(12) : short(extensions + signatures),
  ].join('_');
}

function digest(algorithm: 'md5' | 'sha256', value: string): string {
  return createHash(algorithm).update(value).digest('hex');
}
