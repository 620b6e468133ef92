/** One lane of the spool, and the queue before it: what it gives back after a kill, what it turns into gaps, and any bytes that the disk may hold. */
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { Prng } from '@tapline/shared/base/prng.ts';
import { systemFiles, type Files } from '@tapline/shared/system/files.ts';
import { openFrame } from '@tapline/shared/tunnel/frame.ts';
import { decodeGap } from '@tapline/shared/tunnel/messages.ts';
import { FrameQueue } from './frame-queue.ts';
import { SEGMENT_BYTES } from './spool-lane.ts';
import { directory, frame, lane, removeDirectories, segments, total } from './spool-testing.ts';

afterEach(removeDirectories);

describe('a lane of the spool', () => {
  it('gives back what it was given, also to the next life', () => {
    const path = join(directory(), 'lane');
    const first = lane(path);
    for (let sequence = 1; sequence <= 20; sequence++) expect(first.append(frame(sequence))).toBe(true);
    first.close();
    const second = lane(path);
    second.load(0);
    expect([second.first, second.last, second.totals.packets]).toEqual([1, 20, 60]);
    for (let sequence = 1; sequence <= 20; sequence++) expect(second.read(sequence)).toEqual(frame(sequence));
  });

  it('cuts a torn frame off the end, wherever it was torn', () => {
    const path = join(directory(), 'lane');
    const writer = lane(path);
    for (let sequence = 1; sequence <= 4; sequence++) writer.append(frame(sequence));
    writer.close();
    const file = join(path, segments(path)[0] as string);
    const whole = readFileSync(file);
    const frameBytes = whole.byteLength / 4;
    for (let cut = whole.byteLength - 1; cut >= 0; cut -= 37) {
      writeFileSync(file, whole.subarray(0, cut));
      const reader = lane(path);
      reader.load(0);
      const left = Math.floor(cut / frameBytes);
      expect(reader.totals).toEqual({ packets: left * 3, bytes: left * frameBytes });
      if (left > 0) expect(statSync(file).size).toBe(left * frameBytes);
      else expect(segments(path)).toEqual([]);
    }
  });

  it('takes segments away as they are acknowledged, and counts within one', () => {
    const path = join(directory(), 'lane');
    const store = lane(path);
    const frames = 60;
    for (let sequence = 1; sequence <= frames; sequence++) store.append(frame(sequence, 400, 2000));
    expect(segments(path).length).toBeGreaterThan(2);
    const { bytes } = store.totals;
    expect(store.acknowledge(1).packets).toBe(400);
    expect(store.totals.packets).toBe((frames - 1) * 400);
    store.acknowledge(frames - 1);
    expect([store.first, store.last, store.totals.packets]).toEqual([frames, frames, 400]);
    expect(segments(path)).toHaveLength(1);
    store.acknowledge(frames);
    expect(store.totals).toEqual({ packets: 0, bytes: 0 });
    expect(segments(path)).toEqual([]);
    expect(bytes).toBeGreaterThan(SEGMENT_BYTES);
  });

  it('turns the oldest segments into one gap that speaks for all their packets', () => {
    const path = join(directory(), 'lane');
    const lost: number[] = [];
    const store = lane(path, { lost: ({ packets }) => lost.push(packets) });
    for (let sequence = 1; sequence <= 80; sequence++) store.append(frame(sequence, 400, 2000));
    const before = store.totals.packets;
    expect(store.dropOldest(0)).toBe(true);
    expect(store.dropOldest(0)).toBe(true);
    expect(before - store.totals.packets).toBe(total(lost));
    const { sequence, bytes, packetCount } = store.read(1);
    const gap = decodeGap(openFrame(bytes));
    expect(gap).toMatchObject({ firstSequence: 1, packets: total(lost), reason: 'spool-full' });
    expect([packetCount, sequence]).toEqual([0, total(lost) / 400]);
    expect(store.read(sequence + 1).sequence).toBe(sequence + 1);
    store.close();
    const next = lane(path);
    next.load(0);
    expect(next.totals).toEqual(store.totals);
    expect(next.read(1).bytes).toEqual(bytes);
  });

  it('never turns what was sent into a gap', () => {
    const path = join(directory(), 'lane');
    const store = lane(path);
    for (let sequence = 1; sequence <= 60; sequence++) store.append(frame(sequence, 400, 2000));
    expect(store.dropOldest(60)).toBe(false);
    expect(store.dropOldest(1)).toBe(true);
    expect(store.read(1)).toEqual(frame(1, 400, 2000));
  });

  it('reports a frame that the disk changed, and what follows in its segment, as a gap', () => {
    const path = join(directory(), 'lane');
    const lost: number[] = [];
    const store = lane(path, { lost: ({ packets }) => lost.push(packets) });
    for (let sequence = 1; sequence <= 10; sequence++) store.append(frame(sequence));
    const file = join(path, segments(path)[0] as string);
    const frameBytes = statSync(file).size / 10;
    const descriptor = openSync(file, 'r+');
    writeSync(descriptor, Buffer.from([0xaa, 0xbb, 0xcc]), 0, 3, 4 * frameBytes + 100);
    closeSync(descriptor);
    expect(store.read(4)).toEqual(frame(4));
    const damaged = store.read(5);
    expect(decodeGap(openFrame(damaged.bytes))).toMatchObject({ firstSequence: 5, packets: 18, reason: 'spool-damaged' }); // prettier-ignore
    expect(damaged.sequence).toBe(10);
    expect(lost).toEqual([18]);
    expect(store.append(frame(11))).toBe(true);
    expect(store.read(11)).toEqual(frame(11));
    store.close();
    const next = lane(path);
    next.load(0);
    expect([next.read(4).sequence, next.read(5).sequence, next.read(11).sequence]).toEqual([4, 10, 11]);
  });

  it('reports a segment that is gone between two others as a gap of unknown size', () => {
    const path = join(directory(), 'lane');
    const store = lane(path);
    for (let sequence = 1; sequence <= 60; sequence++) store.append(frame(sequence, 400, 2000));
    store.close();
    const names = segments(path).sort();
    rmSync(join(path, names[1] as string));
    const next = lane(path);
    next.load(0);
    const firstLost = Number(names[1]?.slice(0, 16));
    const gap = next.read(firstLost);
    expect(decodeGap(openFrame(gap.bytes))).toMatchObject({ firstSequence: firstLost, packets: null });
    expect(gap.sequence).toBe(Number(names[2]?.slice(0, 16)) - 1);
  });

  it('leaves no half frame behind when the disk is full, and takes frames again later', () => {
    const path = join(directory(), 'lane');
    let room = 500;
    const files: Files = {
      ...systemFiles,
      write(descriptor, bytes, offset, byteCount, position) {
        if (room <= 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        const taken = Math.min(room, byteCount);
        room -= taken;
        return systemFiles.write(descriptor, bytes, offset, taken, position);
      },
    };
    const failures: string[] = [];
    const store = lane(path, { writeFailed: ({ code }) => failures.push(code) }, files);
    expect(store.append(frame(1, 1, 100))).toBe(true);
    expect(store.append(frame(2, 3, 400))).toBe(false);
    expect(failures).toEqual(['ENOSPC']);
    room = 1_000_000;
    expect(store.append(frame(2, 3, 400))).toBe(true);
    store.close();
    const next = lane(path);
    next.load(0);
    expect([next.first, next.last, next.totals.packets]).toEqual([1, 2, 4]);
  });

  it('survives any bytes in its directory', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(3), (noise, position) => {
        const path = join(directory(), 'lane');
        const writer = lane(path);
        for (let sequence = 1; sequence <= 3; sequence++) writer.append(frame(sequence));
        writer.close();
        const file = join(path, segments(path)[0] as string);
        const whole = readFileSync(file);
        const at = Math.floor((whole.byteLength * position) / 3);
        writeFileSync(file, Buffer.concat([whole.subarray(0, at), noise, whole.subarray(at)]));
        const reader = lane(path);
        reader.load(0);
        for (let sequence = reader.first; sequence <= reader.last;)
          sequence = reader.read(sequence).sequence + 1;
        reader.close();
      }),
      { numRuns: 60 },
    );
  });
});

