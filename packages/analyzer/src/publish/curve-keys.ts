/**
 * Keys of the bus (CURVE: Curve25519, as ZeroMQ uses it), in files: one key a line, 40 characters of Z85; lines that begin with # say what it is.
 *
 *   server.key      public and secret key of the daemon, mode 0600
 *   server.pub      its public key, for subscribers
 *   NAME.key        public and secret key of a subscriber, mode 0600: carry it there
 *   clients/*.pub   public keys of those who may subscribe
 */
import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';

const Z85_KEY = /^[0-9a-zA-Z.\-:+=^!/*?&<>()[\]{}@%$#]{40}$/;
const Z85_DIGITS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#';
const OTHERS_READ_OR_WRITE = 0o006;
const FILE_BYTES_MAX = 4096;
/** Subscribers are a SOC's programs, not its people. */
const CLIENTS_MAX = 1000;

export interface CurveKeyPair {
  readonly publicKey: string;
  readonly secretKey: string;
}

/** Writes both files of a pair; never over files that are there. Throws CONFIG_INVALID. */
export function writeKeyPair(
  paths: { readonly secret: string; readonly public: string },
  what: string,
  pair: CurveKeyPair,
): void {
  try {
    writeFileSync(
      paths.secret,
      `# ${what}: public key, secret key. Keep it to yourself.\n${pair.publicKey}\n${pair.secretKey}\n`,
      { mode: 0o600, flag: 'wx' },
    );
    writeFileSync(paths.public, `# ${what}: public key\n${pair.publicKey}\n`, { mode: 0o644, flag: 'wx' });
  } catch (error) {
    throw new OperatingError(
      'CONFIG_INVALID',
      `no key was made: ${messageOf(error)}`,
      { path: paths.secret },
      error,
    );
  }
}

/** Throws CONFIG_INVALID; never says what the file holds. */
export function readKeyPair(path: string): CurveKeyPair {
  const [publicKey, secretKey, ...more] = keysIn(path, true);
  if (publicKey === undefined || secretKey === undefined || more.length > 0) throw unusable(path, 'it does not hold a public and a secret key'); // prettier-ignore
  return { publicKey, secretKey };
}

export function readPublicKey(path: string): string {
  const [key, ...more] = keysIn(path, false);
  if (key === undefined || more.length > 0) throw unusable(path, 'it does not hold one public key');
  return key;
}

/** The public keys in all `*.pub` of a directory, by the names of their files. */
export function readClientKeys(directory: string): ReadonlyMap<string, string> {
  let names;
  try {
    names = readdirSync(directory).filter((name) => name.endsWith('.pub'));
  } catch (error) {
    throw unusable(directory, messageOf(error));
  }
  if (names.length > CLIENTS_MAX) throw unusable(directory, `it holds more than ${CLIENTS_MAX} keys`);
  return new Map(names.map((name) => [readPublicKey(join(directory, name)), name.slice(0, -'.pub'.length)]));
}

export function makeKeyDirectory(directory: string): void {
  try {
    mkdirSync(join(directory, 'clients'), { recursive: true, mode: 0o750 });
  } catch (error) {
    throw new OperatingError('CONFIG_INVALID', `no key was made: ${messageOf(error)}`, { directory }, error);
  }
}

/** 32 bytes as Z85: the form in which keys stand in files, of the form in which ZAP shows them. */
export function z85(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let text = '';
  for (let at = 0; at + 4 <= bytes.byteLength; at += 4) {
    const word = view.getUint32(at);
    for (let divisor = 85 ** 4; divisor >= 1; divisor /= 85) text += Z85_DIGITS.charAt(Math.floor(word / divisor) % 85); // prettier-ignore
  }
  return text;
}

function keysIn(path: string, isSecret: boolean): string[] {
  const lines = readSmall(path, isSecret)
    .split(/\r?\n/)
    .filter((line) => line !== '' && (!line.startsWith('#') || Z85_KEY.test(line)));
  if (!lines.every((line) => Z85_KEY.test(line)))
    throw unusable(path, 'a line of it is no key of 40 characters');
  return lines;
}

function readSmall(path: string, isSecret: boolean): string {
  let descriptor = -1;
  try {
    descriptor = openSync(path, 'r');
    const { mode } = fstatSync(descriptor);
    if (isSecret && (mode & OTHERS_READ_OR_WRITE) !== 0)
      throw new Error(`everybody may read or change it: chmod o= ${path}`);
    const bytes = Buffer.alloc(FILE_BYTES_MAX);
    return bytes.toString('latin1', 0, readSync(descriptor, bytes, 0, FILE_BYTES_MAX, 0));
  } catch (error) {
    throw unusable(path, messageOf(error));
  } finally {
    if (descriptor >= 0) closeSync(descriptor);
  }
}

function unusable(path: string, reason: string): OperatingError {
  return new OperatingError('CONFIG_INVALID', `the key file ${path} cannot be used: ${reason}`, { path });
}
