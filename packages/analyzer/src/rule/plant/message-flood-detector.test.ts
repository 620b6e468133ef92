/** More requests than anybody means are told, whether they are answered or not; quick polling is not. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { tcp, type Packet } from '../../packet/frame-testing.ts';
import { field, packet } from '../../protocol/mqtt-testing.ts';
import { connection } from '../traffic-testing.ts';

const [CLIENT, BROKER] = ['10.0.0.66:5000', '10.0.0.2:1883'];
const PUBLISH = packet(0x30, field('plant/level'), Buffer.from('21.5'));

/** So many are published, several in a segment. */
function told(count: number, everyUs: number, from = CLIENT, to = BROKER): boolean {
  const packets: Packet[] = connection(CLIENT, BROKER, [], 0, false);
  const payload = Buffer.concat(Array.from({ length: 10 }, () => PUBLISH));
  const begin = from === CLIENT ? 101 : 501;
  for (let i = 0; i < count / 10; i++)
    packets.push({ timeUs: 10_000 + i * 10 * everyUs, frame: tcp(from, to, 'PA', { sequence: begin + i * payload.byteLength, payload }) }); // prettier-ignore
  return new Rig().add(packets).finish().rules.includes('message-flood');
}

it('thousands of messages in a few seconds are told', () => {
  expect(told(4000, 1000)).toBe(true);
});

it('a hundred a second, or what a broker hands out to a subscriber, are not', () => {
  expect(told(4000, 10_000)).toBe(false);
  expect(told(4000, 1000, BROKER, CLIENT)).toBe(false);
});
