import { describe, expect, it } from 'vitest';
import { OperatingError } from '../base/errors.ts';
import { PACKET_BYTES_MAX } from '../packet/record.ts';
import { batchOf, contentOf, packetsOf } from '../../../../tests/support/captured.ts';
import { BatchFilter } from './batch-filter.ts';

const ARP = Buffer.from('ffffffffffff0011223344550806' + '00'.repeat(46), 'hex');
const IP = Buffer.from('ffffffffffff001122334455080045' + '01'.repeat(80), 'hex');

function contentAfter(filter: BatchFilter, frames: Buffer[]): string[] | null {
  const kept = filter.apply(batchOf(frames));
  return kept === null ? null : contentOf(packetsOf(kept));
}

describe('a batch filter', () => {
  it('hands on the very batch when there is nothing to do', () => {
    const batch = batchOf([ARP, IP]);
    expect(new BatchFilter({ expression: '', snapBytes: PACKET_BYTES_MAX }).apply(batch)).toBe(batch);
  });

  it('keeps what matches, in order, wherever it stands, and counts the rest', () => {
    const shapes = [[IP], [ARP], [IP, ARP], [ARP, IP], [IP, IP, ARP, IP], [ARP, IP, ARP, ARP, IP, IP, ARP]];
    for (const frames of shapes) {
      const filter = new BatchFilter({ expression: 'ip', snapBytes: PACKET_BYTES_MAX });
      const wanted = frames.filter((frame) => frame === IP);
      expect(contentAfter(filter, frames)).toEqual(
        wanted.length === 0 ? null : contentOf(packetsOf(batchOf(wanted))),
      );
      expect(filter.filteredPackets).toBe(frames.length - wanted.length);
    }
  });

  it('cuts frames to the snapshot length and keeps their original length', () => {
    const filter = new BatchFilter({ expression: '', snapBytes: 70 });
    const kept = filter.apply(batchOf([ARP, IP, ARP, IP]));
    expect(
      kept && packetsOf(kept).map(({ frame, originalBytes }) => [frame.byteLength, originalBytes]),
    ).toEqual([
      [60, 60],
      [70, 95],
      [60, 60],
      [70, 95],
    ]);
    expect(filter.filteredPackets).toBe(0);
  });

  it('leaves the bytes it was lent as they were', () => {
    const batch = batchOf([ARP, IP, ARP]);
    const before = batch.bytes.slice(0, batch.byteLength);
    new BatchFilter({ expression: 'ip', snapBytes: 64 }).apply(batch);
    expect(batch.bytes.slice(0, batch.byteLength)).toEqual(before);
  });

  it('compiles for each link type that turns up', () => {
    const filter = new BatchFilter({ expression: 'ip', snapBytes: PACKET_BYTES_MAX });
    expect(filter.apply(batchOf([IP.subarray(14)], 101))?.packetCount).toBe(1);
    expect(filter.apply(batchOf([IP], 1))?.packetCount).toBe(1);
  });

  it('refuses at the start what no link type can mean, and only that', () => {
    expect(() => {
      new BatchFilter({ expression: 'tcp prt 502', snapBytes: 100 }).check();
    }).toThrow(OperatingError);
    for (const expression of ['', 'tcp port 502', 'vlan 10', 'wlan addr1 1:2:3:4:5:6']) {
      new BatchFilter({ expression, snapBytes: 100 }).check();
    }
  });
});
