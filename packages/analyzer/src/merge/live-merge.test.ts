/** The live merge against a plain sort of everything. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LiveMerge } from './live-merge.ts';

const WINDOW_MS = 2000;
const SECONDS = 1_767_225_600;
const LINKTYPE = 1;

interface Packet {
  readonly timeMs: number;
  readonly id: number;
}

/** Records of 4 bytes: the packet's id. */
function records(packets: readonly Packet[]): Uint8Array {
  const bytes = Buffer.alloc(packets.length * 20);
  packets.forEach(({ timeMs, id }, index) => {
    const at = index * 20;
    bytes.writeUInt32LE(SECONDS + Math.floor(timeMs / 1000), at);
    bytes.writeUInt32LE((timeMs % 1000) * 1_000_000, at + 4);
    bytes.writeUInt32LE(4, at + 8);
    bytes.writeUInt32LE(4, at + 12);
    bytes.writeUInt32LE(id, at + 16);
  });
  return bytes;
}

interface Seen {
  readonly file: number;
  readonly number: number;
  readonly offset: number;
  readonly id: number;
}

function rig(bytesMax?: number) {
  const seen: Seen[] = [];
  const options = bytesMax === undefined ? { windowMs: WINDOW_MS } : { windowMs: WINDOW_MS, bytesMax };
  const merge = new LiveMerge(options, ({ file, bytes, from, to, number, offset }) => {
    for (let at = from, n = 0; at < to; at += 20, n++)
      seen.push({
        file,
        number: number + n,
        offset: offset + 20 * n,
        id: Buffer.from(bytes).readUInt32LE(at + 16),
      });
  });
  const next = new Map<number, number>();
  const add = (file: number, packets: readonly Packet[], nowMs: number, into = merge): void => {
    const before = next.get(file) ?? 0;
    const bytes = records(packets);
    into.add({ file, path: pathOf(file), bytes, byteLength: bytes.byteLength, linkType: LINKTYPE, number: before + 1, offset: 24 + 20 * before }, nowMs); // prettier-ignore
    next.set(file, before + packets.length);
  };
  return { merge, seen, add, options };
}

/** Not in the order of the numbers. */
function pathOf(file: number): string {
  return `/archive/${9 - file}_20260101_00.pcap`;
}

/** Times of the packets of up to five files, each in order, with equal ones among them. */
const files = fc.array(
  fc.array(fc.integer({ min: 0, max: 12_000 }), { minLength: 1, maxLength: 60 }).map((times) => times.sort((a, b) => a - b)), // prettier-ignore
  { minLength: 1, maxLength: 5 },
);

function sorted(all: readonly (readonly number[])[]): Seen[] {
  return all
    .flatMap((times, file) =>
      times.map((timeMs, index) => ({
        timeMs,
        file,
        number: index + 1,
        offset: 24 + 20 * index,
        id: file * 1000 + index,
      })),
    )
    .sort(
      (a, b) =>
        a.timeMs - b.timeMs || (pathOf(a.file) < pathOf(b.file) ? -1 : pathOf(a.file) > pathOf(b.file) ? 1 : 0) || a.number - b.number, // prettier-ignore
    )
    .map(({ file, number, offset, id }) => ({ file, number, offset, id }));
}

