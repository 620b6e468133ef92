import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { internetChecksum } from '@tapline/shared/packet/checksum.ts';
import { IpStreamCutter } from './ip-stream.ts';

function ipv4(payloadBytes: number, number: number): Buffer {
  const packet = Buffer.alloc(20 + payloadBytes, number & 255);
  packet.set([
    0x45,
    0,
    packet.byteLength >> 8,
    packet.byteLength & 255,
    number >> 8,
    number & 255,
    0,
    0,
    64,
    17,
    0,
    0,
  ]);
  packet.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
  packet.writeUInt16BE(internetChecksum(packet, 0, 20), 10);
  return packet;
}

function ipv6(payloadBytes: number, number: number): Buffer {
  const packet = Buffer.alloc(40 + payloadBytes, number & 255);
  packet.set([0x60, 0, 0, 0, payloadBytes >> 8, payloadBytes & 255, 17, 64]);
  packet.fill(0, 8, 40);
  packet[39] = number & 255;
  return packet;
}

/** Feeds the bytes in pieces and returns what came out. */
function cut(
  stream: Uint8Array,
  pieceBytes: number,
): { packets: Buffer[]; cutter: IpStreamCutter; isWhole: boolean } {
  const packets: Buffer[] = [];
  const cutter = new IpStreamCutter((bytes) => packets.push(Buffer.from(bytes)));
  for (let at = 0; at < stream.byteLength; at += pieceBytes)
    cutter.push(stream.subarray(at, at + pieceBytes));
  return { packets, isWhole: cutter.end(), cutter };
}

const packet = fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 300 }), fc.nat(65_535)).map(([isV4, bytes, number]) => (isV4 ? ipv4(bytes, number) : ipv6(bytes, number))); // prettier-ignore

describe('a stream of IP packets', () => {
  it('is cut where the packets end, however the bytes came', () => {
    fc.assert(
      fc.property(
        fc.array(packet, { maxLength: 30 }),
        fc.integer({ min: 1, max: 700 }),
        (packets, pieceBytes) => {
          const { packets: found, isWhole, cutter } = cut(Buffer.concat(packets), pieceBytes);
          expect(found).toEqual(packets);
          expect([isWhole, cutter.garbageBytes]).toEqual([true, 0]);
        },
      ),
    );
  });

  it('is found again after garbage, whose bytes are counted', () => {
    const noise = Buffer.alloc(777, 0xab);
    const packets = Array.from({ length: 20 }, (_, index) =>
      index % 3 === 0 ? ipv6(50, index) : ipv4(60, index),
    );
    const stream = Buffer.concat([
      ...packets.slice(0, 7),
      noise,
      ...packets.slice(7, 13),
      noise,
      ...packets.slice(13),
    ]);
    for (const pieceBytes of [1, 7, 100, 100_000]) {
      const { packets: found, cutter } = cut(stream, pieceBytes);
      expect(found).toEqual(packets);
      expect([cutter.garbageBytes, cutter.garbageRuns]).toEqual([2 * noise.byteLength, 2]);
    }
  });

  it('believes a header whose checksum was left to the card when the next packet follows', () => {
    const unsummed = ipv4(100, 5);
    unsummed.writeUInt16BE(0, 10);
    const packets = [ipv4(30, 1), unsummed, ipv4(30, 2), ipv4(30, 3)];
    expect(cut(Buffer.concat(packets), 64).packets).toEqual(packets);
  });

  it('survives any bytes, and accounts for all of them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(packet, fc.uint8Array({ maxLength: 200 })), { maxLength: 20 }),
        fc.integer({ min: 1, max: 999 }),
        (parts, pieceBytes) => {
          // prettier-ignore
          const stream = Buffer.concat(parts);
          const { packets, cutter, isWhole } = cut(stream, pieceBytes);
          const bytes = packets.reduce((sum, { byteLength }) => sum + byteLength, 0) + cutter.garbageBytes;
          expect(bytes).toBeLessThanOrEqual(stream.byteLength);
          if (isWhole) expect(bytes).toBe(stream.byteLength);
        },
      ),
    );
  });
});
