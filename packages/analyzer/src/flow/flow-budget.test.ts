/** What all tables hold together: never more than twice the limit, and never less than a share for each. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Rig } from '../engine-testing.ts';
import { udp, type Packet } from '../packet/frame-testing.ts';
import { FlowBudget } from './flow-budget.ts';

const packet = (i: number): Packet => ({ timeUs: i * 10, frame: udp(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:5000`, '10.200.0.1:6000') }); // prettier-ignore

it('a flooded sensor evicts its own flows when all is full, and a quiet one keeps its own', () => {
  const flowBudget = new FlowBudget(100);
  const [quiet, loud, other] = [0, 1, 2].map(() => new Rig({ flowBudget }));
  if (quiet === undefined || loud === undefined || other === undefined) throw new Error('no rigs');
  for (let i = 0; i < 20; i++) quiet.add([packet(i)]);
  for (let i = 0; i < 500; i++) loud.add([packet(i)]);
  expect(loud.engine.flows.size).toBe(80);
  for (let i = 0; i < 500; i++) other.add([packet(i)]);
  expect(other.engine.flows.size).toBe(34);
  expect(quiet.engine.flows.size).toBe(20);
  expect(quiet.engine.flows.counters.evicted).toBe(0);
  for (const { engine } of [quiet, loud, other]) {
    const { flows, evicted } = engine.flows.counters;
    expect(flows - evicted).toBe(engine.flows.size);
  }
  expect(flowBudget.open).toBe(20 + 80 + 34);
  // What is taken up again counts as what was.
  const again = new Rig({ flowBudget });
  again.engine.restore(structuredClone(quiet.engine.snapshot()));
  expect(flowBudget.open).toBe(20 + 80 + 34 + 20);
  for (const rig of [quiet, loud, other, again]) rig.finish();
  expect(flowBudget.open).toBe(0);
});

it('whatever the tables do, together they hold at most twice the limit, each at least its share', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(fc.nat(5), { maxLength: 300 }), (limit, steps) => {
      const budget = new FlowBudget(limit);
      const own = [0, 0, 0, 0, 0, 0];
      own.forEach(() => budget.join());
      for (const table of steps) {
        const before = own[table] as number;
        if (before < Math.floor(limit / own.length)) expect(budget.allows(before)).toBe(true);
        if (!budget.allows(before)) continue;
        own[table] = before + 1;
        budget.count(1);
      }
      expect(budget.open).toBeLessThanOrEqual(2 * limit + own.length);
    }),
  );
});