describe('the live merge', () => {
  it('equals a sort of everything, however late within the window and in whatever pieces packets come', () => {
    fc.assert(
      fc.property(
        files,
        fc.array(fc.integer({ min: 0, max: 1900 }), { minLength: 5, maxLength: 5 }),
        fc.integer({ min: 1, max: 900 }),
        fc.boolean(),
        (all, delays, stepMs, withRestart) => {
          const { merge, seen, add, options } = rig();
          let current = merge;
          const at = all.map(() => 0);
          // The writers' clock is the packets'; each file is written with a delay of its own.
          for (let clockMs = 0; clockMs <= 12_000 + 2000 + stepMs; clockMs += stepMs) {
            all.forEach((times, file) => {
              const from = at[file] as number;
              let to = from;
              while (to < times.length && (times[to] as number) + (delays[file] as number) <= clockMs) to++;
              const packets = times
                .slice(from, to)
                .map((timeMs, index) => ({ timeMs, id: file * 1000 + from + index }));
              if (packets.length > 0) add(file, packets, clockMs, current);
              at[file] = to;
              // Between two files, as when a poll is under way: nothing that is younger than the writers' clock less the delay is unread.
              current.release(SECONDS + Math.floor((clockMs - 1900 - stepMs) / 1000));
            });
            current.release();
            current.tick(clockMs);
            if (withRestart && clockMs > 5000 && current === merge) {
              const state = structuredClone(merge.snapshot());
              current = new LiveMerge(options, (run) => {
                for (let place = run.from, n = 0; place < run.to; place += 20, n++)
                  seen.push({
                    file: run.file,
                    number: run.number + n,
                    offset: run.offset + 20 * n,
                    id: Buffer.from(run.bytes).readUInt32LE(place + 16),
                  });
              });
              current.restore(state, clockMs);
            }
          }
          current.flush();
          expect(seen).toEqual(sorted(all));
          expect(current.counters).toMatchObject({ packetsLate: 0, packetsOut: seen.length });
          expect(current.heldBytes).toBe(0);
          expect(current.heldPackets).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('lets nothing go that is not older than what is unread, however much is held', () => {
    fc.assert(
      fc.property(files, (all) => {
        const { merge, seen, add } = rig(100);
        // File by file, far ahead of each other, as a backlog is read.
        all.forEach((times, file) => {
          add(file, times.map((timeMs, index) => ({ timeMs, id: file * 1000 + index })), 0); // prettier-ignore
          if (file < all.length - 1) merge.release(SECONDS - 1);
        });
        merge.release();
        merge.flush();
        expect(seen).toEqual(sorted(all));
      }),
    );
  });

  it('of a quiet sensor lets a packet go when it was held for the window in wall time', () => {
    const { merge, seen, add } = rig();
    add(0, [{ timeMs: 0, id: 7 }], 10_000);
    merge.release();
    merge.tick(10_000 + WINDOW_MS - 1);
    expect(seen).toEqual([]);
    merge.tick(10_000 + WINDOW_MS);
    expect(seen.map(({ id }) => id)).toEqual([7]);
  });

  it('holds no more than its limit, and says how many had to go early', () => {
    const { merge, seen, add } = rig(100);
    add(0, Array.from({ length: 50 }, (_, id) => ({ timeMs: id, id })), 0); // prettier-ignore
    merge.release();
    expect(merge.heldBytes).toBeLessThanOrEqual(100);
    expect(merge.counters.packetsForced).toBe(45);
    expect(seen).toHaveLength(45);
  });

  it('lets go of a packet that comes too late at once, and counts it', () => {
    const { merge, seen, add } = rig();
    add(0, [{ timeMs: 0, id: 1 }, { timeMs: 9000, id: 2 }], 0); // prettier-ignore
    merge.flush();
    add(1, [{ timeMs: 5000, id: 3 }, { timeMs: 9500, id: 4 }], 0); // prettier-ignore
    merge.release();
    expect(seen.map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(merge.counters.packetsLate).toBe(1);
  });

  it('recovers from a clock that was far ahead: a minute later packets are in order again', () => {
    const { merge, seen, add } = rig();
    add(0, [{ timeMs: 900_000_000, id: 1 }], 0);
    merge.flush();
    for (let s = 1; s <= 61; s++) {
      add(1, [{ timeMs: s * 1000, id: 100 + s }], s * 1000);
      merge.release();
      merge.tick(s * 1000);
    }
    const late = merge.counters.packetsLate;
    add(1, [{ timeMs: 62_500, id: 3 }], 62_000);
    add(0, [{ timeMs: 62_000, id: 2 }], 62_000);
    merge.flush();
    expect(seen.slice(-2).map(({ id }) => id)).toEqual([2, 3]);
    expect(merge.counters.packetsLate).toBe(late);
  });
});
