/** The datagram: what is written is read, what is damaged is refused, and no bytes whatever bring the decoder down. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeGroup, encodeGroup, groupShape } from './datagram-group.ts';
import { DatagramSeal, cipherNumber } from './datagram-seal.ts';
import {
  CIPHER_NONE,
  DATAGRAM_HEADER_BYTES,
  GROUP_BYTES_MAX,
  GROUP_BYTES_MIN,
  epochText,
  openChecksummed,
  readDatagramHeader,
  shardBytesOf,
  trailerBytes,
  writeDatagramChecksum,
  writeDatagramHeader,
  type DatagramHeader,
} from './datagram.ts';
import { encodeBatch } from './packet-batch.ts';
import { numberedBatch } from './tunnel-test-support.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const header: fc.Arbitrary<DatagramHeader> = fc
  .record({
    cipher: fc.integer({ min: 0, max: 2 }),
    keyId: fc.integer({ min: 0, max: 0xffff }),
    epochSeconds: u32,
    epochRandom: u32,
    number: fc.maxSafeNat(),
    group: fc.integer({ min: 1, max: 2 ** 48 - 1 }),
    following: fc.integer({ min: 0, max: 0xffff }),
    groupBytes: fc.integer({ min: GROUP_BYTES_MIN, max: GROUP_BYTES_MIN + 5000 }),
    dataShards: fc.integer({ min: 1, max: 200 }),
    parityShards: fc.integer({ min: 0, max: 55 }),
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  })
  .map(({ at, ...rest }) => ({ ...rest, shard: Math.floor(at * (rest.dataShards + rest.parityShards)) }));

function datagramOf(of: DatagramHeader): Buffer {
  const shardBytes = shardBytesOf(of.groupBytes, of.dataShards);
  const bytes = Buffer.alloc(DATAGRAM_HEADER_BYTES + shardBytes + trailerBytes(of.cipher), 0x5a);
  writeDatagramHeader(bytes, of);
  return bytes;
}

describe('a datagram header', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(header, (written) => {
        expect(readDatagramHeader(datagramOf(written))).toEqual(written);
      }),
    );
  });

  it('is refused with a word when it cannot be', () => {
    const good = datagramOf({
      cipher: 0,
      keyId: 0,
      epochSeconds: 1,
      epochRandom: 2,
      number: 3,
      group: 4,
      following: 5,
      groupBytes: 100,
      shard: 0,
      dataShards: 1,
      parityShards: 1,
    });
    const changed = (offset: number, ...values: number[]): Buffer => {
      const bytes = Buffer.from(good);
      bytes.set(values, offset);
      return bytes;
    };
    expect(readDatagramHeader(good)).toMatchObject({ group: 4 });
    expect(readDatagramHeader(changed(0, 0))).toBe('magic');
    expect(readDatagramHeader(changed(4, 2))).toBe('version');
    expect(readDatagramHeader(changed(5, 3))).toBe('header');
    expect(readDatagramHeader(changed(22, 0x20))).toBe('header');
    expect(readDatagramHeader(changed(24, 0))).toBe('header');
    expect(readDatagramHeader(changed(32, 0xff, 0xff, 0xff, 0xff))).toBe('header');
    expect(readDatagramHeader(changed(36, 2))).toBe('header');
    expect(readDatagramHeader(changed(37, 0))).toBe('header');
    expect(readDatagramHeader(changed(37, 128, 128))).toBe('header');
    expect(readDatagramHeader(changed(37, 2))).toBe('length');
    for (let length = 0; length < good.byteLength; length++)
      expect(readDatagramHeader(good.subarray(0, length))).toMatch(/^(magic|length)$/);
  });

  it('may be any bytes at all: the answer is a header that holds, or a word', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.tuple(header, fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 4 })).map(([of, changes]) => {
        const made = datagramOf(of);
        for (const [offset, value] of changes) if (offset < made.byteLength) made[offset] = value;
        return made;
      }),
    );
    fc.assert(
      fc.property(bytes, (any) => {
        const found = readDatagramHeader(any);
        if (typeof found === 'string') return;
        expect(found.groupBytes).toBeLessThanOrEqual(GROUP_BYTES_MAX);
        expect(found.shard).toBeLessThan(found.dataShards + found.parityShards);
        expect(Number.isSafeInteger(found.number)).toBe(true);
        if (found.cipher === CIPHER_NONE) openChecksummed(any);
        else {
          const seal = new DatagramSeal(new Uint8Array(32), found.cipher);
          expect(seal.open(any, found.number)).toBeNull();
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('carries the epoch as the text of HELLO', () => {
    expect(epochText(0x6955_b900, 0x0a)).toBe('6955b9000000000a');
  });
});

describe('a checksum', () => {
  it('notices any damaged byte', () => {
    fc.assert(
      fc.property(header, fc.nat(), fc.integer({ min: 1, max: 255 }), (of, at, damage) => {
        const bytes = datagramOf({ ...of, cipher: 0 });
        writeDatagramChecksum(bytes);
        expect(openChecksummed(bytes)?.byteLength).toBe(shardBytesOf(of.groupBytes, of.dataShards));
        const offset = at % bytes.byteLength;
        bytes[offset] = (bytes[offset] as number) ^ damage;
        expect(openChecksummed(bytes)).toBeNull();
      }),
    );
  });
});

describe.each(['aes-256-gcm', 'chacha20-poly1305'] as const)('a seal of %s', (name) => {
  const cipher = cipherNumber(name);
  const secret = new Uint8Array(32).fill(7);

  it('hides the shard, gives it back, and notices any damaged byte, of the header too', () => {
    fc.assert(
      fc.property(header, fc.nat(), fc.integer({ min: 1, max: 255 }), (of, at, damage) => {
        const bytes = datagramOf({ ...of, cipher });
        const plain = Buffer.from(bytes.subarray(DATAGRAM_HEADER_BYTES, -16));
        new DatagramSeal(secret, cipher).seal(bytes, of.number);
        const sealed = bytes.subarray(DATAGRAM_HEADER_BYTES, -16);
        if (plain.byteLength > 8) expect(sealed.equals(plain)).toBe(false);
        expect(Buffer.from(new DatagramSeal(secret, cipher).open(bytes, of.number) ?? [])).toEqual(plain);
        const offset = at % bytes.byteLength;
        bytes[offset] = (bytes[offset] as number) ^ damage;
        expect(new DatagramSeal(secret, cipher).open(bytes, of.number)).toBeNull();
      }),
      { numRuns: 60 },
    );
  });

  it('is worth nothing under another key, number or epoch', () => {
    const of: DatagramHeader = {
      cipher,
      keyId: 1,
      epochSeconds: 1,
      epochRandom: 2,
      number: 5,
      group: 1,
      following: 0,
      groupBytes: 100,
      shard: 0,
      dataShards: 1,
      parityShards: 0,
    };
    const bytes = datagramOf(of);
    new DatagramSeal(secret, cipher).seal(bytes, 5);
    expect(new DatagramSeal(secret, cipher).open(bytes, 5)).not.toBeNull();
    expect(new DatagramSeal(secret, cipher).open(bytes, 6)).toBeNull();
    expect(new DatagramSeal(new Uint8Array(32), cipher).open(bytes, 5)).toBeNull();
    // Another phase has another key: the same numbers, 2^24 further on.
    expect(new DatagramSeal(secret, cipher).open(bytes, 5 + 2 ** 24)).toBeNull();
    bytes[8] = 3;
    expect(new DatagramSeal(secret, cipher).open(bytes, 5)).toBeNull();
  });
});

describe('a group', () => {
  const prefix = { sequence: 3, packets: 100, bytes: 6000, oldestNs: 5n, newestNs: 2n ** 63n };

  it('is the frame, and what came before it', () => {
    const frame = encodeBatch(numberedBatch(1, 5), 4, 'none');
    const group = encodeGroup(prefix, frame, 40 + frame.byteLength);
    expect(decodeGroup(group)).toMatchObject({ prefix, frame: { sequence: 4, packetCount: 5 } });
  });

  it('of any other bytes throws the one error that costs a group', () => {
    const frame = encodeBatch(numberedBatch(1, 5), 4, 'none');
    const good = encodeGroup(prefix, frame, 40 + frame.byteLength);
    fc.assert(
      fc.property(fc.nat(good.byteLength - 1), fc.nat(255), fc.nat(good.byteLength), (at, value, length) => {
        const bytes = Buffer.from(good);
        bytes[at] = value;
        for (const any of [bytes, bytes.subarray(0, length)])
          try {
            decodeGroup(any);
          } catch (error) {
            expect(error).toMatchObject({ code: 'TUNNEL_PROTOCOL' });
          }
      }),
    );
  });

  it('has the fewest shards that hold it, and parity in the ratio, rounded up', () => {
    const ratio = { data: 10, parity: 2 };
    expect(groupShape(14_000, 1400, ratio)).toEqual({ dataShards: 10, parityShards: 2, shardBytes: 1400 });
    expect(groupShape(14_001, 1400, ratio)).toEqual({ dataShards: 11, parityShards: 3, shardBytes: 1273 });
    expect(groupShape(100, 1400, ratio)).toEqual({ dataShards: 1, parityShards: 1, shardBytes: 100 });
    expect(groupShape(100, 1400, { data: 10, parity: 0 })).toMatchObject({ parityShards: 0 });
    expect(groupShape(212 * 1400, 1400, ratio)).toMatchObject({ dataShards: 212, parityShards: 43 });
    expect(groupShape(213 * 1400, 1400, ratio)).toBeNull();
  });
});
