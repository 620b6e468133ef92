/** Batches for the tunnel's tests: numbered packets, so that a lost, doubled or swapped one shows. */
import { BatchBuilder, type Batch } from '../packet/batch.ts';
import { LINKTYPE_ETHERNET } from '../packet/link-type.ts';
import { RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, readU32, writeU32 } from '../packet/record.ts';
import { FrameDecoder } from './frame-decoder.ts';
import type { Frame } from './frame.ts';
import { encodeHello } from './messages.ts';

/** 2026-01-01 00:00:00 UTC. */
export const NEW_YEAR = 1_767_225_600;

/** A small deterministic generator (mulberry32): 0 ≤ x < 1. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** `count` Ethernet-like frames; each carries its number at byte 14 and is `frameBytes` long. */
export function numberedBatch(first: number, count: number, frameBytes = 60): Batch {
  const size = count * (RECORD_HEADER_BYTES + frameBytes);
  const builder = new BatchBuilder(LINKTYPE_ETHERNET, 0, new Uint8Array(Math.max(size, 262_160)));
  const frame = new Uint8Array(frameBytes);
  frame.set([0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  for (let number = first; number < first + count; number++) {
    writeU32(frame, 14, number);
    builder.append(
      NEW_YEAR + Math.floor(number / 1000),
      (number % 1000) * 1_000_000,
      frameBytes,
      frame,
      0,
      frameBytes,
    );
  }
  return builder.take();
}

/** The numbers of a batch's packets. */
export function numbersOf(batch: Batch): number[] {
  const numbers: number[] = [];
  for (let offset = 0; offset < batch.byteLength;) {
    numbers.push(readU32(batch.bytes, offset + RECORD_HEADER_BYTES + 14));
    offset += RECORD_HEADER_BYTES + readU32(batch.bytes, offset + RECORD_CAPTURED_BYTES);
  }
  return numbers;
}

/** The batch's records in memory of their own. */
export function copyOfRecords(batch: Batch): Uint8Array {
  return new Uint8Array(batch.bytes.subarray(0, batch.byteLength));
}

/** Feeds chunks to a decoder and keeps copies of the frames. */
export function decodeChunks(chunks: Iterable<Uint8Array>, decoder = new FrameDecoder(true)): Frame[] {
  const frames: Frame[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (let frame = decoder.next(); frame !== null; frame = decoder.next())
      frames.push({ ...frame, payload: new Uint8Array(frame.payload) });
  }
  return frames;
}

/** `bytes` cut at random places into pieces of 1 to `pieceBytesMax`. */
export function* pieces(
  bytes: Uint8Array,
  pieceBytesMax: number,
  random: () => number,
): Generator<Uint8Array> {
  for (let offset = 0; offset < bytes.byteLength;) {
    const end = Math.min(bytes.byteLength, offset + 1 + Math.floor(random() * pieceBytesMax));
    yield bytes.subarray(offset, end);
    offset = end;
  }
}

/** A stranger's greeting, as a forwarder would say it. */
export function helloOf(sensor: string): Uint8Array {
  return encodeHello({
    sensor,
    epoch: '0123456789abcdef',
    software: 'test',
    firstSequence: 1,
    codecs: ['zstd'],
    interfaces: [],
    sentAtMs: 0,
  });
}
