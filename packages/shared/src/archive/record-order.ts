/**
 * Puts records in the order of their times: what waits for its write may have come through several interfaces, queues of a
 * card or lanes of a tunnel. Stable: packets of the same time keep the order in which they came.
 */
import { RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, RECORD_NANOSECONDS, readU32 } from '../packet/record.ts';

/** Sorts the whole records in `bytes[from, to)`, of either precision, in place. */
export function sortRecords(bytes: Uint8Array, from: number, to: number): void {
  const starts: number[] = [];
  for (let at = from; at < to; at += RECORD_HEADER_BYTES + readU32(bytes, at + RECORD_CAPTURED_BYTES))
    starts.push(at);
  // Seconds need 32 bits and fractions 30: together more than a double holds exactly, so they are compared in turn.
  const order = Array.from(starts.keys()).sort((a, b) => {
    const [left, right] = [starts[a] as number, starts[b] as number];
    return (
      readU32(bytes, left) - readU32(bytes, right) ||
      readU32(bytes, left + RECORD_NANOSECONDS) - readU32(bytes, right + RECORD_NANOSECONDS)
    );
  });
  const sorted = new Uint8Array(to - from);
  let end = 0;
  for (const index of order) {
    const start = starts[index] as number;
    const record = bytes.subarray(start, starts[index + 1] ?? to);
    sorted.set(record, end);
    end += record.byteLength;
  }
  bytes.set(sorted, from);
}
