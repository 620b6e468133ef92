import { expect, test } from 'vitest';

import { MAGIC_MICROSECONDS, MAGIC_MODIFIED, MAGIC_NANOSECONDS } from './format.ts';
import type { ClassicRecord } from './testing.ts';
import { buildClassic, cut, readBytes, readChunks, seededRandom } from './testing.ts';

const FRAME = Buffer.from('0102030405060708090a0b0c0800450000', 'hex');

const RECORDS: ClassicRecord[] = [
  [1_700_000_000, 123_456, 17, FRAME],
  [1_700_000_000, 999_999, 1514, FRAME.subarray(0, 3)],
  [1_700_000_001, 0, 0, Buffer.alloc(0)],
  [0xffff_ffff, 1, 9000, Buffer.alloc(9000, 7)],
];

test.each([
  ['little-endian', MAGIC_MICROSECONDS, false, [2, 4]],
  ['big-endian', MAGIC_MICROSECONDS, true, [2, 4]],
  ['little-endian nanosecond', MAGIC_NANOSECONDS, false, [2, 4]],
  ['big-endian nanosecond', MAGIC_NANOSECONDS, true, [2, 4]],
  ['modified little-endian', MAGIC_MODIFIED, false, [2, 4]],
  ['modified big-endian', MAGIC_MODIFIED, true, [2, 4]],
  ['version 2.2, lengths the other way round', MAGIC_MICROSECONDS, false, [2, 2]],
] as const)('a %s file gives its packets in nanoseconds', async (_name, magic, bigEndian, version) => {
  const result = await readBytes(buildClassic({ magic, bigEndian, version }, RECORDS));
  expect(result.error).toBeNull();
  const scale = magic === MAGIC_NANOSECONDS ? 1 : 1000;
  expect(result.packets).toEqual(
    RECORDS.map(([seconds, fraction, originalBytes, frame]) => ({
      seconds,
      nanoseconds: fraction * scale,
      originalBytes,
      frame: Buffer.from(frame).toString('hex'),
      linkType: 1,
      interfaceId: 0,
    })),
  );
  expect(result.file?.interfaces).toEqual([
    { linkType: 1, snapBytes: 65_535, precision: scale === 1 ? 'ns' : 'us' },
  ]);
});

test.each([0, 1, 0x7fff_ffff, 0xffff_ffff])('a snap length of %d limits nothing', async (snapBytes) => {
  const result = await readBytes(buildClassic({ snapBytes }, RECORDS));
  expect(result.packets).toHaveLength(4);
  expect(result.file?.remarks.longerThanSnap).toBe(snapBytes === 1 ? 3 : 0);
});

test('the largest packet is read, and one byte more is damage', async () => {
  const largest: ClassicRecord = [1, 2, 262_144, Buffer.alloc(262_144, 1)];
  const whole = await readBytes(buildClassic({}, [largest, largest, largest, largest, largest]));
  expect(whole.error).toBeNull();
  expect(whole.packets).toHaveLength(5);
  const beyond = await readBytes(buildClassic({}, [largest, [1, 2, 262_145, Buffer.alloc(262_145)]]));
  expect(beyond.packets).toHaveLength(1);
  expect(beyond.error?.context).toMatchObject({ offset: 24 + 16 + 262_144, packetCount: 1 });
});

test('the link type is the low 16 bits of its field, and DLT_RAW written by mistake is RAW', async () => {
  const linkTypeOf = async (linkTypeField: number): Promise<number | undefined> =>
    (await readBytes(buildClassic({ linkTypeField }, RECORDS))).packets[0]?.linkType;
  // Bit 26 says that bits 28 to 31 hold the length of the frame check sequence.
  expect(await linkTypeOf(0x2400_0001)).toBe(1);
  expect(await linkTypeOf(12)).toBe(101);
  expect(await linkTypeOf(14)).toBe(101);
  expect(await linkTypeOf(101)).toBe(101);
  expect(await linkTypeOf(65_535)).toBe(65_535);
});

test('a fraction of a second or more is carried into the seconds and counted', async () => {
  const records: ClassicRecord[] = [
    [10, 1_000_000, 17, FRAME],
    [10, 3_999_999, 17, FRAME],
    [0xffff_ffff, 0xffff_ffff, 17, FRAME],
  ];
  for (const bigEndian of [false, true]) {
    const { packets, file } = await readBytes(
      buildClassic({ magic: MAGIC_MICROSECONDS, bigEndian }, records),
    );
    expect(packets.map((packet) => [packet.seconds, packet.nanoseconds])).toEqual([
      [11, 0],
      [13, 999_999_000],
      [0xffff_ffff, 999_999_999],
    ]);
    expect(file?.remarks).toMatchObject({ fractionCarried: 3, timeClamped: 1 });
  }
});

test('a packet shorter on the wire than in the file is kept as it is and counted', async () => {
  const { packets, file } = await readBytes(buildClassic({}, [[1, 2, 5, FRAME]]));
  expect(packets[0]?.originalBytes).toBe(5);
  expect(file?.remarks.originalShorter).toBe(1);
});

test.each([
  ['1 byte', 1],
  ['7 bytes', 7],
  ['4096 bytes', 4096],
  ['1 GB', 1e9],
])('input in chunks of %s gives the same packets', async (_name, length) => {
  for (const magic of [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS, MAGIC_MODIFIED]) {
    const bytes = buildClassic({ magic, bigEndian: magic === MAGIC_NANOSECONDS }, RECORDS);
    const whole = await readBytes(bytes);
    expect((await readChunks(cut(bytes, () => length))).packets).toEqual(whole.packets);
  }
});

test('input in chunks of random lengths gives the same packets over several windows', async () => {
  const records = Array.from({ length: 3000 }, (_, i): ClassicRecord => [
    i,
    i,
    2000,
    Buffer.alloc((i * 37) % 1500, i),
  ]);
  const bytes = buildClassic({}, records);
  const whole = await readBytes(bytes);
  expect(whole.packets).toHaveLength(3000);
  for (const seed of [1, 2, 3]) {
    const random = seededRandom(seed);
    const chunked = await readChunks(cut(bytes, () => Math.floor(random() ** 4 * 400_000)));
    expect(chunked.packets, `seed ${seed}`).toEqual(whole.packets);
  }
});

test('a file cut at any byte gives the packets before the cut and says where it was cut', async () => {
  const small = RECORDS.slice(0, 3);
  const bytes = buildClassic({}, small);
  const ends = [24, 24 + 16 + 17, 24 + 16 + 17 + 16 + 3, 24 + 16 + 17 + 16 + 3 + 16];
  for (let length = 0; length <= bytes.byteLength; length++) {
    const { packets, error } = await readBytes(bytes.subarray(0, length));
    const complete = ends.filter((end) => end <= length).length - 1;
    expect(packets).toHaveLength(Math.max(0, complete));
    if (ends.includes(length)) expect(error).toBeNull();
    else
      expect(error?.context).toMatchObject({
        offset: complete < 0 ? 0 : ends[complete],
        packetCount: packets.length,
      });
  }
});
