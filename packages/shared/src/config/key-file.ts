/**
 * Pre-shared keys in files: 64 hexadecimal digits, as `openssl rand -hex 32` writes them, and nothing else but a line end.
 * A key that everybody on the machine may read is refused: it is no secret.
 */
import { fstatSync, closeSync, openSync, readSync } from 'node:fs';
import { OperatingError, messageOf } from '../base/errors.ts';

const OTHERS_READ_OR_WRITE = 0o006;
const BYTES_MAX = 128;

/** The 32 bytes of the key. Throws CONFIG_INVALID with a sentence that names the file and never its content. */
export function readKeyFile(path: string): Uint8Array {
  const text = readSmallFile(path);
  if (!/^[0-9a-fA-F]{64}\s*$/.test(text))
    throw new OperatingError('CONFIG_INVALID', `${path} does not hold a key of 64 hexadecimal digits`, {
      path,
    });
  return Buffer.from(text.slice(0, 64), 'hex');
}

function readSmallFile(path: string): string {
  let descriptor = -1;
  try {
    descriptor = openSync(path, 'r');
    const { mode } = fstatSync(descriptor);
    if ((mode & OTHERS_READ_OR_WRITE) !== 0)
      throw new Error(
        `everybody may read or change it (mode ${(mode & 0o777).toString(8)}): chmod o= ${path}`,
      );
    const bytes = Buffer.alloc(BYTES_MAX);
    return bytes.toString('latin1', 0, readSync(descriptor, bytes, 0, BYTES_MAX, 0));
  } catch (error) {
    const message = `the key file ${path} cannot be used: ${messageOf(error)}`;
    throw new OperatingError('CONFIG_INVALID', message, { path }, error);
  } finally {
    if (descriptor >= 0) closeSync(descriptor);
  }
}
