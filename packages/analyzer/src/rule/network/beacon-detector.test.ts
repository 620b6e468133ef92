/** Even calls of a program, and even calls of a plant. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import type { Packet } from '../../packet/frame-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';

const MINUTE = 60_000_000;

function calls(server: string, question: string | Uint8Array, answer: string | Uint8Array): Packet[] {
  return Array.from({ length: 30 }, (_, i) => connection(`10.0.0.1:${5000 + i}`, server, [['>', question], ['<', answer]], i * MINUTE)).flat(); // prettier-ignore
}

it('even calls to somebody outside are told, and polls of a controller with a public address are not', () => {
  const rules = (packets: Packet[]): string[] => new Rig().add(packets).finish().rules;
  expect(rules(calls('203.0.113.9:4444', 'hello', 'world'))).toContain('beaconing');
  const poll = modbus(1, 3, 0, 0, 0, 1);
  expect(rules(calls('203.0.113.9:502', poll, modbus(1, 3, 2, 0, 7)))).not.toContain('beaconing');
});
