import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  batchOf,
  ethernet,
  ipv4Frame,
  ipv4Packet,
  type TestPacket,
} from '../archive/archive-test-support.ts';
import { IndexBuilder } from './index-builder.ts';
import { PROTOCOL_ETHER, PacketKeys } from './packet-keys.ts';
import { decodeIndex, encodeIndex, firstKey, keysWhere, type SegmentIndex } from './segment-index.ts';

const START = 1_767_225_600;

function indexOf(packets: readonly TestPacket[], pieces: readonly number[] = []): SegmentIndex {
  const { bytes, byteLength } = batchOf(packets);
  const builder = new IndexBuilder(1, 'ns');
  let at = 0;
  for (const piece of [...pieces, byteLength]) at += builder.add(bytes, at, Math.min(byteLength, at + piece));
  expect(at).toBe(byteLength);
  return builder.take();
}

const address = fc.integer({ min: 1, max: 30 }).map((n) => `10.0.0.${String(n)}`);
const frame = fc.oneof(
  fc
    .tuple(address, address, fc.uint8Array({ maxLength: 60 }), fc.option(fc.integer({ min: 1, max: 4094 })))
    .map(([a, b, payload, vlan]) =>
      ethernet(0x0800, ipv4Packet(a, b, payload), vlan === null ? {} : { vlan }),
    ),
  fc.uint8Array({ maxLength: 100 }).map((payload) => ethernet(0x88b8, payload)),
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
);
const packets: fc.Arbitrary<TestPacket[]> = fc
  .array(frame, { maxLength: 300 })
  .map((frames) => frames.map((bytes, i) => ({ seconds: START + i, frame: bytes })));

describe('an index', () => {
  it('is the same after writing and reading, and however the segment came', () => {
    fc.assert(
      fc.property(packets, fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 5 }), (list, pieces) => {
        const index = indexOf(list);
        const decoded = decodeIndex(encodeIndex(index));
        expect(JSON.stringify(decoded)).toEqual(JSON.stringify(index));
        expect(indexOf(list, pieces)).toEqual(index);
      }),
      { numRuns: 50 },
    );
  });

  it('has every key of every packet in the block where it is', () => {
    fc.assert(
      fc.property(packets, (list) => {
        const index = indexOf(list);
        const keys = new PacketKeys();
        for (const { frame: bytes } of list) {
          keys.read(1, bytes, 0, bytes.byteLength);
          if (keys.addressBytes === 0) continue;
          const wanted = keysWhere(index, 'ipv4', (all, at) =>
            Buffer.from(all.subarray(at, at + 4)).equals(
              bytes.subarray(keys.sourceOffset, keys.sourceOffset + 4),
            ),
          );
          expect(wanted).toHaveLength(1);
          expect(index.blocks.some((block) => block.keys.includes(wanted[0] as number))).toBe(true);
        }
        expect(index.blocks.reduce((sum, block) => sum + block.packets, 0)).toBe(list.length);
      }),
      { numRuns: 50 },
    );
  });

  it('covers the times of its blocks and numbers keys by kind', () => {
    const list = Array.from({ length: 3000 }, (_, i) => ({
      seconds: START + i,
      nanoseconds: i,
      frame: ipv4Frame(i < 1500 ? '10.0.0.1' : '10.0.0.2', '10.0.0.3', { vlan: 7 }),
    }));
    const index = indexOf(list);
    expect(index.blocks.length).toBeGreaterThan(2);
    let before = START - 1;
    for (const block of index.blocks) {
      expect(block.firstSeconds).toBe(before + 1);
      before = block.lastSeconds;
      expect(block.lastNanoseconds).toBe(before - START);
    }
    const [first] = keysWhere(index, 'ipv4', (all, at) => all[at + 3] === 1);
    const [last] = index.blocks.slice(-1);
    expect(index.blocks[0]?.keys).toContain(first);
    expect(last?.keys).not.toContain(first);
    expect(keysWhere(index, 'vlan', () => true)).toEqual([firstKey(index, 'vlan')]);
    expect(index.keys.vlan[0]).toBe(7);
    const protocols = Buffer.from(index.keys.protocol);
    expect([protocols.readUInt32LE(0), protocols.readUInt32LE(4)]).toEqual([PROTOCOL_ETHER | 0x0800, 17]);
  });

  it('that is not whole is none, and no bytes make it throw', () => {
    const good = encodeIndex(indexOf([{ seconds: START, frame: ipv4Frame('10.0.0.1', '10.0.0.2') }]));
    expect(decodeIndex(good)).not.toBeNull();
    for (let cut = 0; cut < good.byteLength; cut++) expect(decodeIndex(good.subarray(0, cut))).toBeNull();
    for (let at = 0; at < good.byteLength; at++) {
      const bad = Uint8Array.from(good);
      bad[at] = (bad[at] as number) ^ 0x10;
      expect(decodeIndex(bad), String(at)).toBeNull();
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => decodeIndex(bytes) === null));
  });

  it('of more keys than it holds says so, and keeps its blocks', () => {
    const list = Array.from({ length: 66_000 }, (_, i) => ({
      seconds: START,
      frame: ipv4Frame(`10.${String(i >> 16)}.${String((i >> 8) & 255)}.${String(i & 255)}`, '10.9.9.9'),
    }));
    const index = indexOf(list);
    expect(index.isOverfull).toBe(true);
    expect(index.packets).toBe(66_000);
    expect(decodeIndex(encodeIndex(index))?.isOverfull).toBe(true);
  });
});
