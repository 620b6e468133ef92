import { describe, expect, it } from 'vitest';
import { BatchBuilder, type Batch } from '@tapline/shared/packet/batch.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { RECORD_CAPTURED_BYTES, RECORD_ORIGINAL_BYTES, readU32 } from '@tapline/shared/packet/record.ts';
import { ForwardSelection } from './forward-selection.ts';

/** A UDP packet to that port, in 100 bytes. */
function udpTo(port: number): Uint8Array {
  const frame = new Uint8Array(100);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 17]);
  frame.set([10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, port >> 8, port & 255, 0, 66], 26);
  return frame;
}

function batchOf(...ports: number[]): Batch {
  const builder = new BatchBuilder(LINKTYPE_ETHERNET);
  for (const port of ports) builder.append(1, 0, 100, udpTo(port), 0, 100);
  return builder.take();
}

function select(selection: ForwardSelection, batch: Batch): { priority: number; packets: number }[] {
  const offered: { priority: number; packets: number }[] = [];
  selection.offer(batch, {
    offer: ({ packetCount: packets }, priority) => offered.push({ priority, packets }) > 0,
  });
  return offered;
}

describe('the selection of what is sent', () => {
  it('takes everything, in one class, where nothing else is said', () => {
    const selection = new ForwardSelection({ filter: '', snapBytes: 262_144, classes: [] });
    expect(select(selection, batchOf(1, 2, 3))).toEqual([{ priority: 0, packets: 3 }]);
  });

  it('puts each packet in the first class that finds it, the rest last, and loses none', () => {
    const classes = ['udp port 502', 'udp port 102 or udp port 502'];
    const selection = new ForwardSelection({ filter: '', snapBytes: 262_144, classes });
    expect(select(selection, batchOf(80, 502, 102, 502, 53))).toEqual([
      { priority: 0, packets: 2 },
      { priority: 1, packets: 1 },
      { priority: 2, packets: 2 },
    ]);
    expect(select(selection, batchOf(502))).toEqual([{ priority: 0, packets: 1 }]);
  });

  it('leaves out what the filter does not want, and counts it', () => {
    const selection = new ForwardSelection({ filter: 'not udp port 53', snapBytes: 262_144, classes: [] });
    expect(select(selection, batchOf(53, 502, 53))).toEqual([{ priority: 0, packets: 1 }]);
    expect(select(selection, batchOf(53))).toEqual([]);
    expect(selection.filteredPackets).toBe(3);
  });

  it('cuts frames for the link and says how long they were', () => {
    const selection = new ForwardSelection({ filter: '', snapBytes: 64, classes: ['udp port 502'] });
    const lengths: number[] = [];
    selection.offer(batchOf(502, 80), {
      offer: ({ bytes }) =>
        lengths.push(readU32(bytes, RECORD_CAPTURED_BYTES), readU32(bytes, RECORD_ORIGINAL_BYTES)) > 0,
    });
    expect(lengths).toEqual([64, 100, 64, 100]);
  });

  it('names the filter that is wrong by its place', () => {
    const selection = new ForwardSelection({
      filter: '',
      snapBytes: 262_144,
      classes: ['tcp', 'udp prot 3'],
    });
    expect(() => {
      selection.check((index, message) => new Error(`${String(index)}: ${message}`));
    }).toThrow(/^1: .*syntax error/);
  });
});
