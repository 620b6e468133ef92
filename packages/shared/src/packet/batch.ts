/**
 * The batch: the unit that moves through Tapline. One buffer of consecutive records (`record.ts`), all of one link type
 * and one capture interface, at most BATCH_BYTES_MAX or BATCH_LINGER_MS of traffic. Nothing is allocated per packet:
 * who needs a packet walks the buffer.
 *
 * A batch is *lent*: its bytes are valid until the lender is asked for the next one. Who keeps bytes copies them.
 */
import { assert } from '../base/assert.ts';
import {
  PACKET_BYTES_MAX,
  RECORD_BYTES_MAX,
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  readU32,
  writeU32,
} from './record.ts';

/** A full batch: large enough that a system call and a compression call cost nothing per packet. */
export const BATCH_BYTES_MAX = 1024 * 1024;
/** How long a packet waits for company before its batch moves on. */
export const BATCH_LINGER_MS = 50;

export interface Batch {
  /** Records from offset 0 to `byteLength`; the buffer itself may be longer. */
  readonly bytes: Uint8Array;
  readonly byteLength: number;
  readonly packetCount: number;
  /** LINKTYPE_ value (file-format numbering) of every frame in the batch. */
  readonly linkType: number;
  /** Index into the interfaces of the capture source. */
  readonly interfaceId: number;
}

/**
 * Collects records into one reused buffer: for sources that have packets one at a time. (The ring has a loop of its own.)
 * `take()` hands the batch out; the next `append` after `reset()` overwrites it.
 */
export class BatchBuilder {
  readonly linkType: number;
  readonly interfaceId: number;
  bytes: Uint8Array;
  byteLength = 0;
  packetCount = 0;

  constructor(linkType: number, interfaceId = 0, bytes: Uint8Array = new Uint8Array(BATCH_BYTES_MAX)) {
    assert(bytes.byteLength >= RECORD_BYTES_MAX, 'a batch buffer must hold the largest record');
    this.linkType = linkType;
    this.interfaceId = interfaceId;
    this.bytes = bytes;
  }

  /** Whether a frame of `capturedBytes` still fits. */
  hasRoom(capturedBytes: number): boolean {
    return this.byteLength + RECORD_HEADER_BYTES + capturedBytes <= this.bytes.byteLength;
  }

  /** Copies one packet in. The caller asked `hasRoom` and keeps `capturedBytes` ≤ PACKET_BYTES_MAX. */
  append(
    seconds: number,
    nanoseconds: number,
    originalBytes: number,
    frame: Uint8Array,
    offset: number,
    capturedBytes: number,
  ): void {
    assert(capturedBytes <= PACKET_BYTES_MAX && this.hasRoom(capturedBytes), 'record does not fit the batch');
    const at = this.byteLength;
    const { bytes } = this;
    writeU32(bytes, at, seconds);
    writeU32(bytes, at + 4, nanoseconds);
    writeU32(bytes, at + 8, capturedBytes);
    writeU32(bytes, at + 12, originalBytes);
    const to = at + RECORD_HEADER_BYTES;
    bytes.set(frame.subarray(offset, offset + capturedBytes), to);
    this.byteLength = to + capturedBytes;
    this.packetCount++;
  }

  /** The batch as collected so far: a view, lent until `reset()`. */
  take(): Batch {
    return {
      bytes: this.bytes,
      byteLength: this.byteLength,
      packetCount: this.packetCount,
      linkType: this.linkType,
      interfaceId: this.interfaceId,
    };
  }

  reset(): void {
    this.byteLength = 0;
    this.packetCount = 0;
  }
}

/**
 * Counts the whole records in `bytes[0, byteLength)`, or returns -1 when they do not end exactly there.
 * The check for batches that come from outside: after it, every walk over the batch stays inside its buffer.
 */
export function countRecords(bytes: Uint8Array, byteLength: number): number {
  let offset = 0;
  let count = 0;
  while (offset < byteLength) {
    if (byteLength - offset < RECORD_HEADER_BYTES) return -1;
    const capturedBytes = readU32(bytes, offset + RECORD_CAPTURED_BYTES);
    if (capturedBytes > PACKET_BYTES_MAX) return -1;
    offset += RECORD_HEADER_BYTES + capturedBytes;
    count++;
  }
  return offset === byteLength ? count : -1;
}
