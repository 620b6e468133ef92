/** The schema that models are bound to: how many inputs, which, in which order, and that its hash knows every change. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { FeatureDefinition } from './flow-features.ts';
import { LEVEL3_FLOW_FEATURES, SCHEMA_VERSION, VECTORS, schemaHash, type VectorName } from './schema.ts';

const NAMES = Object.keys(VECTORS) as VectorName[];

/** The hash as its definition says, of any list. */
function hashOf(vector: string, features: readonly FeatureDefinition[], version = SCHEMA_VERSION): string {
  let text = `tapline features ${version} ${vector}\n`;
  for (const { name, unit, formula } of features) text += `${name}\t${unit}\t${formula}\n`;
  return createHash('sha256').update(text).digest('hex');
}

describe('the feature schema', () => {
  it('has 23, 103, 24, 83 and 10 inputs', () => {
    expect(NAMES.map((name) => [name, VECTORS[name].length])).toEqual([
      ['level1', 23],
      ['level2', 103],
      ['level3', 24],
      ['flow', 83],
      ['packet', 10],
    ]);
  });

  it('names every input once, and says what it is', () => {
    for (const name of NAMES) {
      expect(new Set(VECTORS[name].map((feature) => feature.name)).size, name).toBe(VECTORS[name].length);
      for (const feature of VECTORS[name]) {
        expect(feature.formula, feature.name).not.toBe('');
        expect(feature.unit, feature.name).not.toBe('');
      }
    }
  });

  it('puts the flow before the windows', () => {
    expect(VECTORS.level2.slice(0, 83)).toEqual(VECTORS.flow);
    expect(VECTORS.level3.slice(0, 4).map(({ name }) => name)).toEqual([...LEVEL3_FLOW_FEATURES]);
    expect(VECTORS.level3.slice(4)).toEqual(VECTORS.level2.slice(83));
  });

  it('has the hashes that shipped models name: a change here means a new version and new models', () => {
    expect(Object.fromEntries(NAMES.map((name) => [name, schemaHash(name).slice(0, 16)]))).toEqual({
      level1: '1b912d4b5f609cba',
      level2: 'e9e0b9ca1346b2f4',
      level3: 'b6be88ba40aee209',
      flow: '1442f5c4f7b326f6',
      packet: 'c87daf7ce7e12a03',
    });
  });

  it('has another hash when anything of its meaning changes', () => {
    for (const name of NAMES) {
      const features = VECTORS[name];
      const hash = schemaHash(name);
      expect(hashOf(name, features)).toBe(hash);
      const [first, second, ...rest] = features as readonly [FeatureDefinition, FeatureDefinition, ...FeatureDefinition[]]; // prettier-ignore
      expect(hashOf(name, [{ ...first, formula: `${first.formula} + 1` }, second, ...rest])).not.toBe(hash);
      expect(hashOf(name, [{ ...first, name: 'other' }, second, ...rest])).not.toBe(hash);
      expect(hashOf(name, [{ ...first, unit: 'port' }, second, ...rest])).not.toBe(hash);
      expect(hashOf(name, [second, first, ...rest])).not.toBe(hash);
      expect(hashOf(name, features, SCHEMA_VERSION + 1)).not.toBe(hash);
    }
  });
});
