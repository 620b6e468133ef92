import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { Prng } from '@tapline/shared/base/prng.ts';
import { systemFiles, type Files } from '@tapline/shared/system/files.ts';
import { openFrame } from '@tapline/shared/tunnel/frame.ts';
import { decodeGap } from '@tapline/shared/tunnel/messages.ts';
import { encodeBatch } from '@tapline/shared/tunnel/packet-batch.ts';
import { systemTunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { numberedBatch } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import { FrameQueue, type QueuedFrame } from './frame-queue.ts';
import { LaneTable } from './lane-table.ts';
import { SEGMENT_BYTES, SpoolLane, type SpoolLaneOwner } from './spool-lane.ts';
import { Spool, type SpoolOptions } from './spool.ts';

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'tapline-spool-'));
  directories.push(path);
  return path;
}

/** Packets numbered from the sequence on: what is read back can be told apart. */
function frame(sequence: number, packets = 3, bytes = 200): QueuedFrame {
  return {
    sequence,
    bytes: encodeBatch(numberedBatch(sequence * 10, packets, bytes), sequence, 'none', 7),
    packetCount: packets,
  };
}

function lane(path: string, owner: Partial<SpoolLaneOwner> = {}, files: Files = systemFiles): SpoolLane {
  return new SpoolLane(path, 7, files, {
    makeRoom: () => true,
    changed: () => undefined,
    writeFailed: () => undefined,
    written: () => undefined,
    lost: () => undefined,
    ...owner,
  });
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

function segments(path: string): string[] {
  return readdirSync(path).filter((name) => name.endsWith('.spool'));
}

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

describe('the spool', () => {
  const options = (path: string, more: Partial<SpoolOptions> = {}): SpoolOptions => ({
    directory: path,
    bytesMax: 1024 * 1024 * 1024,
    mode: 'always',
    onFull: 'drop-oldest',
    ...more,
  });
  const open = (path: string, more: Partial<SpoolOptions> = {}, events = {}) => {
    const spool = new Spool(options(path, more), { files: systemFiles, clock: systemTunnelClock, events });
    return { spool, found: spool.open() };
  };
  let epochs = 0;
  const table = ({ spool, found }: ReturnType<typeof open>, queueBytesMax = 1_000_000): LaneTable =>
    new LaneTable(
      { order: 'oldest-first', queueBytesMax, newEpoch: () => String(++epochs).padStart(16, '0') },
      spool,
      found.lanes,
    );
  const pushNumbers = (lanes: LaneTable, first: number, count: number, bytes = 1000): void => {
    lanes.push(0, count, (sequence, id) =>
      encodeBatch(numberedBatch(first, count, bytes), sequence, 'none', id),
    );
  };

  it('is one forwarder’s alone', () => {
    const path = directory();
    const { spool } = open(path);
    expect(() => open(path)).toThrow('another forwarder uses it');
    spool.close();
    open(path).spool.close();
  });

  it('hands lanes of many lives out, the oldest first, and never uses one again', () => {
    const path = directory();
    for (let life = 0; life < 5; life++) {
      const opened = open(path);
      const lanes = table(opened);
      expect(lanes.packets).toBe(life * 3);
      pushNumbers(lanes, life * 10, 3);
      // No close: as after a kill. The lock is given back by hand, the kernel would have.
      opened.spool.close();
    }
    const opened = open(path);
    const lanes = table(opened);
    const ids = lanes.lanes.map(({ id }) => id);
    expect(ids).toEqual([0, 1, 2, 3, 4]);
    for (const lane of lanes.lanes) lane.isOpen = true;
    const first = lanes.next();
    expect(first?.id).toBe(0);
    expect(lanes.current(0).id).toBe(5);
    opened.spool.close();
  });

  it('stays within its bytes and loses the oldest of the least important class', () => {
    const path = directory();
    const opened = open(path, { bytesMax: 3 * SEGMENT_BYTES });
    const lanes = table(opened, 4_000_000);
    opened.spool.keep(
      () => ({ version: 1, clean: false, mode: 'always', safeNs: '0', lanes: lanes.laneStates() }),
      () => lanes.dropOrder(),
    );
    const bytes = 900_000;
    let offered = 0;
    for (let i = 0; i < 120; i++) {
      const priority = i % 2;
      lanes.push(priority, 1000, (sequence, id) =>
        encodeBatch(numberedBatch(i * 1000, 1000, bytes / 1000), sequence, 'none', id),
      );
      offered += 1000;
      expect(opened.spool.bytes).toBeLessThanOrEqual(3 * SEGMENT_BYTES);
    }
    expect(opened.spool.lost['spool-full'] + lanes.packets).toBe(offered);
    const important = lanes.lanes.find(({ priority }) => priority === 0);
    const others = lanes.lanes.find(({ priority }) => priority === 1);
    expect(important?.queue.packets).toBeGreaterThan((others?.queue.packets ?? 0) + 1000);
    opened.spool.close();
  });

  it('with on_full stop keeps the oldest, and memory fills', () => {
    const path = directory();
    const opened = open(path, { bytesMax: SEGMENT_BYTES, onFull: 'stop' });
    const lanes = table(opened, 4_000_000);
    for (let i = 0; i < 30; i++)
      lanes.push(0, 1000, (sequence, id) =>
        encodeBatch(numberedBatch(i * 1000, 1000, 900), sequence, 'none', id),
      );
    expect(opened.spool.bytes).toBeLessThanOrEqual(SEGMENT_BYTES);
    expect(lanes.unspooledBytes).toBeGreaterThan(4_000_000);
    expect(lanes.packets).toBe(30_000);
    opened.spool.close();
  });

  it('in overflow mode touches the disk only for what memory cannot hold, and at the end', () => {
    const path = directory();
    const opened = open(path, { mode: 'overflow' });
    const lanes = table(opened, 5_000_000);
    for (let i = 0; i < 4; i++) pushNumbers(lanes, i * 1000, 1000);
    expect(opened.spool.bytes).toBe(0);
    for (let i = 4; i < 20; i++) pushNumbers(lanes, i * 1000, 1000);
    expect(opened.spool.bytes).toBeGreaterThan(10_000_000);
    expect(lanes.unspooledBytes).toBeLessThanOrEqual(5_000_000);
    expect(lanes.abandon()).toBe(0);
    opened.spool.close();
    const next = open(path);
    expect(table(next).packets).toBe(20_000);
    next.spool.close();
  });

  it('goes on with a state file that a power failure has halved', () => {
    const path = directory();
    const opened = open(path);
    const lanes = table(opened);
    pushNumbers(lanes, 1, 5);
    opened.spool.keep(
      () => ({ version: 1, clean: false, mode: 'always', safeNs: '7', lanes: lanes.laneStates() }),
      () => [],
    );
    opened.spool.close();
    truncateSync(join(path, '.tapline-spool.json'), 20);
    const next = open(path);
    expect(next.found.state).toBeNull();
    expect(table(next).packets).toBe(5);
    next.spool.close();
  });
});
