/** A service that is gone, and what a mirror makes look so. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import type { Packet } from '../../packet/frame-testing.ts';
import { connection, modbus, refused } from '../traffic-testing.ts';

const SECOND = 1_000_000;
const tcpSource = (frame: Uint8Array): string => frame.subarray(26, 30).join('.');

function evidenceOf(packets: readonly Packet[]): string | undefined {
  return new Rig().add(packets).finish().alert('dead-service')?.evidence;
}

it('it is told how often and for how long it was called, whatever order the calls end in', () => {
  const calls = Array.from({ length: 20 }, (_, i) => refused(`10.0.0.1:${5000 + i}`, '10.0.0.2:502', i * 3 * SECOND)).flat(); // prettier-ignore
  expect(evidenceOf(calls)).toMatch(/^10\.0\.0\.1 tried 20 times in \d+ s to reach 10\.0\.0\.2 port 502$/);
  expect(evidenceOf(calls.slice(2))).toBeUndefined();
});

it('conversations of which only one direction is mirrored are none', () => {
  const whole = Array.from({ length: 40 }, (_, i) => connection(`10.0.0.1:${5000 + i}`, '10.0.0.2:502', [['>', modbus(1, 3, 0, 0, 0, 1)]], i * SECOND)).flat(); // prettier-ignore
  const half = whole.filter(({ frame }) => tcpSource(frame) === '10.0.0.1');
  expect(half.length).toBeLessThan(whole.length);
  expect(evidenceOf(half)).toBeUndefined();
});
