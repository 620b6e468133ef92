/** A controller that takes requests and does not answer is told, a flood of them louder; one that answers now and then, or whose answers the mirror does not see, is not. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { tcp, type Packet } from '../../packet/frame-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';

const [CLIENT, SERVER] = ['10.0.0.66:5000', '10.0.0.2:502'];

/** One connection with a request each so often, every `answered`th of which is answered. */
function asked(count: number, everyUs: number, answered = Infinity, isHeard = true): string[] {
  const packets: Packet[] = isHeard ? connection(CLIENT, SERVER, [], 0, false) : [];
  let back = 501;
  for (let i = 0; i < count; i++) {
    const timeUs = 10_000 + i * everyUs;
    const payload = modbus(i, 3, 0, 0, 0, 1);
    packets.push({ timeUs, frame: tcp(CLIENT, SERVER, 'PA', { sequence: 101 + 12 * i, payload }) });
    if (i % answered !== answered - 1) continue;
    const answer = modbus(i, 3, 2, 0, 7);
    packets.push({
      timeUs: timeUs + 500,
      frame: tcp(SERVER, CLIENT, 'PA', { sequence: back, payload: answer }),
    });
    back += answer.byteLength;
  }
  const rig = new Rig().add(packets).finish();
  return [...rig.alerts.values()].filter(({ rule }) => rule === 'ot-unanswered').map(({ severity }) => severity); // prettier-ignore
}

it('requests without an answer are told, and many of them are a flood', () => {
  expect(asked(30, 1_000_000)).toEqual(['low']);
  expect(asked(1500, 10_000)).toEqual(['low', 'medium']);
});

it('requests of which some are answered, or that come seldom, are not', () => {
  expect(asked(1500, 10_000, 10)).toEqual([]);
  expect(asked(30, 10_000_000)).toEqual([]);
});

it('requests on a mirror that sees one direction are not', () => {
  expect(asked(1500, 10_000, Infinity, false)).toEqual([]);
});
