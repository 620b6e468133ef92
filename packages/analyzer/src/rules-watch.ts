/** The rules while the analyzer runs: read at the start, again when their file changes; a file with a mistake leaves the old ones in force. */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { Log } from '@tapline/shared/observe/log.ts';
import { loadRules } from './rule/load-rules.ts';
import type { Rules } from './rule/rule-file.ts';

export class RulesWatch {
  readonly counters = { reloaded: 0, refused: 0 };
  rules: Rules;
  /** Of the text. */
  hash: Buffer;
  readonly #log: Log;
  #file: string | undefined;
  /** What the file looked like when it was read last, whether or not it was any good. */
  #seen: string;

  /** Throws CONFIG_INVALID: at the start there are no old rules. */
  constructor(file: string | undefined, log: Log) {
    this.#file = file;
    this.#log = log;
    this.#seen = lookOf(file);
    this.rules = loadRules(file);
    this.hash = hashOf(file);
  }

  /** Whether there are new rules: because the file changed, or is another one. */
  hasChanged(file: string | undefined = this.#file): boolean {
    const look = lookOf(file);
    if (file === this.#file && look === this.#seen) return false;
    try {
      const hash = hashOf(file);
      const rules = loadRules(file);
      this.#file = file;
      this.#seen = look;
      if (hash.equals(this.hash)) return false;
      this.rules = rules;
      this.hash = hash;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (file === this.#file) this.#seen = look;
      this.counters.refused++;
      this.#log.error({ rules: file, problem: error.message }, 'The new rules are not usable; the old ones stay in force.'); // prettier-ignore
      return false;
    }
    this.counters.reloaded++;
    this.#log.info({ rules: file }, 'The rules were read again.');
    return true;
  }
}

/** Changes whenever the file is written or replaced. */
function lookOf(file: string | undefined): string {
  const stat = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
}

function hashOf(file: string | undefined): Buffer {
  let text = '';
  try {
    if (file !== undefined) text = readFileSync(file, 'utf8');
  } catch {
    // loadRules says what is wrong with it.
  }
  return createHash('sha256').update(text).digest();
}
