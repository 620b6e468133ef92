/** Lies about addresses, and what looks like them: routers that answer for others, devices with two cards, addresses that move for good. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { arp, type Packet } from '../../packet/frame-testing.ts';

const SECOND = 1_000_000;
const LIAR = '02:00:00:00:00:66';
const A = { ip: '10.0.0.1', mac: '02:00:00:00:00:01' };
const B = { ip: '10.0.0.2', mac: '02:00:00:00:00:02' };

function severity(packets: readonly Packet[]): string | undefined {
  return new Rig()
    .add([...packets].sort((a, b) => a.timeUs - b.timeUs))
    .finish()
    .alert('arp-spoofing')?.severity;
}

const reply = (timeUs: number, mac: string, ip: string, to: typeof A): Packet => ({ timeUs, frame: arp(2, mac, ip, to.mac, to.ip) }); // prettier-ignore
const request = (timeUs: number, from: typeof A, ip: string): Packet => ({ timeUs, frame: arp(1, from.mac, from.ip, '00:00:00:00:00:00', ip) }); // prettier-ignore
const times = (count: number, make: (i: number) => Packet[]): Packet[] => Array.from({ length: count }, (_, i) => make(i)).flat(); // prettier-ignore

it('who tells each of two hosts that it is the other is known by that alone', () => {
  const lies = times(2, (i) => [reply(2 * i * SECOND, LIAR, A.ip, B), reply(2 * i * SECOND + 100, LIAR, B.ip, A)]); // prettier-ignore
  expect(severity(lies)).toBe('high');
  expect(severity(lies.slice(0, 3))).toBeUndefined();
});

it('an address that is announced again and again is none', () => {
  expect(severity(times(8, (i) => [reply(i * SECOND, A.mac, A.ip, A)]))).toBeUndefined();
});

it('a router that answers for both when it is asked is none', () => {
  const asked = times(4, (i) => [
    request(i * SECOND, A, B.ip),
    reply(i * SECOND + 100, LIAR, B.ip, A),
    request(i * SECOND + 200, B, A.ip),
    reply(i * SECOND + 300, LIAR, A.ip, B),
  ]);
  // Hosts that speak for themselves beside it would be another matter: these ask from their own addresses, and the router answers with its own.
  const answers = asked.filter((_, i) => i % 2 === 1);
  expect(severity([request(-100, A, B.ip), request(-50, B, A.ip), ...answers])).toBeUndefined();
});

it('two answers to one question are of a device with two cards, at the most', () => {
  const twice = (i: number): Packet[] => [
    reply(i * 300_000, A.mac, A.ip, B),
    reply(i * 300_000 + 50, LIAR, A.ip, B),
  ];
  expect(severity(times(1, twice))).toBeUndefined();
  expect(severity(times(2, twice))).toBe('low');
  expect(severity(times(8, twice))).toBe('high');
});

it('a device that is replaced moves once', () => {
  expect(severity([reply(0, A.mac, A.ip, B), reply(SECOND, LIAR, A.ip, B), reply(2 * SECOND, LIAR, A.ip, B)])).toBeUndefined(); // prettier-ignore
});

it('a host that bridges for a guest over a radio speaks for both, and lies to nobody', () => {
  const asGuest = (timeUs: number): Packet => {
    const packet = reply(timeUs, A.mac, A.ip, B);
    packet.frame.set(Buffer.from(LIAR.replaceAll(':', ''), 'hex'), 6);
    return packet;
  };
  expect(severity(times(8, (i) => [asGuest(i * SECOND), reply(i * SECOND + 500_000, LIAR, A.ip, B)]))).toBeUndefined(); // prettier-ignore
});
