import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { createGzip, createZstdCompress } from 'node:zlib';

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';

import { BatchBuilder } from '../packet/batch.ts';
import { openCapture } from './capture-file.ts';
import { PcapFile } from './pcap-file.ts';
import type { ClassicRecord } from './testing.ts';
import { BlockWriter, buildClassic, readBytes, readCapture } from './testing.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-pcap-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const FRAME = Buffer.from('0102030405060708090a0b0c0800450000', 'hex');

test('a live pipe hands out what is there without waiting for more', async () => {
  const stream = new PassThrough();
  stream.write(buildClassic({}, [[1, 2, 17, FRAME]]));
  const file = await openCapture('-', { stream });
  const batches = file.batches()[Symbol.asyncIterator]();
  const first = await batches.next();
  expect(first.value).toMatchObject({ packetCount: 1 });
  stream.write(buildClassic({}, [[2, 2, 17, FRAME], [3, 3, 17, FRAME]]).subarray(24)); // prettier-ignore
  expect((await batches.next()).value).toMatchObject({ packetCount: 2 });
  const waiting = batches.next();
  await file.close();
  expect((await waiting).done).toBe(true);
  expect(file.packetCount).toBe(3);
});

test.each(['gzip', 'zstd'] as const)(
  'a live pipe of %s is handed on as far as it unpacks',
  async (format) => {
    const stream = new PassThrough();
    const packer = format === 'gzip' ? createGzip() : createZstdCompress();
    packer.pipe(stream);
    packer.write(buildClassic({}, [[1, 2, 17, FRAME]]));
    packer.flush();
    const file = await openCapture('-', { stream });
    const batches = file.batches()[Symbol.asyncIterator]();
    expect((await batches.next()).value).toMatchObject({ packetCount: 1 });
    const waiting = batches.next();
    await file.close();
    expect((await waiting).done).toBe(true);
    packer.destroy();
  },
);

test('leaving the loop early releases the file', async () => {
  const path = join(directory, 'early.pcap');
  writeFileSync(
    path,
    buildClassic(
      {},
      Array.from({ length: 3000 }, (): ClassicRecord => [1, 2, 1000, Buffer.alloc(1000)]),
    ),
  );
  const file = await openCapture(path);
  for await (const batch of file.batches()) {
    expect(batch.byteLength).toBeLessThanOrEqual(1024 * 1024);
    break;
  }
  expect(file.inputBytes).toBeGreaterThan(0);
  expect(file.inputBytesTotal).toBe(24 + 3000 * 1016);
  await file.close();
});

test('a file that cannot be opened or read says which and why', async () => {
  const missing = await readCapture(join(directory, 'missing.pcap'));
  expect(missing.error).toMatchObject({ code: 'CAPTURE_FAILED' });
  expect(missing.error?.message).toMatch(/cannot open .*missing\.pcap: ENOENT/);
  expect((await readCapture(directory)).error?.code).toBe('CAPTURE_FAILED');
});

test('a named pipe is read like a stream', async () => {
  const path = join(directory, 'pipe');
  expect(spawnSync('mkfifo', [path]).status).toBe(0);
  const reading = readCapture(path);
  writeFileSync(path, buildClassic({}, [[1, 2, 17, FRAME]]));
  expect((await reading).packets).toHaveLength(1);
});

test('files packed by tools we do not read say what they are', async () => {
  expect((await readBytes(Buffer.from('fd377a585a00000000000000000000', 'hex'))).error?.message).toMatch(
    /xz/,
  );
  expect((await readBytes(Buffer.from('BZh91AY&SYabcdefghijklmnop'))).error?.message).toMatch(/bzip2/);
});

const packet = fc.record({
  seconds: fc.nat(0xffff_ffff),
  nanoseconds: fc.nat(999_999_999),
  extraBytes: fc.nat(5000),
  frame: fc.uint8Array({ maxLength: 300 }),
});

