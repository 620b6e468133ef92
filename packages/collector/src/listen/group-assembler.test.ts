/** The assembler alone: any order, any losses, bounded memory, and nobody given up too soon on a slow link. */
import { encodeParity } from '@tapline/shared/tunnel/reed-solomon.ts';
import type { DatagramHeader } from '@tapline/shared/tunnel/datagram.ts';
import { seededRandom } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GroupAssembler, newAssemblerCounters } from './group-assembler.ts';
import { ReplayWindow } from './replay-window.ts';

interface Sent {
  readonly header: DatagramHeader;
  readonly shard: Uint8Array;
}

const BYTES = 80;

/** Groups 1 to `count` of k + m shards, `interleave` at a time in turn, each holding its number in every byte. */
function send(count: number, k: number, m: number, interleave: number): Sent[] {
  const sent: Sent[] = [];
  for (let first = 1; first <= count; first += interleave) {
    const groups = Array.from({ length: Math.min(interleave, count - first + 1) }, (_, i) => first + i);
    const size = groups.length * (k + m);
    for (let shard = 0; shard < k + m; shard++)
      for (const group of groups) {
        const shardBytes = Math.ceil(BYTES / k);
        const data = new Uint8Array(k * shardBytes).fill(group, 0, BYTES);
        const all = Buffer.concat([data, encodeParity(data, k, m, shardBytes)]);
        const header = {
          cipher: 0,
          keyId: 0,
          epochSeconds: 1,
          epochRandom: 1,
          number: sent.length,
          group,
          following: size - 1 - (sent.length - ((first - 1) / interleave) * interleave * (k + m)),
          groupBytes: BYTES,
          shard,
          dataShards: k,
          parityShards: m,
        };
        sent.push({ header, shard: all.subarray(shard * shardBytes, (shard + 1) * shardBytes) });
      }
  }
  return sent;
}

