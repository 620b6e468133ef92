/** What a command was asked to write beside its output: a page, a curve, a table. */
import { writeFileSync } from 'node:fs';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';

/** Throws ARCHIVE_FAILED. */
export function writeReport(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new OperatingError('ARCHIVE_FAILED', `cannot write ${path}: ${messageOf(error)}`, { file: path }, error); // prettier-ignore
  }
}