test.each(['ns', 'us'] as const)('what is written in %s is read again', async (precision) => {
  const path = join(directory, `round-${precision}.pcap`);
  await fc.assert(
    fc.asyncProperty(fc.array(packet, { maxLength: 50 }), fc.nat(65_535), async (packets, linkTypeDrawn) => {
      const linkType = linkTypeDrawn === 12 || linkTypeDrawn === 14 ? 1 : linkTypeDrawn;
      const builder = new BatchBuilder(linkType);
      for (const { seconds, nanoseconds, extraBytes, frame } of packets)
        builder.append(seconds, nanoseconds, frame.byteLength + extraBytes, frame, 0, frame.byteLength);
      const file = await PcapFile.create(path, { linkType, precision });
      await file.write(builder.take());
      await file.write(builder.take());
      await file.close();
      const result = await readCapture(path);
      expect(result.error).toBeNull();
      const expected = packets.map(({ seconds, nanoseconds, extraBytes, frame }) => ({
        seconds,
        nanoseconds: precision === 'ns' ? nanoseconds : Math.floor(nanoseconds / 1000) * 1000,
        originalBytes: frame.byteLength + extraBytes,
        frame: Buffer.from(frame).toString('hex'),
        linkType,
        interfaceId: 0,
      }));
      expect(result.packets).toEqual([...expected, ...expected]);
    }),
    { numRuns: 60 },
  );
});

test('tshark reads what we write without complaint', async () => {
  for (const precision of ['ns', 'us'] as const) {
    const path = join(directory, `tshark-${precision}.pcap`);
    const builder = new BatchBuilder(1);
    builder.append(1_700_000_000, 123_456_789, 60, FRAME, 0, FRAME.byteLength);
    const file = await PcapFile.create(path, { linkType: 1, precision });
    await file.write(builder.take());
    await file.close();
    const { stdout } = spawnSync(
      'tshark',
      ['-r', path, '-T', 'fields', '-e', 'frame.time_epoch', '-e', 'frame.len'],
      {
        encoding: 'utf8',
      },
    );
    expect(stdout.trim()).toBe(`1700000000.123456${precision === 'ns' ? '789' : '000'}\t60`);
  }
});

const BLOCKS = new BlockWriter(false);
const SAMPLES: readonly Buffer[] = [
  buildClassic({}, [[1, 2, 17, FRAME], [2, 3, 17, FRAME], [3, 4, 17, FRAME]]), // prettier-ignore
  buildClassic({ bigEndian: true, magic: 0xa1b2cd34 }, [[1, 2, 17, FRAME], [2, 3, 17, FRAME]]), // prettier-ignore
  Buffer.concat([
    BLOCKS.section(),
    BLOCKS.interface(1, 100, BLOCKS.option(2, Buffer.from('eth0')), BLOCKS.option(9, Buffer.from([9]))),
    BLOCKS.packet(0, 1_700_000_000_000_000_000n, FRAME),
    BLOCKS.block(4, FRAME),
    BLOCKS.packet(0, 1_700_000_000_000_000_001n, FRAME),
    BLOCKS.block(3, BLOCKS.u32(17), FRAME),
  ]),
];

test('any changed bits give packets and perhaps a PCAP_INVALID, nothing else', async () => {
  const flips = fc.array(fc.tuple(fc.nat(10_000), fc.nat(255)), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...SAMPLES), flips, fc.nat(400), async (sample, changes, cutAt) => {
      const bytes = Buffer.from(sample);
      for (const [at, value] of changes) bytes[at % bytes.byteLength] = value;
      const { error } = await readBytes(cutAt === 0 ? bytes : bytes.subarray(0, cutAt));
      if (error !== null) expect(error.code).toBe('PCAP_INVALID');
    }),
    { numRuns: 1500 },
  );
});

test('any bytes behind any magic give a PCAP_INVALID or packets, nothing else', async () => {
  const magics = ['', 'd4c3b2a1', 'a1b2c3d4', '4d3cb2a1', '34cdb2a1', '0a0d0d0a1c0000004d3c2b1a', '1f8b0800', '28b52ffd', '04224d18', '02214c18', '502a4d18']; // prettier-ignore
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...magics), fc.uint8Array({ maxLength: 300 }), async (magic, rest) => {
      const { error } = await readBytes(Buffer.concat([Buffer.from(magic, 'hex'), rest]));
      if (error !== null) expect(error.code).toBe('PCAP_INVALID');
    }),
    { numRuns: 1500 },
  );
});
