import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ethernet, ipv4Packet, ipv6Packet } from '@tapline/shared/archive/archive-test-support.ts';
import { BatchBuilder, type Batch } from '@tapline/shared/packet/batch.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { DuplicateFilter } from './duplicate-filter.ts';
import { PacketDigest, type Ignorable } from './packet-digest.ts';

const START = 1_767_225_600;

interface Seen {
  /** Microseconds since the start. */
  readonly us: number;
  readonly frame: Uint8Array;
  readonly interfaceId?: number;
}

/** One batch per packet: the hardest way. */
function kept(packets: readonly Seen[], ignore: readonly Ignorable[] = [], windowMs = 10): number[] {
  const filter = new DuplicateFilter({ windowMs, ignore });
  return packets.flatMap(({ us, frame, interfaceId = 0 }, index) => {
    const builder = new BatchBuilder(LINKTYPE_ETHERNET, interfaceId);
    const [seconds, nanoseconds] = [START + Math.floor(us / 1e6), Math.round((us % 1e6) * 1000)];
    builder.append(seconds, nanoseconds, frame.byteLength, frame, 0, frame.byteLength);
    return filter.apply(builder.take()) === null ? [] : [index];
  });
}

function tcp(
  options: { id?: number; ttl?: number; seq?: number; payload?: number; vlan?: number; mac?: string } = {},
): Buffer {
  // prettier-ignore
  const { id = 7, ttl = 64, seq = 1000, payload = 100, vlan, mac } = options;
  const segment = Buffer.alloc(20 + payload, 0x41);
  segment.writeUInt16BE(1502, 0);
  segment.writeUInt16BE(502, 2);
  segment.writeUInt32BE(seq, 4);
  segment[12] = 0x50;
  segment[13] = 0x18;
  const packet = ipv4Packet('10.0.0.1', '10.0.0.2', segment);
  packet.writeUInt16BE(id, 4);
  packet[8] = ttl;
  packet[9] = 6;
  packet.writeUInt16BE((0x1234 + ttl) & 0xffff, 10);
  return ethernet(0x0800, packet, { ...(vlan === undefined ? {} : { vlan }), ...(mac === undefined ? {} : { sourceMac: mac }) }); // prettier-ignore
}

const tcp6 = (payload = 100): Buffer => {
  const segment = Buffer.alloc(20 + payload, 0x42);
  segment[12] = 0x50;
  const packet = ipv6Packet('fe80'.padEnd(32, '1'), 'fe80'.padEnd(32, '2'), segment);
  packet[6] = 6;
  return ethernet(0x86dd, packet);
};

describe('a copy', () => {
  it('of a packet mirrored both ways is left out, once', () => {
    expect(
      kept([
        { us: 0, frame: tcp() },
        { us: 4, frame: tcp() },
      ]),
    ).toEqual([0]);
    expect(
      kept([
        { us: 0, frame: tcp6() },
        { us: 4, frame: tcp6() },
      ]),
    ).toEqual([0]);
    expect(kept([{ us: 0, frame: tcp(), interfaceId: 0 }, { us: 900, frame: tcp(), interfaceId: 1 }])).toEqual([0]); // prettier-ignore
  });

  it('is none outside of the window', () => {
    expect(
      kept([
        { us: 0, frame: tcp() },
        { us: 9999, frame: tcp() },
      ]),
    ).toEqual([0]);
    expect(
      kept([
        { us: 0, frame: tcp() },
        { us: 10_001, frame: tcp() },
      ]),
    ).toEqual([0, 1]);
  });

  it('may differ in what is ignored, and in nothing else', () => {
    const pair = (a: Buffer, b: Buffer, ignore: Ignorable[]) => kept([{ us: 0, frame: a }, { us: 4, frame: b }], ignore).length; // prettier-ignore
    expect(pair(tcp(), tcp({ vlan: 7 }), [])).toBe(2);
    expect(pair(tcp(), tcp({ vlan: 7 }), ['vlan'])).toBe(1);
    expect(pair(tcp(), tcp({ ttl: 63, mac: '02:00:00:00:00:09' }), ['vlan', 'checksum'])).toBe(2);
    expect(pair(tcp(), tcp({ ttl: 63, mac: '02:00:00:00:00:09' }), ['ttl'])).toBe(1);
    const offloaded = tcp();
    offloaded.writeUInt16BE(0, 14 + 20 + 16);
    expect(pair(tcp(), offloaded, ['ttl', 'vlan'])).toBe(2 - Number(tcp().readUInt16BE(50) === 0));
    offloaded.writeUInt16BE(9, 14 + 20 + 16);
    expect(pair(tcp(), offloaded, ['ttl', 'vlan'])).toBe(2);
    expect(pair(tcp(), offloaded, ['checksum'])).toBe(1);
    // Padding is no part of a packet.
    expect(pair(tcp(), Buffer.concat([tcp(), Buffer.alloc(6)]), [])).toBe(1);
    const goose = ethernet(0x88b8, Buffer.alloc(60, 1));
    expect(pair(goose, ethernet(0x88b8, Buffer.alloc(60, 1), { vlan: 9 }), ['vlan'])).toBe(1);
  });
});

