/** Compressed captures as Debian's own tools make them, whole, cut, damaged, and several in a row. */
import { spawnSync } from 'node:child_process';
import { constants, crc32, gzipSync, zstdCompressSync } from 'node:zlib';

import { describe, expect, test } from 'vitest';

import type { PlainPacket } from './testing.ts';
import { buildClassic, cut, readBytes, readChunks, seededRandom } from './testing.ts';

/** 3 MB of traffic as it is: half of it repeats, half is noise. */
const CAPTURE = buildClassic(
  {},
  Array.from({ length: 4000 }, (_, i) => {
    const random = seededRandom(i);
    const frame = Buffer.alloc(64 + (i % 1400), 'register');
    for (let at = 0; at < frame.byteLength / 2; at++) frame[at] = random() * 256;
    return [i, i, frame.byteLength, frame] as const;
  }),
);
const PACKETS = (await readBytes(CAPTURE)).packets;

function pack(program: string, ...parameters: string[]): Buffer {
  const { stdout, status, stderr } = spawnSync(program, ['-c', ...parameters], {
    input: CAPTURE,
    maxBuffer: 1e8,
  });
  expect(status, stderr.toString()).toBe(0);
  return stdout;
}

/** The packets must be the first of the capture; returns how many. */
function countPrefix(packets: readonly PlainPacket[]): number {
  expect(packets).toEqual(PACKETS.slice(0, packets.length));
  return packets.length;
}

const VARIANTS: readonly (readonly [string, ...string[]])[] = [
  ['gzip', '-1'],
  ['gzip', '-9'],
  ['zstd', '-q'],
  ['zstd', '-q', '--long=27', '-T2', '-B524288'],
  ['zstd', '-q', '--no-check', '-19'],
  ['lz4'],
  ['lz4', '-9'],
  ['lz4', '-BD'],
  ['lz4', '-BD', '-B4', '-BX'],
  ['lz4', '-B5', '--content-size'],
  ['lz4', '-BD', '-B6', '--no-frame-crc'],
  ['lz4', '-B7', '-BX', '--content-size'],
  ['lz4', '-l'],
];

test.each(VARIANTS.map((variant) => [variant.join(' '), variant] as const))(
  '%s is read',
  async (_name, variant) => {
    const [program, ...parameters] = variant;
    const { packets, error, file } = await readBytes(pack(program, ...parameters));
    expect(error).toBeNull();
    expect(file?.compression).toBe(program);
    expect(packets).toEqual(PACKETS);
  },
);

describe.each([
  ['gzip', ['-6']],
  ['zstd', ['-q']],
  ['lz4', ['-BD', '-B4']],
] as const)('%s', (program, parameters) => {
  const packed = pack(program, ...parameters);

  test('arrives in chunks of any length', async () => {
    const random = seededRandom(7);
    for (const nextLength of [() => 1009, () => Math.floor(random() ** 3 * 200_000)])
      expect((await readChunks(cut(packed, nextLength))).packets).toEqual(PACKETS);
  });

  test('in several members is one capture, and each member ends where it ends', async () => {
    const half = Math.floor(CAPTURE.byteLength / 2);
    const parts = [CAPTURE.subarray(0, 0), CAPTURE.subarray(0, half), CAPTURE.subarray(half)].map(
      (input) => spawnSync(program, ['-c', ...parameters], { input, maxBuffer: 1e8 }).stdout,
    );
    for (const length of [1e9, 777]) {
      const { packets, error } = await readChunks(cut(Buffer.concat(parts), () => length));
      expect(error).toBeNull();
      expect(packets).toEqual(PACKETS);
    }
  });

  test('cut short gives the packets before the cut and says so', async () => {
    for (const left of [5, 30, packed.byteLength >> 1, packed.byteLength - 1]) {
      const { packets, error } = await readBytes(packed.subarray(0, left));
      const count = countPrefix(packets);
      expect(error?.message).toMatch(/cut short|ends inside/);
      // No format holds more than one block of 128 KiB back until it is complete.
      if (left > 30) expect(count).toBeGreaterThan((PACKETS.length * left) / packed.byteLength - 400);
    }
  });

  test('followed by padding loses nothing and counts it', async () => {
    const { packets, error, file } = await readBytes(Buffer.concat([packed, Buffer.alloc(100)]));
    expect(error).toBeNull();
    expect(packets).toEqual(PACKETS);
    expect(file?.remarks.trailingBytesIgnored).toBeGreaterThan(0);
  });

  test('with any byte changed gives packets and perhaps an error, never anything else', async () => {
    const random = seededRandom(99);
    for (let round = 0; round < 30; round++) {
      const damaged = Buffer.from(packed);
      const at = Math.floor(random() * damaged.byteLength);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      const { error, packets } = await readBytes(damaged);
      if (error === null) expect(packets.length).toBeGreaterThan(0);
      else expect(error.code).toBe('PCAP_INVALID');
    }
  });
});

