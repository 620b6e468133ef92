/** Every rule by its scenario: silent below its threshold, heard at it, deaf when switched off, and with a memory that survives snapshots and new thresholds. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { Rig, rulesOf } from '../engine-testing.ts';
import type { Packet } from '../packet/frame-testing.ts';
import { rulesSchema } from './rule-file.ts';
import type { Scenario } from './scenario-testing.ts';
import { SCENARIOS } from './scenarios-testing.ts';

/** Those of the baseline need one, and are tested beside it. */
const NAMES = Object.keys(rulesSchema.shape).filter((name) => !/^internal_networks$|^baseline_/.test(name));

function events({ event }: Scenario, from: number, to: number): Packet[] {
  return Array.from({ length: to - from }, (_, i) => event(from + i)).flat();
}

function told(rig: Rig, { rule }: Scenario): object[] {
  return [...rig.alerts.values()]
    .filter((alert) => alert.rule === rule)
    .map(({ id, count, source, destination, firstUs, lastUs }) => ({ id, count, source, destination, firstUs, lastUs })); // prettier-ignore
}

describe.each(SCENARIOS)('$rule', (scenario) => {
  const { rule, rules, threshold, linkType } = scenario;

  it('is silent below its threshold', () => {
    const rig = new Rig({ rules }).add(events(scenario, 0, threshold - 1), linkType).finish();
    expect(told(rig, scenario)).toEqual([]);
  });

  it('speaks at its threshold, and says who did it to whom', () => {
    const rig = new Rig({ rules }).add(events(scenario, 0, threshold), linkType).finish();
    const { source, destination, technique } = scenario;
    expect(rig.alert(rule)).toMatchObject({ rule, source, destination, technique });
    const { scope, evidence, firstUs } = rig.alert(rule) ?? {};
    expect(evidence).not.toBe('');
    expect(scope?.fromUs).toBeLessThanOrEqual(firstUs ?? 0);
    expect(scope?.toUs).toBeGreaterThanOrEqual(firstUs ?? Infinity);
  });

  it('is silent when it is switched off', () => {
    const key = rule.replaceAll('-', '_');
    const own = (rules as Record<string, object>)[key] ?? {};
    const rig = new Rig({ rules: { ...rules, [key]: { ...own, enabled: false } } });
    rig.add(events(scenario, 0, threshold + 3), linkType).finish();
    expect(told(rig, scenario)).toEqual([]);
  });

  it('counts on behind a snapshot as if there had been none', () => {
    const whole = new Rig({ rules }).add(events(scenario, 0, threshold + 1), linkType).finish();
    for (const at of new Set([1, Math.ceil(threshold / 2), threshold])) {
      const before = new Rig({ rules }).add(events(scenario, 0, at), linkType);
      const after = new Rig({ rules });
      after.engine.restore(deserialize(serialize(before.engine.snapshot())));
      after.add(events(scenario, at, threshold + 1), linkType).finish();
      const alerts = new Rig({ rules });
      for (const [id, alert] of [...before.alerts, ...after.alerts]) alerts.alerts.set(id, alert);
      expect(told(alerts, scenario), `broken at ${at}`).toEqual(told(whole, scenario));
    }
  });

  it('keeps what it counted when it is given other thresholds', () => {
    const rig = new Rig({ rules }).add(events(scenario, 0, threshold - 1), linkType);
    rig.engine.setRules(rulesOf(rules));
    rig.add(events(scenario, threshold - 1, threshold), linkType).finish();
    expect(told(rig, scenario)).not.toEqual([]);
  });
});

describe('the rules', () => {
  it('each have a scenario here or a capture in the tests beside this one', () => {
    const captures = readFileSync(join(import.meta.dirname, 'rule-corpus.test.ts'), 'utf8');
    const scenarios = new Set(SCENARIOS.map(({ rule }) => rule));
    for (const name of NAMES.map((key) => key.replaceAll('_', '-')))
      expect(scenarios.has(name) || captures.includes(`'${name}'`), name).toBe(true);
  });

  it('are all made of the detectors in these rooms', () => {
    const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('-detector.ts')); // prettier-ignore
    expect(files.length).toBeGreaterThan(30);
    const list = readFileSync(join(import.meta.dirname, 'detectors.ts'), 'utf8');
    for (const file of files) expect(list).toContain(`./${file}`);
  });
});
