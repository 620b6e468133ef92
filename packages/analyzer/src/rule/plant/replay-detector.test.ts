/** Messages that are played back, and those that are repeated for want of an answer. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { tcp, type Packet } from '../../packet/frame-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';

const SECOND = 1_000_000;
const [CLIENT, SERVER] = ['10.0.0.1:5000', '10.0.0.2:502'];

function told(times: readonly number[], lengthOf: (i: number) => number = () => 12): boolean {
  const sent = times.map((timeUs, i): Packet => {
    const payload = Buffer.concat([modbus(1, 3, 0, 0, 0, 1), Buffer.alloc(12)]).subarray(0, lengthOf(i));
    return { timeUs: SECOND + timeUs, frame: tcp(CLIENT, SERVER, 'PA', { sequence: 101, payload }) };
  });
  return new Rig().add([...connection(CLIENT, SERVER, [], 0, false), ...sent]).finish().rules.includes('replayed-segment'); // prettier-ignore
}

it('the same again and again, as fast as somebody likes, is played back', () => {
  expect(told(Array.from({ length: 20 }, (_, i) => i * 5000))).toBe(true);
  expect(told(Array.from({ length: 19 }, (_, i) => i * 5000))).toBe(false);
});

it('what is lost is repeated with longer and longer pauses, also where the mirror shows each frame twice', () => {
  const backedOff = Array.from({ length: 11 }, (_, i) => 200_000 * (2 ** i - 1));
  expect(told(backedOff.flatMap((timeUs) => [timeUs, timeUs + 10]))).toBe(false);
});

it('as many bytes from one place belong to one message only if they are as many', () => {
  expect(told(Array.from({ length: 40 }, (_, i) => i * 5000), (i) => 12 + (i % 2))).toBe(false); // prettier-ignore
});
