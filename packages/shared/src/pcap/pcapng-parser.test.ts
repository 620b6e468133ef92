import { expect, test } from 'vitest';

import {
  BLOCK_PACKET_OLD,
  BLOCK_PACKET_SIMPLE,
  INTERFACES_MAX,
  OPTION_INTERFACE_NAME,
  OPTION_TIME_OFFSET,
  OPTION_TIME_RESOLUTION,
} from './format.ts';
import { BLOCK_BYTES_MAX } from './pcapng-parser.ts';
import { BlockWriter, cut, readBytes, readChunks } from './testing.ts';

const LITTLE = new BlockWriter(false);
const BIG = new BlockWriter(true);
const FRAME = Buffer.from('aabbccddeeff11223344556608060001', 'hex');
const BLOCK_CUSTOM = 0xbad;

/** An eight-byte value in the little-endian order. */
function i64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return bytes;
}

test.each([
  ['microseconds by default', null, 1_700_000_000_123_456n, [1_700_000_000, 123_456_000], 'us'],
  ['seconds', 0, 1_700_000_000n, [1_700_000_000, 0], '10^-0'],
  ['milliseconds', 3, 1_700_000_000_999n, [1_700_000_000, 999_000_000], '10^-3'],
  ['nanoseconds', 9, 1_700_000_000_123_456_789n, [1_700_000_000, 123_456_789], 'ns'],
  ['picoseconds', 12, 1_700_000_123_456_789_012n, [1_700_000, 123_456_789], '10^-12'],
  ['2^-20', 0x80 | 20, (1_700_000_000n << 20n) | 524_288n, [1_700_000_000, 500_000_000], '2^-20'],
  ['2^-32', 0x80 | 32, (1_700_000_000n << 32n) | 0x4000_0000n, [1_700_000_000, 250_000_000], '2^-32'],
  ['10^-127', 127, 0xffff_ffff_ffff_ffffn, [0, 0], '10^-127'],
] as const)('timestamps in %s are exact', async (_name, resolution, ticks, expected, precision) => {
  const options =
    resolution === null ? [] : [LITTLE.option(OPTION_TIME_RESOLUTION, Buffer.from([resolution]))];
  const { packets, file, error } = await readBytes(
    Buffer.concat([LITTLE.section(), LITTLE.interface(1, 0, ...options), LITTLE.packet(0, ticks, FRAME)]),
  );
  expect(error).toBeNull();
  expect(packets.map((packet) => [packet.seconds, packet.nanoseconds])).toEqual([expected]);
  expect(file?.interfaces[0]?.precision).toBe(precision);
});

test('a time offset is added, and what falls out of a record’s range is clamped and counted', async () => {
  const offset = (value: bigint): Buffer => LITTLE.option(OPTION_TIME_OFFSET, i64(value));
  const { packets, file } = await readBytes(
    Buffer.concat([
      LITTLE.section(),
      LITTLE.interface(1, 0, offset(1_700_000_000n)),
      LITTLE.interface(1, 0, offset(-10n)),
      LITTLE.packet(0, 5_000_001n, FRAME),
      LITTLE.packet(1, 9_000_000n, FRAME),
      LITTLE.packet(0, 0xffff_ffff_ffff_ffffn, FRAME),
    ]),
  );
  expect(packets.map((packet) => [packet.seconds, packet.nanoseconds])).toEqual([
    [1_700_000_005, 1000],
    [0, 0],
    [0xffff_ffff, 999_999_999],
  ]);
  expect(file?.remarks.timeClamped).toBe(2);
});

test('sections of both byte orders have interfaces of their own', async () => {
  const { packets, file, error } = await readBytes(
    Buffer.concat([
      LITTLE.section(),
      LITTLE.interface(1, 0, LITTLE.option(OPTION_INTERFACE_NAME, Buffer.from('span0'))),
      LITTLE.packet(0, 1_000_001n, FRAME),
      BIG.section(),
      BIG.interface(12, 0, BIG.option(OPTION_INTERFACE_NAME, Buffer.from('tun\n7'))),
      BIG.packet(0, 2_000_002n, FRAME, 99),
    ]),
  );
  expect(error).toBeNull();
  const frame = FRAME.toString('hex');
  expect(packets).toEqual([
    { seconds: 1, nanoseconds: 1000, originalBytes: 16, frame, linkType: 1, interfaceId: 0 },
    { seconds: 2, nanoseconds: 2000, originalBytes: 99, frame, linkType: 101, interfaceId: 1 },
  ]);
  expect(file?.interfaces.map((entry) => [entry.linkType, entry.name])).toEqual([
    [1, 'span0'],
    [101, 'tun.7'],
  ]);
});

test('old and simple packet blocks are read: the one has a 16-bit interface, the other no time and the snap length', async () => {
  const old = LITTLE.block(
    BLOCK_PACKET_OLD,
    LITTLE.u16(0),
    LITTLE.u16(77),
    LITTLE.u32(0),
    LITTLE.u32(3_000_000),
    LITTLE.u32(FRAME.byteLength),
    LITTLE.u32(60),
    FRAME,
  );
  const simple = LITTLE.block(BLOCK_PACKET_SIMPLE, LITTLE.u32(400), FRAME.subarray(0, 6));
  const { packets, file } = await readBytes(
    Buffer.concat([LITTLE.section(), LITTLE.interface(1, 6), old, simple, simple]),
  );
  expect(packets.map((p) => [p.seconds, p.originalBytes, p.frame])).toEqual([
    [3, 60, FRAME.toString('hex')],
    [0, 400, 'aabbccddeeff'],
    [0, 400, 'aabbccddeeff'],
  ]);
  expect(file?.remarks.timeMissing).toBe(2);
});