test('a gzip file with a wrong checksum gives every packet before it complains', async () => {
  const packed = gzipSync(CAPTURE);
  packed.writeUInt32LE(crc32('something else'), packed.byteLength - 8);
  const { packets, error } = await readBytes(packed);
  expect(packets).toEqual(PACKETS);
  expect(error?.context['reason']).toMatch(/checksum/);
});

test('an LZ4 file with a wrong content checksum gives every packet before it complains', async () => {
  const packed = pack('lz4');
  packed.writeUInt32LE(crc32('something else'), packed.byteLength - 4);
  const { packets, error } = await readBytes(packed);
  expect(packets).toEqual(PACKETS);
  expect(error?.context['reason']).toMatch(/checksum/);
});

test('a gzip header with name, comment, extra field and checksum is read', async () => {
  const plain = gzipSync(CAPTURE);
  const header = Buffer.from(plain.subarray(0, 10));
  header[3] = 2 | 4 | 8 | 16;
  const fields = Buffer.concat([Buffer.from([3, 0]), Buffer.from('abcname\0comment\0'), Buffer.from([1, 2])]);
  const { packets, error } = await readBytes(Buffer.concat([header, fields, plain.subarray(10)]));
  expect(error).toBeNull();
  expect(packets).toEqual(PACKETS);
});

test('frames with skippable frames between them are read', async () => {
  const skippable = Buffer.from('502a4d1803000000aabbcc', 'hex');
  for (const packed of [zstdCompressSync(CAPTURE), pack('lz4')]) {
    const { packets, error } = await readBytes(Buffer.concat([packed, skippable, skippable]));
    expect(error).toBeNull();
    expect(packets).toEqual(PACKETS);
  }
  expect((await readBytes(Buffer.concat([skippable, zstdCompressSync(CAPTURE)]))).packets).toEqual(PACKETS);
});

test('a window beyond 128 MiB is refused instead of allocated', async () => {
  const packed = zstdCompressSync(CAPTURE, { params: { [constants.ZSTD_c_windowLog]: 20 } });
  // The window descriptor follows magic and frame header descriptor unless the frame is a single segment.
  const single = ((packed[4] ?? 0) & 0x20) !== 0;
  if (single) packed[4] = (packed[4] ?? 0) & ~0x20;
  const hostile = single
    ? Buffer.concat([packed.subarray(0, 5), Buffer.from([0xf8]), packed.subarray(5)])
    : Buffer.concat([packed.subarray(0, 5), Buffer.from([0xf8]), packed.subarray(6)]);
  const { packets, error } = await readBytes(hostile);
  expect(packets).toHaveLength(0);
  expect(error?.code).toBe('PCAP_INVALID');
});

test('a small file that unpacks to gigabytes is read in bounded memory', async () => {
  // 1 GiB of empty packets, each the same: a plausible bomb.
  const records = buildClassic(
    {},
    Array.from({ length: 60_000 }, () => [1, 1, 1200, Buffer.alloc(1200)] as const),
  );
  const body = zstdCompressSync(records.subarray(24));
  const bomb = Buffer.concat([
    zstdCompressSync(records.subarray(0, 24)),
    ...Array.from({ length: 14 }, () => body),
  ]);
  const { openCapture } = await import('./capture-file.ts');
  const { Readable } = await import('node:stream');
  const before = process.memoryUsage().rss;
  let peak = before;
  const file = await openCapture('-', { stream: Readable.from([bomb], { objectMode: false }) });
  for await (const batch of file.batches())
    if (batch.packetCount > 0) peak = Math.max(peak, process.memoryUsage().rss);
  expect(file.packetCount).toBe(14 * 60_000);
  expect(peak - before).toBeLessThan(256 * 1024 * 1024);
});