describe('what was sent again', () => {
  it.each([
    ['with another identification, at once', 100, tcp(), tcp({ id: 8 })],
    ['without one, after a round trip', 120, tcp({ id: 0 }), tcp({ id: 0 })],
    ['over IPv6, by a tail loss probe', 9900, tcp6(), tcp6()],
    ['over IPv6, by a timer', 200_000, tcp6(), tcp6()],
  ])('%s, is kept', (_, us, first, second) => {
    expect(kept([{ us: 0, frame: first }, { us, frame: second }], ['ttl', 'checksum', 'vlan'], 50)).toEqual([0, 1]); // prettier-ignore
  });

  it('and mirrored both ways, too, is kept as often as it was sent', () => {
    const frame = tcp({ id: 0 });
    const times = [0, 3, 200, 203, 400, 404];
    expect(kept(times.map((us) => ({ us, frame })))).toEqual([0, 2, 4]);
    // Three equal acknowledgements back to back, the copies behind each or behind all.
    const ack = tcp6(0);
    expect(kept([0, 1, 2, 3, 4, 5].map((us) => ({ us, frame: ack })))).toHaveLength(3);
    // Two mirrors: each frame comes through both interfaces.
    const both = [0, 2, 4].flatMap((us) => [{ us, frame: ack, interfaceId: 0 }, { us: us + 1, frame: ack, interfaceId: 1 }]); // prettier-ignore
    expect(kept(both).length).toBeGreaterThanOrEqual(2);
  });
});

describe('any frames', () => {
  const frame = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    fc.record({ id: fc.integer({ min: 0, max: 3 }), seq: fc.nat(3), payload: fc.nat(40) }).map(tcp),
  );
  const ignore = fc.subarray<Ignorable>(['ttl', 'checksum', 'vlan']);

  it('that differ in a byte that counts are kept apart', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (bytes, at, flip) => {
          const other = Uint8Array.from(bytes);
          other[at % other.length] = (other[at % other.length] as number) ^ flip;
          const digest = new PacketDigest([]);
          digest.read(147, bytes, 0, bytes.length, bytes.length);
          const before = [digest.low, digest.high];
          digest.read(147, other, 0, other.length, other.length);
          expect([digest.low, digest.high]).not.toEqual(before);
        },
      ),
    );
  });

  it('give what the obvious filter gives', () => {
    const stream = fc.array(fc.record({ us: fc.nat(200), frame, interfaceId: fc.nat(1) }), { maxLength: 60 });
    fc.assert(
      fc.property(stream, (packets) => {
        let us = 0;
        const seen = packets.map((packet) => ({ ...packet, us: (us += packet.us) }));
        // Nothing ignored, and frames of other link types than IP: whole frames are compared.
        expect(kept(seen.map((p) => ({ ...p, frame: ethernet(0x88b8, p.frame) })), [], 1)).toEqual(obvious(seen, 1000)); // prettier-ignore
      }),
    );
  });

  it('do not throw, and the books balance', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 50 }),
        ignore,
        fc.constantFrom(1, 101, 113, 147),
        (frames, ignored, linkType) => {
          const filter = new DuplicateFilter({ windowMs: 10, ignore: ignored });
          const builder = new BatchBuilder(linkType);
          for (const one of [...frames, ...frames]) builder.append(START, 0, one.length, one, 0, one.length);
          const batch: Batch = builder.take();
          const left = filter.apply(batch);
          const { seenPackets, duplicatePackets } = filter.counters;
          expect(seenPackets).toBe(frames.length * 2);
          expect(left?.packetCount ?? 0).toBe(seenPackets - duplicatePackets);
          expect(duplicatePackets).toBeGreaterThanOrEqual(frames.length > 0 ? 1 : 0);
        },
      ),
    );
  });

  it('more than the table holds are kept, and what was forgotten is counted', () => {
    const filter = new DuplicateFilter({ windowMs: 10_000, ignore: [] });
    for (let round = 0; round < 400; round++) {
      const builder = new BatchBuilder(147);
      for (let i = 0; i < 1000; i++) {
        const bytes = Buffer.alloc(8);
        bytes.writeUInt32LE(round * 1000 + i);
        builder.append(START, 0, 8, bytes, 0, 8);
      }
      filter.apply(builder.take());
    }
    expect(filter.counters.duplicatePackets).toBe(0);
    expect(filter.counters.forgottenPackets).toBeGreaterThan(400_000 - 2 ** 17 - 1);
  });
});

/** By text, with a list for each. */
function obvious(packets: readonly Seen[], windowUs: number): number[] {
  const entries = new Map<string, { us: number; interfaceId: number; copies: Set<number> }>();
  return packets.flatMap(({ us, frame, interfaceId = 0 }, index) => {
    const key = Buffer.from(frame).toString('hex');
    const entry = entries.get(key);
    if (entry !== undefined && us - entry.us <= windowUs && !entry.copies.has(interfaceId)) {
      if (entry.interfaceId !== interfaceId || us - entry.us <= 50) {
        entry.copies.add(interfaceId);
        return [];
      }
    }
    entries.set(key, { us, interfaceId, copies: new Set() });
    return [index];
  });
}
