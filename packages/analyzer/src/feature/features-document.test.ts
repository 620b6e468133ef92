/** `docs/features.md` says what the code computes: every feature in its order, with unit, formula and the hash of its vector. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { FLOW_FEATURES } from './flow-features.ts';
import { LEVEL1_FEATURES } from './level1-features.ts';
import { PACKET_FEATURES } from './packet-features.ts';
import { VECTORS, schemaHash, type VectorName } from './schema.ts';
import { WINDOW_FEATURES } from './window-features.ts';

const text = readFileSync(fileURLToPath(new URL('../../../../docs/features.md', import.meta.url)), 'utf8');
/** Cells of every row of a table. */
const rows = text
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .map((line) => line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim().replaceAll('\\|', '|'))); // prettier-ignore

it('the features page lists every feature as it is', () => {
  const told = rows.filter(([number]) => /^\d+$/.test(number ?? '')).map((cells) => cells.slice(1));
  const known = [...FLOW_FEATURES, ...LEVEL1_FEATURES, ...WINDOW_FEATURES, ...PACKET_FEATURES];
  expect(told).toEqual(known.map(({ name, unit, formula }) => [name, unit, formula]));
});

it('the features page has the hash of every vector', () => {
  for (const [vector, features] of Object.entries(VECTORS))
    expect(rows.find(([name]) => name === vector)).toEqual([
      vector,
      String(features.length),
      expect.any(String),
      `\`${schemaHash(vector as VectorName)}\``,
    ]);
});
