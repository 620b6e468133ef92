/** Connections that come and go: a tool's are told, a master's that opens one for each poll are not, and neither are conversations. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';

const READ = modbus(1, 3, 0, 0, 0, 1);

function told(everyUs: number, requests: number, port = 502): boolean {
  const packets = Array.from({ length: 300 }, (_, i) =>
    connection(`10.0.0.66:${5000 + i}`, `10.0.0.2:${port}`, Array.from({ length: requests }, () => ['>', READ] as const), i * everyUs),
  ).flat(); // prettier-ignore
  return new Rig().add(packets).finish().rules.includes('connection-churn');
}

it('several a second, each for a question or two, are told', () => {
  expect(told(150_000, 1)).toBe(true);
  expect(told(150_000, 2)).toBe(true);
});

it('one for each poll, conversations one after the other, and services of offices are not', () => {
  expect(told(1_000_000, 1)).toBe(false);
  expect(told(150_000, 10)).toBe(false);
  expect(told(150_000, 0)).toBe(false);
});
