/** Wi-Fi's partings: those that are an attack, those that are how stations come and go, behind all that capturing puts in front; and that no bytes do harm. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  LINKTYPE_AVS,
  LINKTYPE_ETHERNET,
  LINKTYPE_IEEE802_11,
  LINKTYPE_PRISM,
  LINKTYPE_RADIOTAP,
} from '@tapline/shared/packet/link-type.ts';
import { describeWithCorpus } from '../../../../../tests/support/corpus.ts';
import { Rig, analyzeCapture } from '../../engine-testing.ts';
import { readParting } from '../../protocol/wifi.ts';
import { deauthentication, type DeauthOptions } from './control-frames-testing.ts';
import { madeUp } from './control-scenarios-testing.ts';

const POINT = '02:00:00:00:00:10';
const STATION = '02:00:00:00:00:0a';
const ALL = 'ff:ff:ff:ff:ff:ff';

const RADIOTAP = Buffer.from('00001a00 2f480000 0000000000000000 10026c09a000c700 0000'.replaceAll(' ', ''), 'hex'); // prettier-ignore
const prism = Buffer.alloc(144);
prism.writeUInt32LE(0x44, 0);
prism.writeUInt32LE(144, 4);
const prismBig = Buffer.alloc(144);
prismBig.writeUInt32BE(0x44, 0);
prismBig.writeUInt32BE(144, 4);
const avs = Buffer.alloc(64);
avs.writeUInt32BE(0x8021_1001, 0);
avs.writeUInt32BE(64, 4);
const FRONTS: readonly (readonly [number, Uint8Array])[] = [
  [LINKTYPE_IEEE802_11, Buffer.alloc(0)],
  [LINKTYPE_RADIOTAP, RADIOTAP],
  [LINKTYPE_PRISM, prism],
  [LINKTYPE_PRISM, prismBig],
  [LINKTYPE_PRISM, avs],
  [LINKTYPE_AVS, avs],
];

function told(
  count: number,
  gapUs: number,
  frame: (i: number) => Buffer,
  linkType = LINKTYPE_RADIOTAP,
): string[] {
  const packets = Array.from({ length: count }, (_, i) => ({ timeUs: i * gapUs, frame: frame(i) }));
  const { alerts } = new Rig().add(packets, linkType).finish();
  return [...alerts.values()].map(({ rule, severity, evidence }) => `${rule} ${severity}: ${evidence}`);
}

it('twenty partings in ten seconds are told in words, behind each kind of header', () => {
  for (const [linkType, front] of FRONTS)
    expect(told(20, 100_000, () => deauthentication(POINT, STATION, { front }), linkType)).toEqual([
      'wifi-deauth medium: 20 frames in 1.9 s end places in the network 02:00:00:00:00:10, of 1 receiver; the last is a deauthentication from 02:00:00:00:00:10 to 02:00:00:00:00:0a with reason 7 (frame of a station that is not associated)',
    ]);
});

it('disassociation to everybody is told as what it is', () => {
  const [first] = told(20, 1000, (i) => deauthentication(POINT, i < 10 ? STATION : ALL, { kind: 0xa0, reason: 77 })); // prettier-ignore
  expect(first).toMatch(
    /of 2 receivers; the last is a disassociation .* to ff:ff:ff:ff:ff:ff with reason 77$/,
  );
});

it('what is encrypted has no reason, and what carries HT control has it four bytes later', () => {
  const read = (options: DeauthOptions, behind: number[] = []) => {
    const frame = Buffer.concat([deauthentication(POINT, STATION, options), Buffer.from(behind)]);
    return readParting(LINKTYPE_RADIOTAP, frame, 0, frame.byteLength)?.reason;
  };
  expect(read({ flags: 0x40 })).toBe(-1);
  expect(read({ flags: 0x80 }, [0, 0, 3, 0])).toBe(3);
  expect(read({ flags: 0x80 })).toBe(-1);
  expect(read({ reason: 8 })).toBe(8);
});

it('fewer, slower, in many networks, sent again, and other frames are silent', () => {
  expect(told(19, 1000, () => deauthentication(POINT, STATION))).toEqual([]);
  expect(told(60, 1_000_000, () => deauthentication(POINT, STATION))).toEqual([]);
  expect(told(200, 1000, (i) => deauthentication(madeUp(i % 20), STATION))).toEqual([]);
  expect(told(200, 1000, () => deauthentication(POINT, STATION, { flags: 0x08 }))).toEqual([]);
  expect(told(200, 1000, () => deauthentication(POINT, STATION, { kind: 0x80 }))).toEqual([]);
  expect(told(200, 1000, () => deauthentication(POINT, STATION, { front: Buffer.alloc(0) }), LINKTYPE_ETHERNET).filter((line) => line.startsWith('wifi'))).toEqual([]); // prettier-ignore
});

it('any bytes are read without a throw, and none outside the frame', () => {
  const samples = FRONTS.map(([, front]) => deauthentication(POINT, STATION, { front }));
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 220 }),
    fc.tuple(fc.constantFrom(...samples), fc.nat(), fc.integer({ min: 0, max: 255 })).map(([sample, at, value]) => {
      const changed = new Uint8Array(sample);
      changed[at % changed.byteLength] = value;
      return changed;
    }),
  ); // prettier-ignore
  fc.assert(
    fc.property(fc.constantFrom(1, 105, 119, 127, 163), bytes, fc.nat(300), (linkType, whole, cut) => {
      const end = cut % (whole.byteLength + 1);
      const alone = whole.slice(0, end);
      const followed = new Uint8Array([...alone, ...new Uint8Array(64).fill(0xc0)]);
      expect(readParting(linkType, followed, 0, end)).toEqual(readParting(linkType, alone, 0, end));
    }),
    { numRuns: 2000 },
  );
});

it('made-up networks are remembered up to a limit', () => {
  const rig = new Rig();
  for (let from = 0; from < 6000; from += 1000)
    rig.add(Array.from({ length: 1000 }, (_, i) => ({ timeUs: from + i, frame: deauthentication(madeUp(from + i), STATION) })), LINKTYPE_RADIOTAP); // prettier-ignore
  const { detectors } = rig.engine.snapshot() as {
    detectors: Record<string, { windows: Map<string, unknown> }>[];
  };
  const size = detectors.find((one) => 'deauths.partings' in one)?.['deauths.partings']?.windows.size;
  expect(size).toBeGreaterThan(2000);
  expect(size).toBeLessThanOrEqual(4096);
});

describeWithCorpus('on real captures', () => {
  it.each([
    'reason_code-6.pcap',
    'wpa-Induction.pcap',
    'Network_Join_Nokia_Mobile.pcap',
    'wpa2linkuppassphraseiswireshark.pcap',
  ])('nothing is told of %s', async (name) => {
    const { alerts } = await analyzeCapture(`linktypes/wifi/${name}`);
    expect(alerts.map(({ rule }) => rule)).toEqual([]);
  });
});
