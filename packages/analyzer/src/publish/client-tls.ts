/** What a client of TLS needs from files: an authority of its own choice, and perhaps a certificate to show. */
import { readFileSync } from 'node:fs';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { readTlsFiles } from '@tapline/shared/system/tls-files.ts';

export interface ClientTlsPaths {
  /** PEM of the authorities to trust; absent: those of the system. */
  readonly ca?: string | undefined;
  /** Both, or neither. With them, `ca` is needed. */
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  /** The name that the other side's certificate must bear, when it is not the host. */
  readonly server_name?: string | undefined;
}

export interface ClientTls {
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
}

/** Throws CONFIG_INVALID with a sentence that names the file. */
export function readClientTls(paths: ClientTlsPaths): ClientTls {
  const servername = paths.server_name === undefined ? {} : { servername: paths.server_name };
  if (paths.certificate !== undefined) {
    const files = readTlsFiles(paths);
    return { ca: [...files.ca], cert: files.certificates.join(''), key: files.key, ...servername };
  }
  return paths.ca === undefined ? servername : { ca: [readCa(paths.ca)], ...servername };
}

function readCa(path: string): string {
  let text;
  try {
    text = readFileSync(path, 'latin1');
  } catch (error) {
    throw new OperatingError(
      'CONFIG_INVALID',
      `${path} cannot be read: ${messageOf(error)}`,
      { path },
      error,
    );
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----'))
    throw new OperatingError('CONFIG_INVALID', `${path} holds no certificate`, { path });
  return text;
}
