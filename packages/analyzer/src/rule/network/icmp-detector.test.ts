/** Pings that carry data, and pings. */
import { deserialize, serialize } from 'node:v8';
import { describe, expect, it } from 'vitest';
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

/** The same from the other end. */
function turned(frame: Uint8Array): Uint8Array {
  const back = Uint8Array.from(frame);
  back.set(frame.subarray(30, 34), 26);
  back.set(frame.subarray(26, 30), 30);
  return back;
}

/** A request as `ping` of Linux sends it: seconds, microseconds, and a pattern; `at`: of these 56 bytes, which are others. */
function linuxPing(
  i: number,
  timeUs: number,
  at: Readonly<Record<number, number>> = {},
  sequence = i,
): Packet {
  const data = Buffer.from(Array.from({ length: 56 }, (_, n) => n));
  data.writeBigUInt64LE(1_767_592_800n + BigInt(Math.floor(timeUs / SECOND)), 0);
  data.writeBigUInt64LE(BigInt(timeUs % SECOND), 8);
  for (const [place, byte] of Object.entries(at)) data[Number(place)] = byte;
  const head = Buffer.from([8, 0, 0, 0, 0, 7, 0, 0]);
  head.writeUInt16BE(sequence, 6);
  return { timeUs, frame: ip(A, B, 1, Buffer.concat([head, data])) };
}

describe('pings that spell something', () => {
  const MESSAGE = Buffer.from('send the keys of the plant to the other side of the river');
  const letters = (text: Uint8Array, everyUs = SECOND, place = 8): Packet[] =>
    [...text].map((letter, i) => linuxPing(i, i * everyUs, { [place]: letter }));

  it('are told, one letter each at any place of those that are random', () => {
    for (const place of [0, 8, 31]) expect(told(letters(MESSAGE, SECOND, place)), `${place}`).toBe(true);
    expect(told(letters(MESSAGE, SECOND, 32))).toBe(false);
    expect(told(letters(Buffer.from('ATTACK AT DAWN FROM THE NORTHERN SIDE')))).toBe(true);
  });

  it('are told after sixteen letters in a row, and not when they take more than a minute each', () => {
    // The first three requests of a flow are not looked at.
    expect(told(letters(MESSAGE.subarray(0, 19)))).toBe(true);
    expect(told(letters(MESSAGE.subarray(0, 18)))).toBe(false);
    const broken = letters(Buffer.from(MESSAGE.toString().replaceAll(/(.{12})./g, '$11')));
    expect(told(broken)).toBe(false);
    expect(told(letters(MESSAGE, 61 * SECOND))).toBe(false);
  });

  it('are not told for text that stays, counts in digits or hexadecimal, or goes through the alphabet', () => {
    const same = Array.from({ length: 99 }, (_, i) =>
      linuxPing(i, i * SECOND, { 16: 0x48, 17: 0x65, 18: 0x79 }),
    );
    expect(told(same)).toBe(false);
    const digits = Array.from({ length: 99 }, (_, i) => linuxPing(i, i * SECOND, { 16: 0x30 + (i % 10) }));
    expect(told(digits)).toBe(false);
    const hexadecimal = Array.from({ length: 99 }, (_, i) =>
      linuxPing(i, i * SECOND, { 16: 0x61 + ((i * 5) % 6) }),
    );
    expect(told(hexadecimal)).toBe(false);
    const alphabet = Array.from({ length: 99 }, (_, i) => linuxPing(i, i * SECOND, { 16: 0x61 + (i % 26) }));
    expect(told(alphabet)).toBe(false);
  });

  it('are not told of clocks: seconds that count, microseconds that drift or jump', () => {
    for (const everyUs of [200_000, SECOND, SECOND + 37, SECOND + 256, SECOND + 1024, 5 * SECOND]) {
      const pings = Array.from({ length: 600 }, (_, i) => linuxPing(i, i * everyUs));
      expect(told(pings), `every ${everyUs} us`).toBe(false);
    }
    let random = 1;
    const jitter = (): number => (random = (random * 48_271) % 0x7fff_ffff) % 5000;
    expect(told(Array.from({ length: 3000 }, (_, i) => linuxPing(i, i * SECOND + jitter())))).toBe(false);
  });

  it('are not told of a timer, at whatever moment of the second it strikes', () => {
    let random = 1;
    const jitter = (): number => (random = (random * 48_271) % 0x7fff_ffff) % 5000;
    for (let phaseUs = 0; phaseUs < SECOND; phaseUs += 20_000) {
      const pings = Array.from({ length: 600 }, (_, i) => linuxPing(i, i * SECOND + phaseUs + jitter()));
      expect(told(pings), `at ${phaseUs} us`).toBe(false);
      // Both ends ping, each with a clock of its own.
      const back = pings.map(({ timeUs }, i) => ({ timeUs: timeUs + 400_000, frame: turned(linuxPing(i, timeUs, {}, 5000 + i).frame) })); // prettier-ignore
      const both = [...pings, ...back].sort((a, b) => a.timeUs - b.timeUs);
      expect(told(both), `both, at ${phaseUs} us`).toBe(false);
    }
  });

  it('are counted on behind a snapshot', () => {
    const before = new Rig().add(letters(MESSAGE).slice(0, 10));
    const after = new Rig();
    after.engine.restore(deserialize(serialize(before.engine.snapshot())));
    expect(after.add(letters(MESSAGE).slice(10, 22)).finish().rules).toContain('icmp-tunnel');
  });

  it('are told though the other end pings back, and of who spells', () => {
    const back = (i: number): Packet => ({ timeUs: i * SECOND + 500, frame: icmp(B, A, 8, 0, { payload: Buffer.alloc(56, i) }) }); // prettier-ignore
    const rig = new Rig().add(letters(MESSAGE).flatMap((packet, i) => [packet, back(i)])).finish();
    expect(rig.alert('icmp-tunnel')?.evidence).toContain(`from ${A} to ${B}`);
    const behind = new Rig().add([back(-1), ...letters(MESSAGE)].map((packet) => ({ ...packet, timeUs: packet.timeUs + SECOND }))).finish(); // prettier-ignore
    expect(behind.alert('icmp-tunnel')?.evidence).toContain(`from ${A} to ${B}`);
  });

  it('do not count twice where a mirror shows each twice', () => {
    const text = MESSAGE.subarray(0, 12);
    const twice = [...text].flatMap((letter, i) => [0, 100].map((later) => ({ ...linuxPing(i, i * SECOND, { 8: letter }), timeUs: i * SECOND + later }))); // prettier-ignore
    expect(told(twice)).toBe(false);
  });
});

