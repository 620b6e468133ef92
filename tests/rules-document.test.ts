/** `docs/rules.md` names every rule there is and no other, and every rule has a number that EVE readers can rely on. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { RULE_NUMBERS } from '@tapline/analyzer/src/publish/signatures.ts';
import { rulesSchema } from '@tapline/analyzer/src/rule/rule-file.ts';
import { projectRoot } from './support/project.ts';

const text = readFileSync(join(projectRoot, 'docs/rules.md'), 'utf8');
/** Names in the first column of the tables, and those of the analyzer itself. */
const documented = [
  ...text
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|(---| rule )/.test(line))
    .flatMap((line) => [...(line.split('|')[1] as string).matchAll(/`([a-z-]+)`/g)].map(([, name]) => name)),
  'agent-silent',
  'sensor-silent',
];

it('each rule is explained once', () => {
  const rules = Object.keys(rulesSchema.shape).filter((key) => key !== 'internal_networks').map((key) => key.replaceAll('_', '-')); // prettier-ignore
  for (const rule of rules) expect(documented, rule).toContain(rule);
  expect(new Set(documented).size).toBe(documented.length);
});

it('each rule has a number, and each number a rule', () => {
  expect([...RULE_NUMBERS.keys()].sort()).toEqual([...documented].sort());
});
