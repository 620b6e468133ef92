/** Pings that carry data, and pings. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { icmp, ip, type Packet } from '../../packet/frame-testing.ts';

const SECOND = 1_000_000;
const A = '10.0.0.1';
const B = '10.0.0.2';

function told(packets: readonly Packet[]): boolean {
  return new Rig({ rules: { icmp_tunnel: { packets: 8 } } })
    .add(packets)
    .finish()
    .rules.includes('icmp-tunnel');
}

/** Requests and their answers. */
function pings(
  count: number,
  request: (i: number) => Uint8Array,
  reply: (i: number) => Uint8Array | null,
): Packet[] {
  return Array.from({ length: count }, (_, i) => {
    const answer = reply(i);
    const asked = { timeUs: i * SECOND, frame: icmp(A, B, 8, 0, { payload: request(i) }) };
    return answer === null ? [asked] : [asked, { timeUs: i * SECOND + 500, frame: icmp(B, A, 0, 0, { payload: answer }) }]; // prettier-ignore
  }).flat();
}

it('pings are not told, of whatever usual size, and neither are a few large ones', () => {
  const usual = (): Uint8Array => Buffer.from('abcdefghijklmnopqrstuvwabcdefghi');
  expect(told(pings(50, usual, usual))).toBe(false);
  expect(told(pings(7, () => Buffer.alloc(1472), () => Buffer.alloc(1472)))).toBe(false); // prettier-ignore
  // An hour of one large ping every ten seconds tries a path out.
  const slow = Array.from({ length: 100 }, (_, i) => ({ timeUs: i * 10 * SECOND, frame: icmp(A, B, 8, 0, { payload: 1400 }) })); // prettier-ignore
  expect(told(slow)).toBe(false);
});

it('much data, answered or not, is told', () => {
  expect(told(pings(8, (i) => Buffer.alloc(600, i), () => null))).toBe(true); // prettier-ignore
});

it('answers that do not repeat their requests are told, whatever their size', () => {
  const request = (i: number): Uint8Array => Buffer.from(`question ${i} and so on and so on`);
  expect(told(pings(2, request, (i) => Buffer.from(`an answer ${i}`)))).toBe(true);
  expect(told(pings(1, request, (i) => Buffer.from(`an answer ${i}`)))).toBe(false);
  // Answers to what was not seen say nothing.
  const answers = Array.from({ length: 9 }, (_, i) => ({
    timeUs: i,
    frame: icmp(B, A, 0, 0, { payload: 32 }),
  }));
  expect(told(answers)).toBe(false);
});

it('a ping that is cut into fragments, on its way back elsewhere, says nothing else', () => {
  const cut = (from: string, to: string, type: number, id: number, bytes: number): Uint8Array =>
    ip(from, to, 1, Buffer.from([type, 0, 0, 0, 0, 7, 0, id, ...Buffer.alloc(bytes)]), { fragment: { offset: 0, more: true, id } }); // prettier-ignore
  const packets = Array.from({ length: 4 }, (_, i) => [
    { timeUs: i * SECOND, frame: cut(A, B, 8, i, 1440) },
    { timeUs: i * SECOND + 500, frame: cut(B, A, 0, i, 1280) },
  ]).flat();
  expect(told(packets)).toBe(false);
});

it('a redirect is told, and a router advertisement only when it is an attack', () => {
  const rules = (packets: readonly Packet[]): string[] => new Rig().add(packets).finish().rules;
  expect(rules([{ timeUs: 0, frame: icmp(A, B, 5, 1, { payload: 32 }) }])).toContain('icmp-redirect');
  const advertisement = (...options: number[]): Packet => ({ timeUs: 0, frame: icmp('fe80::1', 'fe80::2', 134, 0, { payload: Uint8Array.from([...Buffer.alloc(8), ...options]) }) }); // prettier-ignore
  const servers = (length: number): number[] => [25, length, ...Buffer.alloc(8 * length - 2)];
  expect(rules([advertisement(1, 1, 2, 0, 0, 0, 0, 1, ...servers(3))])).not.toContain('exploit');
  expect(rules([advertisement(1, 1, 2, 0, 0, 0, 0, 1, ...servers(4))])).toContain('exploit');
  expect(rules([advertisement(25, 0, 0, 0)])).not.toContain('exploit');
});

it('short pings, each with another letter, are told, and short ones that are the same are not', () => {
  const letters = (count: number): Packet[] => pings(20, (i) => Buffer.from([65 + (i % count)]), () => null); // prettier-ignore
  expect(told(letters(6))).toBe(true);
  expect(told(letters(5))).toBe(false);
});

it('pings of many lengths carry something, and who looks for the longest that gets through does not', () => {
  const sizes = (count: number): Packet[] => pings(30, (i) => Buffer.alloc(20 + (i % count)), (i) => Buffer.alloc(20 + (i % count))); // prettier-ignore
  expect(told(sizes(12))).toBe(true);
  expect(told(sizes(11))).toBe(false);
});

it('who has to say that a packet between its neighbours is too long stands between them', () => {
  const original = (from: number, to: number): Buffer => {
    const header = Buffer.alloc(28);
    header[0] = 0x45;
    header.set([10, 0, 0, from, 10, 0, 0, to], 12);
    return header;
  };
  const rules = (from: number, to: number, code: number): string[] =>
    new Rig().add([{ timeUs: 0, frame: icmp('10.0.0.66', '10.0.0.1', 3, code, { payload: original(from, to) }) }]).finish().rules; // prettier-ignore
  expect(rules(1, 2, 4)).toContain('icmp-redirect');
  // A router of this network says so of what goes beyond it, and a host of its own ports.
  expect(rules(1, 66, 4)).not.toContain('icmp-redirect');
  expect(rules(1, 2, 3)).not.toContain('icmp-redirect');
});
