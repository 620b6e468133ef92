import { describe, expect, it } from 'vitest';
import { CapPipeReader, type PipedBatch } from './cap-pipe.ts';

function message(records: Uint8Array, packetCount: number, droppedPackets: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(records.byteLength, 0);
  header.writeUInt32LE(packetCount, 4);
  header.writeUInt32LE(droppedPackets, 8);
  return Buffer.concat([header, records]);
}

describe('the pipe of the portable driver', () => {
  const stream = Buffer.concat([
    message(Buffer.alloc(17, 1), 1, 0),
    message(Buffer.alloc(1, 2), 2, 5),
    message(Buffer.alloc(300, 3), 3, 4_000_000_000),
  ]);

  it.each([1, 2, 3, 7, 11, 12, 13, 29, 100, 1000])(
    'puts batches together from pieces of %d bytes',
    (pieceBytes) => {
      const batches: PipedBatch[] = [];
      const reader = new CapPipeReader((batch) => batches.push(batch));
      for (let at = 0; at < stream.byteLength; at += pieceBytes)
        reader.push(stream.subarray(at, at + pieceBytes));
      expect(
        batches.map(({ bytes, packetCount, droppedPackets }) => [
          bytes.byteLength,
          bytes[0],
          packetCount,
          droppedPackets,
        ]),
      ).toEqual([
        [17, 1, 1, 0],
        [1, 2, 2, 5],
        [300, 3, 3, 4_000_000_000],
      ]);
    },
  );
});