describe('a queue with a spool behind it', () => {
  it('equals a queue in memory under any mixture of calls', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
        const random = new Prng(seed, 'spool');
        const path = join(directory(), 'lane');
        const queue = new FrameQueue(lane(path));
        const twin = new FrameQueue();
        for (let step = 0; step < 120; step++) {
          const what = random.below(6);
          if (what <= 1) {
            const { bytes, packetCount } = frame(queue.nextSequence, 1 + random.below(4));
            queue.push(bytes, packetCount);
            twin.push(bytes, packetCount);
          } else if (what === 2) {
            expect(queue.takeNext()).toEqual(twin.takeNext());
          } else if (what === 3) {
            const sequence = twin.firstSequence - 1 + random.below(twin.sentUpTo - twin.firstSequence + 2);
            expect(queue.acknowledge(sequence)).toBe(twin.acknowledge(sequence));
          } else if (what === 4) {
            const sequence = twin.firstSequence + random.below(twin.sentUpTo - twin.firstSequence + 2);
            queue.rewindTo(sequence);
            twin.rewindTo(sequence);
          } else {
            for (let i = random.below(4); i > 0; i--) queue.spool();
            for (let i = random.below(4); i > 0; i--) queue.forget();
          }
          expect([
            queue.packets,
            queue.bytes,
            queue.firstSequence,
            queue.nextSequence,
            queue.allSent,
          ]).toEqual([twin.packets, twin.bytes, twin.firstSequence, twin.nextSequence, twin.allSent]);
        }
      }),
      { numRuns: 40 },
    );
  });
});
