/** Who asks for addresses and who gives them: a starved server, and a network in the morning. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { udp, type Packet } from '../../packet/frame-testing.ts';
import { dhcp } from '../traffic-testing.ts';

const device = (i: number): string => `0200000001${i.toString(16).padStart(2, '0')}`;

function rules(packets: readonly Packet[]): string[] {
  return new Rig({ rules: { dhcp_starvation: { devices: 20 } } }).add(packets).finish().rules;
}

function asks(count: number, change: (message: Buffer) => void = () => undefined, gapUs = 100_000): Packet[] {
  return Array.from({ length: count }, (_, i) => {
    const message = dhcp(1, device(i));
    change(message);
    return { timeUs: i * gapUs, frame: udp('0.0.0.0:68', '255.255.255.255:67', { payload: message }) };
  });
}

it('as many new devices as there can be is a starved server', () => {
  expect(rules(asks(20))).toContain('dhcp-starvation');
  expect(rules(asks(19))).not.toContain('dhcp-starvation');
  expect(rules(asks(40, undefined, 10_000_000))).not.toContain('dhcp-starvation');
});

it('renewals, and what a relay brings from many segments, are not counted', () => {
  expect(rules(asks(40, (message) => message.writeUInt8(3, 242)))).not.toContain('dhcp-starvation');
  expect(rules(asks(40, (message) => message.writeUInt8(10, 24)))).not.toContain('dhcp-starvation');
});

it('one server gives addresses all day, and a second is told', () => {
  const gives = (server: string, i: number): Packet => ({ timeUs: i * 1000, frame: udp(`${server}:67`, '10.0.0.99:68', { payload: dhcp(2, device(i)) }) }); // prettier-ignore
  const day = Array.from({ length: 30 }, (_, i) => gives('10.0.0.2', i));
  expect(rules(day)).not.toContain('rogue-dhcp');
  expect(rules([...day, gives('10.0.0.66', 31)])).toContain('rogue-dhcp');
});

it('a third of them is enough where each is of another maker', () => {
  const made = (message: Buffer): void => void message.writeUInt16BE(4 * message.readUInt8(33), 28);
  expect(rules(asks(7, made))).toContain('dhcp-starvation');
  expect(rules(asks(6, made))).not.toContain('dhcp-starvation');
});
