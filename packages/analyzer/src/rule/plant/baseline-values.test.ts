/** Values outside their range and rhythms that changed, beside what a baseline knows of them. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';
import { SECOND, HMI, PLC, READ, deviations, learnt, plant, polls, read } from './baseline-testing.ts';

describe('a value', () => {
  const ranged = learnt([100, 150, 120, 180, 200].flatMap((value, i) => read(HMI, PLC, i * SECOND, value)));
  const speaks = (value: number, rules: object = {}): string[] => deviations(ranged, read(HMI, PLC, 0, value), rules); // prettier-ignore

  it('inside its range, or beyond it by less than the margin, is silent', () => {
    for (const value of [100, 200, 133, 90, 210]) expect(speaks(value), String(value)).toEqual([]);
  });

  it('outside speaks, on both sides', () => {
    for (const value of [89, 211, 0, 65_535])
      expect(speaks(value), String(value)).toEqual(['baseline-value']);
    const rig = new Rig({ baseline: ranged }).add(read(HMI, PLC, 0, 250));
    expect(rig.alert('baseline-value')).toMatchObject({ source: HMI, destination: PLC, severity: 'medium', technique: 'T0836' }); // prettier-ignore
    expect(rig.alert('baseline-value')?.evidence).toContain('is 250; the baseline knows 100 to 200');
  });

  it('has the margin that the rules give it', () => {
    expect(speaks(200, { baseline_value: { margin: 0 } })).toEqual([]);
    expect(speaks(201, { baseline_value: { margin: 0 } })).toEqual(['baseline-value']);
    expect(speaks(300, { baseline_value: { margin: 1 } })).toEqual([]);
    expect(speaks(301, { baseline_value: { margin: 1 } })).toEqual(['baseline-value']);
  });

  it('that never changed has no margin', () => {
    const constant = learnt([0, 1, 2, 3, 4].flatMap((i) => read(HMI, PLC, i * SECOND, 7)));
    expect(deviations(constant, read(HMI, PLC, 0, 7))).toEqual([]);
    expect(deviations(constant, read(HMI, PLC, 0, 8))).toEqual(['baseline-value']);
  });

  it('that was seen a few times only has no range yet', () => {
    const fresh = learnt([0, 1, 2].flatMap((i) => read(HMI, PLC, i * SECOND, 7)));
    expect(deviations(fresh, read(HMI, PLC, 0, 500))).toEqual([]);
  });

  it('of an operation without values is never compared', () => {
    const blind = learnt(connection(`${HMI}:4000`, `${PLC}:502`, [['>', modbus(1, READ, 0, 10, 0, 1)]], 0));
    expect(blind.pairs[0]?.operations[0]).toMatchObject({ min: null, max: null });
    expect(deviations(blind, read(HMI, PLC, 0, 9))).toEqual([]);
  });
});

describe('a rhythm', () => {
  const at = (periodUs: number, rules: object = {}): string[] => deviations(plant, polls(HMI, PLC, 0, 30 * periodUs, periodUs), rules); // prettier-ignore

  it('that stays, or changes by less than the factor, is silent', () => {
    for (const period of [SECOND, 2.9 * SECOND, 0.35 * SECOND])
      expect(at(period), String(period)).toEqual([]);
  });

  it('that becomes faster or slower speaks', () => {
    for (const period of [0.3 * SECOND, 3.1 * SECOND]) expect(at(period), String(period)).toEqual(['baseline-cycle']); // prettier-ignore
    expect(at(1.5 * SECOND, { baseline_cycle: { factor: 1.2 } })).toEqual(['baseline-cycle']);
  });

  it('needs a few repetitions: ten gaps, and not one fewer', () => {
    const fast = (count: number): string[] => deviations(plant, polls(HMI, PLC, 0, count * 100_000, 100_000));
    expect([fast(10), fast(11)]).toEqual([[], ['baseline-cycle']]);
  });

  it('that was none while it was learnt is never missed', () => {
    const irregular = learnt(Array.from({ length: 40 }, (_, i) => read(HMI, PLC, i * i * SECOND)).flat());
    expect(deviations(irregular, polls(HMI, PLC, 0, 3 * SECOND, 100_000))).toEqual([]);
    const few = learnt(polls(HMI, PLC, 0, 19 * SECOND));
    expect(deviations(few, polls(HMI, PLC, 0, 3 * SECOND, 100_000))).toEqual([]);
  });
});
