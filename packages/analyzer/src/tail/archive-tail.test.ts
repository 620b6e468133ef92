import { appendFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { encodeFileHeader } from '@tapline/shared/pcap/pcap-writer.ts';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packetsOf, type SeenPacket } from '../../../../tests/support/captured.ts';
import { ArchiveTail, type Segment } from './archive-tail.ts';
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
function segmentBytes(count: number, precision: 'ns' | 'us' = 'ns'): Buffer {
  const parts: Buffer[] = [Buffer.from(encodeFileHeader({ linkType: LINKTYPE_ETHERNET, precision }))];
  for (let n = 0; n < count; n++) {
    const record = Buffer.alloc(16 + 20 + n, n);
    record.writeUInt32LE(SECONDS + n, 0);
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

function tail(events: Partial<ConstructorParameters<typeof ArchiveTail>[1]> = {}): ArchiveTail {
  const none = (): void => undefined;
  return new ArchiveTail(directory, {
    segmentDamaged: none,
    segmentCut: none,
    tooManySegments: none,
    unreadable: none,
    ...events,
  });
}

function poll(archive: ArchiveTail): { segment: Segment; packets: number }[] {
  return [...archive.poll()].map(({ segment, batch }) => ({ segment, packets: batch.packetCount }));
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
  it('is followed over old, new and growing segments of all sensors, each packet once', () => {
    for (const sensor of ['a', 'b']) mkdirSync(join(directory, sensor));
    writeFileSync(join(directory, 'a/10.0.0.1_20260101_00.pcap'), segmentBytes(2));
    writeFileSync(join(directory, 'b/10.0.0.1_20260101_00.pcap'), segmentBytes(3));
    writeFileSync(join(directory, 'a/notes.txt'), 'not a segment');
    const archive = tail();
    expect(
      poll(archive).map(({ segment, packets }) => `${segment.sensor} ${segment.prefix} ${packets}`),
    ).toEqual(['a 10.0.0.1 2', 'b 10.0.0.1 3']);
    expect(poll(archive)).toEqual([]);
    appendFileSync(
      join(directory, 'a/10.0.0.1_20260101_00.pcap'),
      segmentBytes(5).subarray(segmentBytes(2).byteLength),
    );
    writeFileSync(join(directory, 'b/10.0.0.1_20260101_01.pcap'), segmentBytes(1));
    expect(poll(archive).map(({ packets }) => packets)).toEqual([3, 1]);
  });

  it('of a forwarder has its segments in the directory itself, and one that is deleted is forgotten', () => {
    const path = join(directory, 'plc1_20260101_00.pcap');
    writeFileSync(path, segmentBytes(2));
    const archive = tail();
    expect(poll(archive)).toMatchObject([{ segment: { sensor: '.', prefix: 'plc1' }, packets: 2 }]);
    rmSync(path);
    expect(poll(archive)).toEqual([]);
    expect(archive.counters).toMatchObject({ segments: 1, segmentsGone: 1 });
  });

  it('one damaged segment is told and stops no other', () => {
    writeFileSync(join(directory, 'a_20260101_00.pcap'), 'this is not a capture at all');
    writeFileSync(join(directory, 'b_20260101_00.pcap'), segmentBytes(2));
    const damaged: string[] = [];
    const archive = tail({
      segmentDamaged: (segment, reason) => damaged.push(`${segment.prefix}: ${reason}`),
    });
    expect(poll(archive).map(({ packets }) => packets)).toEqual([2]);
    expect(damaged).toHaveLength(1);
    expect(damaged[0]).toMatch(/^a: .*magic/);
  });

  it('that is not there yet is told and waited for', () => {
    rmSync(directory, { recursive: true });
    const unreadable: string[] = [];
    const archive = tail({ unreadable: (path) => unreadable.push(path) });
    expect(poll(archive)).toEqual([]);
    expect(unreadable).toEqual([directory]);
  });
});