function assembler(limits: { reorderMs?: number; bytesMax?: number; budgetBytes?: number } = {}) {
  const counters = newAssemblerCounters();
  const budget = { bytesMax: limits.budgetBytes ?? Infinity, heldBytes: 0 };
  const taken: number[] = [];
  const sink = {
    isOpen: true,
    isReady: () => sink.isOpen,
    take: (group: Uint8Array) => {
      expect(new Set(group).size).toBe(1);
      expect(group.byteLength).toBe(BYTES);
      taken.push(group[0] as number);
    },
    peek: () => undefined,
  };
  const { reorderMs = 100, bytesMax = Infinity } = limits;
  return {
    counters,
    budget,
    taken,
    sink,
    groups: new GroupAssembler({ reorderMs, bytesMax, budget }, counters, sink),
  };
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

describe('the group assembler', () => {
  it('hands on every group once and in order, whatever the order of the datagrams within the window', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 0, max: 3 }),
        (seed, k, m) => {
          const random = seededRandom(seed);
          const { groups, taken, budget } = assembler();
          const mixed = send(40, k, m, 4)
            .map((datagram, i) => ({ datagram, at: i + random() * 50 }))
            .sort((a, b) => a.at - b.at);
          for (const { datagram } of mixed) groups.take(datagram.header, datagram.shard, 0);
          groups.settle();
          expect(taken).toEqual(upTo(40));
          expect(budget.heldBytes).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('restores what parity can, gives up the rest, and never hands on out of order', () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0, max: 0.6, noNaN: true }), (seed, loss) => {
        const random = seededRandom(seed);
        const { groups, taken, counters, budget } = assembler();
        const arrived = new Map<number, number>();
        let nowMs = 0;
        for (const { header, shard } of send(60, 5, 2, 3)) {
          nowMs += 10;
          if (random() < loss) continue;
          arrived.set(header.group, (arrived.get(header.group) ?? 0) + 1);
          groups.take(header, shard, nowMs);
        }
        groups.settle();
        const whole = upTo(60).filter((group) => (arrived.get(group) ?? 0) >= 5);
        expect(taken).toEqual(whole);
        expect(counters.groups).toBe(whole.length);
        expect(budget.heldBytes).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('gives nobody up while a slow link is still sending its block, and everybody soon after', () => {
    const { groups, taken, counters } = assembler({ reorderMs: 100 });
    const block = send(3, 4, 0, 3);
    const next = send(6, 4, 0, 3).slice(12);
    let nowMs = 0;
    for (const { header, shard } of block) {
      // A minute between two datagrams: hours beyond the window.
      nowMs += 60_000;
      if (!(header.group === 2 && header.shard === 1)) groups.take(header, shard, nowMs);
      groups.advance(nowMs + 59_000);
    }
    // Group 1 was whole; group 3 is whole and waits for group 2, whose block is over since a second.
    expect(taken).toEqual([1, 3]);
    expect(counters.lostGroups).toBe(1);
    const late = block.find(({ header }) => header.group === 2 && header.shard === 1) as Sent;
    groups.take(late.header, late.shard, nowMs + 60_000);
    expect(counters.lateDatagrams).toBe(1);
    for (const { header, shard } of next) groups.take(header, shard, nowMs + 60_000);
    expect(taken).toEqual([1, 3, 4, 5, 6]);
  });

  it('waits for what is late within the window', () => {
    const { groups, taken } = assembler({ reorderMs: 100 });
    const [first, ...others] = send(8, 1, 0, 4);
    for (const { header, shard } of others) groups.take(header, shard, 0);
    groups.advance(99);
    expect(taken).toEqual([]);
    groups.take((first as Sent).header, (first as Sent).shard, 99);
    expect(taken).toEqual(upTo(8));
  });

  it('keeps to its bytes, and to the budget it shares', () => {
    for (const limits of [{ bytesMax: 5000 }, { budgetBytes: 5000 }]) {
      const { groups, taken, counters, budget } = assembler(limits);
      for (const { header, shard } of send(200, 4, 0, 4)) {
        if (header.group % 4 === 1 && header.shard === 0) continue;
        groups.take(header, shard, 0);
        expect(budget.heldBytes).toBeLessThanOrEqual(5000);
      }
      groups.settle();
      expect(taken).toEqual(upTo(200).filter((group) => group % 4 !== 1));
      expect(counters.lostGroups).toBe(50);
    }
  });

  it('drops whole groups, counted, when nobody takes them and there is no room', () => {
    const { groups, taken, sink, counters } = assembler({ bytesMax: 5000 });
    sink.isOpen = false;
    for (const { header, shard } of send(200, 4, 0, 4)) groups.take(header, shard, 0);
    sink.isOpen = true;
    groups.settle();
    expect(taken).toEqual(upTo(200).slice(-taken.length));
    expect(taken.length + counters.overloadedGroups).toBe(200);
  });

  it('starts in the middle of an epoch without counting as lost what it never saw', () => {
    const { groups, taken, counters } = assembler();
    for (const { header, shard } of send(4, 2, 0, 4))
      groups.take(
        { ...header, group: header.group + 1_000_000, number: header.number + 5_000_000 },
        shard,
        0,
      );
    groups.settle();
    expect(taken).toEqual(upTo(4));
    expect(counters.lostGroups).toBe(0);
  });

  it('jumps over any distance at once', () => {
    const { groups, taken } = assembler();
    const [first, second] = send(2, 1, 0, 1) as [Sent, Sent];
    groups.take(first.header, first.shard, 0);
    groups.take({ ...second.header, group: 2 ** 48 - 1, number: 2 ** 50 }, second.shard, 0);
    groups.settle();
    expect(taken).toEqual([1, 2]);
  });

  it('refuses a shard that contradicts its group', () => {
    const { groups, taken, counters } = assembler();
    const sent = send(1, 3, 1, 1);
    const [first] = sent as [Sent];
    groups.take(first.header, first.shard, 0);
    groups.take({ ...first.header, shard: 1, groupBytes: 81 }, new Uint8Array(27), 0);
    for (const { header, shard } of sent) groups.take(header, shard, 0);
    expect(taken).toEqual([1]);
    expect(counters.contradictingDatagrams).toBe(1);
  });
});

describe('the replay window', () => {
  it('agrees with a set of all numbers, within its width', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -70_000, max: 70_000 }), { maxLength: 200 }), (steps) => {
        const window = new ReplayWindow();
        const seen = new Set<number>();
        let near = 0;
        for (const step of steps) {
          near = Math.max(0, near + Math.floor(step / 3));
          for (const number of [near, near + 1, near]) {
            const isNew = !seen.has(number) && number > window.highest - 65_536;
            expect(window.isNew(number)).toBe(isNew);
            if (isNew) window.add(number);
            seen.add(number);
          }
        }
      }),
    );
  });
});