describe('pings with a word each', () => {
  const words = (texts: readonly string[], everyUs = 60 * SECOND, bytes = 120): Packet[] =>
    texts.map((text, i) => {
      const payload = Buffer.alloc(bytes);
      payload.write(text, 'latin1');
      return { timeUs: i * everyUs, frame: icmp(A, B, 8, 0, { payload }) };
    });

  it('are told from the third on when two differ, with arguments in fields of their own', () => {
    expect(told(words(['shell', 'shell', 'exec']))).toBe(true);
    expect(told(words(['shell', 'exec']))).toBe(false);
    expect(told(words(['shell', 'shell', 'exec'], 301 * SECOND))).toBe(false);
    const [field, argument] = ['\0'.repeat(8), 'c:\\calc.exe'];
    expect(told(words([`shell${field}${argument}`, `upload${field}${argument}`, `exec${field}${argument}`]))).toBe(true); // prettier-ignore
  });

  it('are not told for the same word, one that counts, a short number, or a payload that says more', () => {
    expect(told(words(Array.from({ length: 20 }, () => 'monitoring')))).toBe(false);
    expect(told(words(Array.from({ length: 20 }, (_, i) => `probe ${i} of 20`)))).toBe(false);
    expect(told(words(['abcd', 'bbcd', 'cbcd', 'dbcd']))).toBe(false);
    expect(told(words(['shell\x01', 'upload\x01', 'exec\x01']))).toBe(false);
    expect(
      told(words(['shell', 'upload', 'exec'].map((word) => word + '\0'.repeat(8) + 'x'.repeat(40)))),
    ).toBe(false);
  });
});

it('pings from nobody to nobody say nothing', () => {
  const large = (from: string, to: string, bytes = 600): Packet[] =>
    Array.from({ length: 20 }, (_, i) => ({ timeUs: i * SECOND, frame: icmp(from, to, from.includes(':') ? 128 : 8, 0, { payload: Buffer.alloc(bytes, i) }) })); // prettier-ignore
  expect(told(large('0.0.0.0', '0.0.0.0'))).toBe(false);
  expect(told(large('::', 'fd00::1'))).toBe(false);
  expect(told(large('fd00::2', 'fd00::1'))).toBe(true);
});
