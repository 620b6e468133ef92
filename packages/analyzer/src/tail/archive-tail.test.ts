import { appendFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { encodeFileHeader } from '@tapline/shared/pcap/pcap-writer.ts';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packetsOf, type SeenPacket } from '../../../../tests/support/captured.ts';
import { ArchiveTail, type TailOptions } from './archive-tail.ts';
import type { Segment } from './followed-segment.ts';
import { SegmentFollower, createReadBuffer } from './segment-follower.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tapline-tail-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const SECONDS = 1_767_225_600;

/** A file of `count` records, the n-th with n + 20 bytes; the bytes of its header and records. */
function segmentBytes(count: number, precision: 'ns' | 'us' = 'ns', first = SECONDS): Buffer {
  const parts: Buffer[] = [Buffer.from(encodeFileHeader({ linkType: LINKTYPE_ETHERNET, precision }))];
  for (let n = 0; n < count; n++) {
    const record = Buffer.alloc(16 + 20 + n, n);
    record.writeUInt32LE(first + n, 0);
    record.writeUInt32LE(n, 4);
    record.writeUInt32LE(20 + n, 8);
    record.writeUInt32LE(20 + n, 12);
    parts.push(record);
  }
  return Buffer.concat(parts);
}

function readAll(follower: SegmentFollower): SeenPacket[] {
  const packets: SeenPacket[] = [];
  for (let batch = follower.read(); batch !== null; batch = follower.read())
    packets.push(...packetsOf(batch));
  return packets;
}

function tail(
  events: Partial<ConstructorParameters<typeof ArchiveTail>[1]> = {},
  options: TailOptions = {},
): ArchiveTail {
  const none = (): void => undefined;
  const all = { segmentDamaged: none, segmentCut: none, tooManySegments: none, unreadable: none, ...events };
  return new ArchiveTail(directory, all, options);
}

async function poll(
  archive: ArchiveTail,
): Promise<{ segment: Segment; packets: number; number: number; offset: number; file: number }[]> {
  const seen = [];
  for await (const { segment, batch, number, offset, file } of archive.poll())
    seen.push({ segment, packets: batch.packetCount, number, offset, file });
  return seen;
}

describe('a segment that grows', () => {
  it('gives each record once, whatever pieces it is written in', () => {
    const bytes = segmentBytes(40);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }), (pieces) => {
        const path = join(directory, 'x.pcap');
        writeFileSync(path, '');
        const follower = new SegmentFollower(path, createReadBuffer());
        const seen: SeenPacket[] = [];
        for (let at = 0, i = 0; at < bytes.byteLength; i++) {
          const end = Math.min(at + (pieces[i % pieces.length] ?? 1), bytes.byteLength);
          appendFileSync(path, bytes.subarray(at, end));
          at = end;
          seen.push(...readAll(follower));
        }
        expect(seen.map((packet) => packet.frame.byteLength)).toEqual(
          Array.from({ length: 40 }, (_, n) => n + 20),
        );
        expect(follower.damage).toBeNull();
      }),
      { numRuns: 30 },
    );
  });

  it('gives microseconds as nanoseconds', () => {
    const path = join(directory, 'x.pcap');
    writeFileSync(path, segmentBytes(3, 'us'));
    const times = readAll(new SegmentFollower(path, createReadBuffer())).map(
      (packet) => packet.timeNs % 1_000_000_000n,
    );
    expect(times).toEqual([0n, 1000n, 2000n]);
  });

  it('that is cut back by its writer is told, and read on from its new end', () => {
    const path = join(directory, 'x.pcap');
    const bytes = segmentBytes(3);
    writeFileSync(path, bytes);
    const follower = new SegmentFollower(path, createReadBuffer());
    expect(readAll(follower)).toHaveLength(3);
    const whole = segmentBytes(2).byteLength;
    truncateSync(path, whole);
    expect(readAll(follower)).toHaveLength(0);
    expect(follower.cuts).toBe(1);
    appendFileSync(path, bytes.subarray(whole));
    expect(readAll(follower)).toHaveLength(1);
  });

  it('with damage in the middle gives what stands before it, and says where', () => {
    const path = join(directory, 'x.pcap');
    const bytes = segmentBytes(3);
    bytes.writeUInt32LE(0xffff_ffff, segmentBytes(2).byteLength + 8);
    writeFileSync(path, bytes);
    const follower = new SegmentFollower(path, createReadBuffer());
    expect(readAll(follower)).toHaveLength(2);
    expect(follower.damage).toBe(`damaged at offset ${segmentBytes(2).byteLength}`);
  });

  it('whatever bytes a file has, nothing is thrown', () => {
    const path = join(directory, 'x.pcap');
    const header = encodeFileHeader({ linkType: LINKTYPE_ETHERNET, precision: 'ns' });
    fc.assert(
      fc.property(fc.boolean(), fc.uint8Array({ maxLength: 200 }), (withHeader, bytes) => {
        writeFileSync(path, withHeader ? Buffer.concat([header, bytes]) : bytes);
        readAll(new SegmentFollower(path, createReadBuffer()));
      }),
    );
  });
});

