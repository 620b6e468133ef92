import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { encodeGap } from '@tapline/shared/tunnel/messages.ts';
import { encodeBatch } from '@tapline/shared/tunnel/packet-batch.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { NEW_YEAR, numberedBatch } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import { DownTime } from './down-time.ts';
import { LaneTable } from './lane-table.ts';
import { Spool, type SpoolOptions } from './spool.ts';

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** Seconds after new year, as every clock shows them. */
class HandClock implements TunnelClock {
  seconds = 0;
  monotonicMs(): number {
    return this.seconds * 1000;
  }
  wallMs(): number {
    return (NEW_YEAR + this.seconds) * 1000;
  }
  after(): () => void {
    return () => undefined;
  }
}

interface Life {
  readonly gap: { fromSeconds: number; toSeconds: number; reason: string } | null;
  readonly lanes: LaneTable;
  readonly capture: (second: number) => void;
  /** As the timer does every second. */
  readonly remember: () => void;
  readonly stop: () => void;
  /** The lock goes, and nothing else happens. */
  readonly die: () => void;
}

let epochs = 0;
function live(directory: string, mode: SpoolOptions['mode'], clock: HandClock): Life {
  const spool = new Spool({ directory, bytesMax: 2 ** 30, mode, onFull: 'drop-oldest' }, { files: systemFiles, clock, events: {} }); // prettier-ignore
  const found = spool.open();
  const newEpoch = (): string => String(++epochs).padStart(16, '0');
  const lanes = new LaneTable(
    { order: 'oldest-first', queueBytesMax: 1_000_000, newEpoch },
    spool,
    found.lanes,
  );
  const downTime = new DownTime(clock, { ...found, isComplete: found.state?.mode === 'always' });
  const gap = downTime.gap();
  if (gap !== null) lanes.push(0, 0, (sequence, lane) => encodeGap(gap, sequence, lane));
  let isClean = false;
  spool.keep(
    () => downTime.state(lanes, mode, isClean),
    () => [],
  );
  const seconds = (ns: string): number => Number(BigInt(ns) / 1_000_000n) / 1000 - NEW_YEAR;
  return {
    gap:
      gap === null
        ? null
        : { fromSeconds: seconds(gap.fromNs), toSeconds: seconds(gap.toNs), reason: gap.reason },
    lanes,
    capture: (second) => {
      clock.seconds = second;
      lanes.push(0, 10, (sequence, lane) => {
        const frame = encodeBatch(numberedBatch(second * 1000, 10), sequence, 'none', lane);
        downTime.offered(frame);
        return frame;
      });
    },
    remember: () => {
      spool.saveState();
    },
    stop: () => {
      lanes.abandon();
      isClean = true;
      spool.close();
    },
    die: () => {
      spool.keep(
        () => {
          throw Object.assign(new Error('dead'), { code: 'DEAD' });
        },
        () => [],
      );
      spool.close();
    },
  };
}

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-down-'));
  directories.push(directory);
  return directory;
}

describe('the time in which nobody captured', () => {
  it('is unknown to the first life', () => {
    expect(live(newDirectory(), 'always', new HandClock()).gap).toBeNull();
  });

  it('begins where a life that stopped saw its last packet, and ends where the next begins', () => {
    const directory = newDirectory();
    const clock = new HandClock();
    const first = live(directory, 'always', clock);
    first.capture(10);
    first.stop();
    clock.seconds = 60;
    expect(live(directory, 'always', clock).gap).toMatchObject({
      reason: 'forwarder-stopped',
      toSeconds: 60,
    });
  });

  it('begins, after a death, a moment before the last packet on the disk where everything is written', () => {
    const directory = newDirectory();
    const clock = new HandClock();
    const first = live(directory, 'always', clock);
    first.capture(10);
    first.remember();
    first.capture(20);
    first.die();
    clock.seconds = 60;
    const { gap } = live(directory, 'always', clock);
    expect(gap).toMatchObject({ reason: 'forwarder-down', toSeconds: 60 });
    expect(gap?.fromSeconds).toBeGreaterThan(18);
    expect(gap?.fromSeconds).toBeLessThanOrEqual(20);
  });

  it('covers, after a death, everything that only memory held', () => {
    const directory = newDirectory();
    const clock = new HandClock();
    const first = live(directory, 'overflow', clock);
    first.capture(10);
    first.remember();
    first.capture(20);
    first.remember();
    first.die();
    clock.seconds = 60;
    expect(live(directory, 'overflow', clock).gap).toMatchObject({ fromSeconds: 10, toSeconds: 60 });
  });

  it('covers the gap of the life before, when that died before it could tell anybody', () => {
    const directory = newDirectory();
    const clock = new HandClock();
    const first = live(directory, 'overflow', clock);
    first.capture(10);
    first.remember();
    first.die();
    clock.seconds = 60;
    live(directory, 'overflow', clock).die();
    clock.seconds = 70;
    // Found by the chaos suite: kills in quick succession, and a spool that writes only what memory cannot hold.
    expect(live(directory, 'overflow', clock).gap).toMatchObject({ fromSeconds: 9, toSeconds: 70 });
  });
});
