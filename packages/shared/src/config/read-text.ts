/**
 * The text of a configuration file, whatever the name turns out to be: a file, a pipe (`check /dev/stdin`), a device that
 * never ends. At most FILE_BYTES_MAX are read, so that a wrong path costs a message and not the memory.
 */
import { isUtf8 } from 'node:buffer';
import { closeSync, openSync, readSync } from 'node:fs';
import { OperatingError, messageOf } from '../base/errors.ts';
import { configError } from './problem.ts';

/** About 25,000 routing rules. */
const FILE_BYTES_MAX = 1024 * 1024;
/** What a decoder writes for bytes that are no UTF-8. */
const REPLACEMENT = '\ufffd';

/** Reads a whole file as text, without byte order mark. Throws CONFIG_INVALID. */
export function readText(file: string): string {
  const bytes = readBounded(file);
  const text = bytes.toString('utf8').replace(/^\ufeff/, '');
  if (isUtf8(bytes)) return text;
  const before = text.slice(0, text.indexOf(REPLACEMENT)).split('\n');
  const place = { line: before.length, column: (before.at(-1) ?? '').length + 1 };
  const problem = { file, ...place, key: '', message: 'not UTF-8 text', remedy: 'save the file as UTF-8' };
  throw configError(file, [problem], text);
}

function readBounded(file: string): Buffer {
  // One byte more than allowed tells a file that is too long from one that just fits.
  const bytes = Buffer.alloc(FILE_BYTES_MAX + 1);
  let length = 0;
  try {
    const descriptor = openSync(file, 'r');
    try {
      for (let count = -1; count !== 0 && length < bytes.byteLength; length += count)
        count = readSync(descriptor, bytes, length, bytes.byteLength - length, null);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw unreadable(file, messageOf(error), error);
  }
  if (length > FILE_BYTES_MAX)
    throw unreadable(file, `it is longer than the ${FILE_BYTES_MAX} bytes a configuration may have`);
  return bytes.subarray(0, length);
}

function unreadable(file: string, reason: string, cause?: unknown): OperatingError {
  const remedy = 'name a configuration with --config FILE; commented examples are in config/';
  return new OperatingError(
    'CONFIG_INVALID',
    `cannot read the configuration ${file}: ${reason}; ${remedy}`,
    { file },
    cause,
  );
}