describe('an archive', () => {
  it('is followed over old, new and growing segments of all sensors, each packet once', async () => {
    for (const sensor of ['a', 'b']) mkdirSync(join(directory, sensor));
    writeFileSync(join(directory, 'a/10.0.0.1_20260101_00.pcap'), segmentBytes(2));
    writeFileSync(join(directory, 'b/10.0.0.1_20260101_00.pcap'), segmentBytes(3));
    writeFileSync(join(directory, 'a/notes.txt'), 'not a segment');
    const archive = tail();
    expect(
      (await poll(archive)).map(({ segment, packets }) => `${segment.sensor} ${segment.prefix} ${packets}`),
    ).toEqual(['a 10.0.0.1 2', 'b 10.0.0.1 3']);
    expect(await poll(archive)).toEqual([]);
    appendFileSync(
      join(directory, 'a/10.0.0.1_20260101_00.pcap'),
      segmentBytes(5).subarray(segmentBytes(2).byteLength),
    );
    writeFileSync(join(directory, 'b/10.0.0.1_20260101_01.pcap'), segmentBytes(1));
    expect((await poll(archive)).map(({ packets }) => packets)).toEqual([3, 1]);
  });

  it('of a forwarder has its segments in the directory itself, and one that is deleted is forgotten', async () => {
    const path = join(directory, 'plc1_20260101_00.pcap');
    writeFileSync(path, segmentBytes(2));
    const archive = tail();
    expect(await poll(archive)).toMatchObject([{ segment: { sensor: '.', prefix: 'plc1' }, packets: 2 }]);
    rmSync(path);
    expect(await poll(archive)).toEqual([]);
    expect(archive.counters).toMatchObject({ segments: 1, segmentsGone: 1 });
  });

  it('one damaged segment is told and stops no other', async () => {
    writeFileSync(join(directory, 'a_20260101_00.pcap'), 'this is not a capture at all');
    writeFileSync(join(directory, 'b_20260101_00.pcap'), segmentBytes(2));
    const damaged: string[] = [];
    const archive = tail({
      segmentDamaged: (segment, reason) => damaged.push(`${segment.prefix}: ${reason}`),
    });
    expect((await poll(archive)).map(({ packets }) => packets)).toEqual([2]);
    expect(damaged).toHaveLength(1);
    expect(damaged[0]).toMatch(/^a: .*magic/);
  });

  it('that is not there yet is told and waited for', async () => {
    rmSync(directory, { recursive: true });
    const unreadable: string[] = [];
    const archive = tail({ unreadable: (path) => unreadable.push(path) });
    expect(await poll(archive)).toEqual([]);
    expect(unreadable).toEqual([directory]);
  });
});

/** Packs a segment as an archive does: the packed one appears, then the plain one goes. */
function pack(path: string, bytes: Buffer, suffix: '.gz' | '.zst'): void {
  writeFileSync(path + suffix, suffix === '.gz' ? gzipSync(bytes) : zstdCompressSync(bytes));
  rmSync(path, { force: true });
}

/** Another tail that goes on where the first stood, by way of plain data. */
function resumed(archive: ArchiveTail, options: TailOptions = {}): ArchiveTail {
  const other = tail({}, options);
  other.restore(structuredClone(archive.snapshot()));
  return other;
}

describe('the place of each packet', () => {
  it('is told: number and offset of the first record of a piece, and which file', async () => {
    const path = join(directory, 'a_20260101_00.pcap');
    writeFileSync(path, segmentBytes(3));
    const archive = tail();
    expect(await poll(archive)).toMatchObject([{ number: 1, offset: 24, file: 0, packets: 3 }]);
    appendFileSync(path, segmentBytes(5).subarray(segmentBytes(3).byteLength));
    const [piece] = await poll(archive);
    expect(piece).toMatchObject({ number: 4, offset: segmentBytes(3).byteLength, file: 0, packets: 2 });
    expect(archive.names.nameOf(0)).toBe(path);
  });

  it('is kept over a restart, wherever between two pieces it happens: each packet comes once', async () => {
    for (const name of ['a', 'b', 'c']) writeFileSync(join(directory, `${name}_20260101_00.pcap`), segmentBytes(400)); // prettier-ignore
    pack(join(directory, 'd_20260101_00.pcap'), segmentBytes(400), '.gz');
    for (let restartAt = 1; restartAt < 24; restartAt += 4) {
      let archive = tail();
      const seen: string[] = [];
      let pieces = 0;
      const take = async (): Promise<void> => {
        for await (const { file, number, batch } of archive.poll()) {
          for (let n = 0; n < batch.packetCount; n++) seen.push(`${file} ${number + n}`);
          if (++pieces === restartAt) return;
        }
      };
      await take();
      archive = resumed(archive);
      await take();
      const expected = [0, 1, 2, 3].flatMap((file) => Array.from({ length: 400 }, (_, n) => `${file} ${n + 1}`)); // prettier-ignore
      expect(seen.sort()).toEqual(expected.sort());
    }
  });
});

