/** The thresholds from a file, or the shipped ones. */
import { loadConfig } from '@tapline/shared/config/load.ts';
import { rulesSchema, type Rules } from './rule-file.ts';

/** Reads and checks `file`; without one, the defaults, which `config/rules.yaml` shows. Throws CONFIG_INVALID. */
export function loadRules(file: string | undefined): Rules {
  return file === undefined ? rulesSchema.parse({}) : loadConfig(rulesSchema, file).value;
}
