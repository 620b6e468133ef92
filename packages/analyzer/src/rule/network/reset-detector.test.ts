/** Resets from outside are told; how connections of the plant are broken off by their own ends is not. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { tcp, type Packet } from '../../packet/frame-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';

const SERVER = '10.0.0.2:502';
const SECOND = 1_000_000;

type Step = readonly [way: '>' | '<', flags: string, atMs: number, sequence: number, payload?: Uint8Array];

/** A connection in which something is asked and answered, and what follows it. */
function after(steps: readonly Step[], index: number): Packet[] {
  const client = `10.0.0.9:${5000 + index}`;
  const question = modbus(1, 3, 0, 0, 0, 1);
  const begun = connection(client, SERVER, [['>', question], ['<', modbus(1, 3, 2, 0, 7)]], index * SECOND, false); // prettier-ignore
  const more = steps.map(([way, flags, atMs, sequence, payload = new Uint8Array(0)]) => ({
    timeUs: index * SECOND + 10_000 + atMs * 1000,
    frame: way === '>' ? tcp(client, SERVER, flags, { sequence, payload }) : tcp(SERVER, client, flags, { sequence, payload }), // prettier-ignore
  }));
  return [...begun, ...more];
}

function told(steps: readonly Step[], conversations = 5): boolean {
  const packets = Array.from({ length: conversations }, (_, i) => after(steps, i)).flat();
  return new Rig().add(packets).finish().rules.includes('tcp-reset');
}

const ASK = modbus(2, 3, 0, 0, 0, 1);
const times = <T>(length: number, make: (i: number) => T): T[] => Array.from({ length }, (_, i) => make(i));

it('who is reset and goes on with the connection was reset by somebody else', () => {
  expect(told([['>', 'R', 0, 113], ['>', 'PA', 100, 113, ASK]])).toBe(true); // prettier-ignore
  expect(told([['>', 'R', 0, 113], ['>', 'PA', 100, 113, ASK]], 2)).toBe(false); // prettier-ignore
});

it('one that is reset again and again, as by guessing its sequence number, is told where there are several', () => {
  const flood = times(40, (i): Step => ['>', 'R', i, 1000 * i]);
  expect(told(flood)).toBe(true);
});

it('an end that breaks off, and resets each segment that still comes, is none', () => {
  expect(told([['>', 'R', 0, 113]])).toBe(false);
  expect(told(times(60, (i): Step => (i % 2 === 0 ? ['<', 'PA', i, 511, ASK] : ['>', 'R', i, 113])))).toBe(false); // prettier-ignore
});

it('what was sent before the reset and is captured behind it is none', () => {
  expect(told([['>', 'R', 0, 125], ['>', 'PA', 5, 113, ASK]])).toBe(false); // prettier-ignore
  expect(told([['>', 'R', 0, 125], ['>', 'PA', 100, 113, ASK]])).toBe(false); // prettier-ignore
});