describe('a backlog', () => {
  it('comes from the segment whose packets are oldest, and says what is unread', async () => {
    const bytes = segmentBytes(1000);
    for (const name of ['a', 'b', 'c']) writeFileSync(join(directory, `${name}_20260101_00.pcap`), bytes);
    // By its name two hours younger: not opened before the others are read.
    writeFileSync(join(directory, 'z_20260101_02.pcap'), segmentBytes(2, 'ns', SECONDS + 7200));
    const last = new Map<string, number>();
    let unread = 0;
    for await (const { segment, batch, unreadSeconds } of tail().poll()) {
      const packets = packetsOf(batch).map(({ timeNs }) => Number(timeNs / 1_000_000_000n));
      expect(packets[0]).toBeGreaterThanOrEqual(unread);
      expect(unreadSeconds).toBeGreaterThanOrEqual(unread);
      unread = Math.min(unreadSeconds, SECONDS + 999);
      last.set(segment.prefix, packets.at(-1) as number);
      if (segment.prefix === 'z') expect([...last.values()].slice(0, 3)).toEqual([999, 999, 999].map((n) => SECONDS + n)); // prettier-ignore
    }
    expect(last.size).toBe(4);
  });
});

describe('a packed segment', () => {
  it.each(['.gz', '.zst'] as const)('%s that was never seen is read', async (suffix) => {
    pack(join(directory, 'a_20260101_00.pcap'), segmentBytes(5), suffix);
    const archive = tail();
    expect(await poll(archive)).toMatchObject([{ packets: 5, number: 1, offset: 24 }]);
    expect(await poll(archive)).toEqual([]);
  });

  it.each(['.gz', '.zst'] as const)(
    '%s of one that was read is not read again, in this run and the next',
    async (suffix) => {
      const path = join(directory, 'a_20260101_00.pcap');
      writeFileSync(path, segmentBytes(5));
      const archive = tail();
      await poll(archive);
      pack(path, segmentBytes(5), suffix);
      const other = resumed(archive);
      for (const one of [archive, other]) {
        expect(await poll(one)).toEqual([]);
        expect(one.counters).toMatchObject({ segments: 1, segmentsGone: 0 });
        expect(one.names.nameOf(0)).toBe(path + suffix);
      }
    },
  );

  it('of one that was read in part is read from there', async () => {
    const path = join(directory, 'a_20260101_00.pcap');
    writeFileSync(path, segmentBytes(3));
    const archive = tail();
    await poll(archive);
    pack(path, segmentBytes(7), '.gz');
    expect(await poll(archive)).toMatchObject([{ packets: 4, number: 4, offset: segmentBytes(3).byteLength }]); // prettier-ignore
    expect(await poll(archive)).toEqual([]);
  });

  it('beside its plain one, while it is being packed, is read once', async () => {
    writeFileSync(join(directory, 'a_20260101_00.pcap'), segmentBytes(3));
    writeFileSync(join(directory, 'a_20260101_00.pcap.gz'), gzipSync(segmentBytes(3)));
    const archive = tail();
    expect(await poll(archive)).toMatchObject([{ packets: 3 }]);
    rmSync(join(directory, 'a_20260101_00.pcap'));
    expect(await poll(archive)).toEqual([]);
  });

  it('goes on where it was when it had to be closed for others', async () => {
    for (const name of ['a', 'b', 'c']) pack(join(directory, `${name}_20260101_00.pcap`), segmentBytes(2000), '.zst'); // prettier-ignore
    const seen = (await poll(tail({}, { readersMax: 1 }))).map(({ segment, number, packets }) => ({ prefix: segment.prefix, number, packets })); // prettier-ignore
    for (const name of ['a', 'b', 'c']) {
      let next = 1;
      for (const { number, packets } of seen.filter(({ prefix }) => prefix === name)) {
        expect(number).toBe(next);
        next += packets;
      }
      expect(next).toBe(2001);
    }
  });
});

describe('other captures', () => {
  it('are read when they do not grow any more, plain PCAP while it grows', async () => {
    const packed = join(directory, 'monday.pcap.gz');
    writeFileSync(packed, gzipSync(segmentBytes(4)));
    const plain = join(directory, 'tuesday.pcap');
    writeFileSync(plain, segmentBytes(1));
    const archive = tail();
    expect(await poll(archive)).toMatchObject([{ segment: { sensor: '.', prefix: 'tuesday.pcap' }, packets: 1 }]); // prettier-ignore
    utimesSync(packed, SECONDS, SECONDS);
    appendFileSync(plain, segmentBytes(3).subarray(segmentBytes(1).byteLength));
    expect((await poll(archive)).map(({ segment, packets }) => `${segment.prefix} ${packets}`).sort()).toEqual(['monday.pcap.gz 4', 'tuesday.pcap 2']); // prettier-ignore
  });

  it('that were asked for by name are read whole at once', async () => {
    const path = join(directory, 'monday.pcap.gz');
    writeFileSync(path, gzipSync(segmentBytes(4)));
    const archive = tail({}, { files: [{ path, sensor: 'x' }] });
    expect(await poll(archive)).toMatchObject([{ segment: { sensor: 'x' }, packets: 4 }]);
    expect(await poll(archive)).toEqual([]);
  });
});