test('unknown blocks of any size are skipped and counted, whatever chunks they come in', async () => {
  const bytes = Buffer.concat([
    LITTLE.section(),
    LITTLE.block(BLOCK_CUSTOM, Buffer.alloc(3_000_000, 9)),
    LITTLE.interface(1),
    LITTLE.block(BLOCK_CUSTOM),
    LITTLE.packet(0, 1n, FRAME),
    LITTLE.block(BLOCK_CUSTOM, FRAME),
  ]);
  for (const length of [1009, 65_536, 1e9]) {
    const { packets, file, error } = await readChunks(cut(bytes, () => length));
    expect(error).toBeNull();
    expect(packets).toHaveLength(1);
    expect(file?.remarks.blocksSkipped).toBe(3);
  }
});

test('a skipped block with a wrong trailer, or cut, is damage', async () => {
  const custom = LITTLE.block(BLOCK_CUSTOM, FRAME);
  const wrong = Buffer.from(custom);
  wrong[wrong.byteLength - 4] = 99;
  const head = Buffer.concat([LITTLE.section(), LITTLE.interface(1), LITTLE.packet(0, 1n, FRAME)]);
  const mismatch = await readBytes(Buffer.concat([head, wrong]));
  expect(mismatch.packets).toHaveLength(1);
  expect(mismatch.error?.context['reason']).toBe('a block says 28 bytes at its start and 99 at its end');
  const short = await readBytes(Buffer.concat([head, custom.subarray(0, 15)]));
  expect(short.error?.context['reason']).toBe('the file ends inside a block: 15 of its 28 bytes are there');
});

test('packets of alternating interfaces share batches and keep their order', async () => {
  const blocks = [LITTLE.section(), LITTLE.interface(1), LITTLE.interface(1), LITTLE.interface(113)];
  for (let i = 0; i < 2000; i++) blocks.push(LITTLE.packet(i % 2, BigInt(i) * 1_000_000n, FRAME));
  for (let i = 2000; i < 2100; i++) blocks.push(LITTLE.packet(1, BigInt(i) * 1_000_000n, FRAME));
  for (let i = 2100; i < 2110; i++) blocks.push(LITTLE.packet(2, BigInt(i) * 1_000_000n, FRAME));
  const { packets, batchCount, file } = await readBytes(Buffer.concat(blocks));
  expect(packets.map((packet) => packet.seconds)).toEqual(packets.map((_, i) => i));
  expect(batchCount).toBeLessThan(10);
  const mixed = file?.interfaces.findIndex((entry) => entry.name === 'several');
  expect(packets[0]?.interfaceId).toBe(mixed);
  expect(packets.at(-1)).toMatchObject({ interfaceId: 2, linkType: 113 });
});

test('long runs of one interface keep its number', async () => {
  const blocks = [LITTLE.section(), LITTLE.interface(1), LITTLE.interface(1)];
  for (let i = 0; i < 200; i++) blocks.push(LITTLE.packet(Math.floor(i / 50) % 2, BigInt(i), FRAME));
  const { packets, file } = await readBytes(Buffer.concat(blocks));
  expect(packets.map((packet) => packet.interfaceId)).toEqual(packets.map((_, i) => Math.floor(i / 50) % 2));
  expect(file?.interfaces).toHaveLength(2);
});

test('what a file claims has limits', async () => {
  const endless = Buffer.concat([
    LITTLE.section(),
    ...Array.from({ length: INTERFACES_MAX + 1 }, () => LITTLE.interface(1)),
  ]);
  expect((await readBytes(endless)).error?.context['reason']).toBe(
    `more than ${INTERFACES_MAX} interfaces are described`,
  );
  const huge = LITTLE.packet(0, 1n, FRAME);
  huge.writeUInt32LE(BLOCK_BYTES_MAX + 4, 4);
  const result = await readBytes(Buffer.concat([LITTLE.section(), LITTLE.interface(1), huge]));
  expect(result.error?.context['reason']).toMatch(/beyond the limit/);
  const option = LITTLE.option(OPTION_INTERFACE_NAME, FRAME);
  option.writeUInt16LE(2000, 2);
  const overrun = await readBytes(Buffer.concat([LITTLE.section(), LITTLE.interface(1, 0, option)]));
  expect(overrun.error?.context['reason']).toMatch(/option 2 .* longer than the block/);
});

test('the largest packet with options is read in any chunks', async () => {
  const large = Buffer.alloc(262_144, 3);
  const bytes = Buffer.concat([
    LITTLE.section(),
    LITTLE.interface(1),
    LITTLE.packet(0, 1n, large),
    LITTLE.packet(0, 2n, FRAME),
    LITTLE.packet(0, 3n, large),
  ]);
  for (const length of [100_003, 1e9]) {
    const { packets, error } = await readChunks(cut(bytes, () => length));
    expect(error).toBeNull();
    expect(packets.map((packet) => packet.frame.length / 2)).toEqual([262_144, 16, 262_144]);
  }
});

test('byte by byte gives the same as whole', async () => {
  const bytes = Buffer.concat([
    BIG.section(),
    BIG.interface(1),
    BIG.packet(0, 1_000_000n, FRAME),
    LITTLE.section(),
    LITTLE.interface(1),
    LITTLE.block(BLOCK_CUSTOM, FRAME),
    LITTLE.packet(0, 2_000_000n, FRAME),
  ]);
  const whole = await readBytes(bytes);
  expect(whole.packets).toHaveLength(2);
  expect((await readChunks(cut(bytes, () => 1))).packets).toEqual(whole.packets);
});
