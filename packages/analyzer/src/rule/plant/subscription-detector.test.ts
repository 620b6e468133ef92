/** Subscriptions to everything are told, again and again louder; those to a part of a plant are not. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { field, packet } from '../../protocol/mqtt-testing.ts';
import { connection } from '../traffic-testing.ts';

function told(filter: string, times = 1): string[] {
  const packets = Array.from(
    { length: times },
    (_, i) =>
    connection(`10.0.0.66:${5000 + i}`, '10.0.0.2:1883', [['>', packet(0x82, [0, 1], field(filter), [0])]], i * 1_000_000), // prettier-ignore
  ).flat();
  const rig = new Rig().add(packets).finish();
  return [...rig.alerts.values()].filter(({ rule }) => rule === 'broad-subscription').map(({ severity }) => severity); // prettier-ignore
}

it.each(['#', '+/#', '+/+/#', '$SYS/#', '$share/group/#', '/#', '+'])('%s is everything', (filter) => {
  expect(told(filter)).toEqual(['low']);
});

it.each(['plant/#', 'plant/+/level', '+/level', '$SYS/broker/uptime', 'spBv1.0/#', '$share/group/plant/#'])('%s is not', (filter) => {
  expect(told(filter, 20)).toEqual([]);
}); // prettier-ignore

it('what comes again and again is told louder', () => {
  expect(told('#', 12)).toEqual(['low', 'medium']);
});
