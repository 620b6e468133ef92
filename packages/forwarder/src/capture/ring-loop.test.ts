/** The ring as the kernel would write it, by hand: what needs no root, and what no real interface does on request. */
import { describe, expect, it } from 'vitest';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '@tapline/shared/packet/link-type.ts';
import { packetsOf } from '../../../../tests/support/captured.ts';
import { RING_BLOCK_BYTES, TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID } from './ring-format.ts';
import { RingReader } from './ring-loop.ts';

const SNAP_BYTES = 262_144;
const FRAME = Buffer.from('0102030405060a0b0c0d0e0f0800450011223344', 'hex');

interface RingPacket {
  readonly frame: Buffer;
  readonly originalBytes?: number;
  readonly status?: number;
  readonly vlanTci?: number;
  readonly tpid?: number;
}

/** Writes a block by the tables of `ring-format.ts` and hands it over, as the kernel does. */
function fillBlock(ring: ArrayBuffer, block: number, packets: readonly RingPacket[]): void {
  const view = new DataView(ring, block * RING_BLOCK_BYTES, RING_BLOCK_BYTES);
  let at = 48;
  view.setUint32(12, packets.length, true);
  view.setUint32(16, at, true);
  for (const [index, packet] of packets.entries()) {
    const { frame, originalBytes = frame.byteLength, status = 0, vlanTci = 0, tpid = 0 } = packet;
    const next = (82 + frame.byteLength + 15) & ~15;
    view.setUint32(at, index === packets.length - 1 ? 0 : next, true);
    view.setUint32(at + 4, 4_000_000_000, true);
    view.setUint32(at + 8, 999_999_999 - index, true);
    view.setUint32(at + 12, frame.byteLength, true);
    view.setUint32(at + 16, originalBytes, true);
    view.setUint32(at + 20, status | 1, true);
    view.setUint16(at + 24, 82, true);
    view.setUint16(at + 26, 96, true);
    view.setUint32(at + 32, vlanTci, true);
    view.setUint16(at + 36, tpid, true);
    new Uint8Array(ring, block * RING_BLOCK_BYTES + at + 82).set(frame);
    at += next;
  }
  view.setUint32(20, at, true);
  view.setUint32(8, 1, true);
}

function readBlock(packets: readonly RingPacket[], linkType = LINKTYPE_ETHERNET, snapBytes = SNAP_BYTES) {
  const ring = new ArrayBuffer(RING_BLOCK_BYTES);
  fillBlock(ring, 0, packets);
  const reader = new RingReader(ring, linkType, snapBytes);
  const bytes = new Uint8Array(RING_BLOCK_BYTES);
  const packetCount = reader.readyPackets();
  const byteLength = reader.copyBlock(bytes, 0);
  return { packets: packetsOf({ bytes, byteLength, packetCount, linkType, interfaceId: 0 }), reader };
}

const VLAN = TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID;

describe('the ring', () => {
  it('is read block by block, in a circle, and given back', () => {
    const ring = new ArrayBuffer(3 * RING_BLOCK_BYTES);
    const reader = new RingReader(ring, LINKTYPE_ETHERNET, SNAP_BYTES);
    const batch = new Uint8Array(RING_BLOCK_BYTES);
    for (let turn = 0; turn < 8; turn++) {
      expect(reader.readyBytes()).toBe(0);
      const frames = Array.from({ length: turn + 1 }, (_, index) => Buffer.alloc(60 + turn, index));
      fillBlock(ring, turn % 3, frames.map((frame) => ({ frame }))); // prettier-ignore
      expect(reader.readyPackets()).toBe(turn + 1);
      const byteLength = reader.copyBlock(batch, 0);
      expect(byteLength).toBe((turn + 1) * (76 + turn));
      const whole = { bytes: batch, byteLength, packetCount: turn + 1, linkType: 1, interfaceId: 0 };
      expect(packetsOf(whole).map(({ frame }) => frame)).toEqual(frames);
    }
    expect(reader.packets).toBe(36);
  });

  it('never needs more room in a batch than the block itself is long', () => {
    const ring = new ArrayBuffer(RING_BLOCK_BYTES);
    const tiny = { frame: Buffer.alloc(14), status: VLAN, vlanTci: 1, tpid: 0x8100 };
    fillBlock(
      ring,
      0,
      Array.from({ length: 1000 }, () => tiny),
    );
    const reader = new RingReader(ring, LINKTYPE_ETHERNET, SNAP_BYTES);
    const readyBytes = reader.readyBytes();
    expect(reader.copyBlock(new Uint8Array(RING_BLOCK_BYTES), 0)).toBeLessThan(readyBytes);
  });

  it('keeps times until 2106 and original lengths beyond what was captured', () => {
    const { packets, reader } = readBlock([{ frame: FRAME, originalBytes: 70_000 }, { frame: FRAME }]);
    expect(packets.map(({ timeNs }) => timeNs)).toEqual([
      4_000_000_000_999_999_999n,
      4_000_000_000_999_999_998n,
    ]);
    expect(packets.map(({ originalBytes }) => originalBytes)).toEqual([70_000, 20]);
    expect(reader.truncatedPackets).toBe(1);
  });

  it.each([
    ['802.1Q with priority', { status: VLAN, vlanTci: 0xe00a, tpid: 0x8100 }, '8100e00a'],
    ['802.1ad', { status: VLAN, vlanTci: 100, tpid: 0x88a8 }, '88a80064'],
    ['VLAN 0, which only the status bit tells', { status: VLAN, vlanTci: 0, tpid: 0x8100 }, '81000000'],
    ['an old kernel that does not say which', { status: TP_STATUS_VLAN_VALID, vlanTci: 5 }, '81000005'],
  ])('puts the tag back: %s', (_, tag, text) => {
    const { packets } = readBlock([{ frame: FRAME, ...tag }]);
    const frame = FRAME.toString('hex');
    expect(packets[0]?.frame.toString('hex')).toBe(frame.slice(0, 24) + text + frame.slice(24));
    expect(packets[0]?.originalBytes).toBe(FRAME.byteLength + 4);
  });

  it('leaves frames alone that have no place for a tag', () => {
    const tag = { status: VLAN, vlanTci: 5, tpid: 0x8100 };
    const short = FRAME.subarray(0, 11);
    expect(readBlock([{ frame: short, ...tag }]).packets[0]?.frame).toEqual(short);
    expect(readBlock([{ frame: FRAME, ...tag }], LINKTYPE_RAW).packets[0]?.frame).toEqual(FRAME);
  });

  it.each([12, 13, 14, 15, 16, 17, 20])(
    'cuts a tagged frame at %d bytes, the tag among them',
    (snapBytes) => {
      const tag = { status: VLAN, vlanTci: 5, tpid: 0x8100 };
      const captured = FRAME.subarray(0, snapBytes);
      const { packets } = readBlock(
        [{ frame: captured, originalBytes: 20, ...tag }, { frame: FRAME }],
        1,
        snapBytes,
      );
      const whole = `${FRAME.toString('hex').slice(0, 24)}81000005${FRAME.toString('hex').slice(24)}`;
      expect(packets[0]?.frame.toString('hex')).toBe(whole.slice(0, snapBytes * 2));
      expect(packets[0]?.originalBytes).toBe(24);
    },
  );
});
