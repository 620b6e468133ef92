/** All lanes of a forwarder, of this life and of those before: one owner, one limit, one state file. */
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { encodeBatch } from '@tapline/shared/tunnel/packet-batch.ts';
import { systemTunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { numberedBatch } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import { LaneTable } from './lane-table.ts';
import { SEGMENT_BYTES } from './spool-lane.ts';
import { Spool, type SpoolOptions } from './spool.ts';
import { directory, removeDirectories } from './spool-testing.ts';

afterEach(removeDirectories);

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
