/**
 * Leaves out second copies of packets: a port that is mirrored both ways shows what crosses it twice, and two mirrors show it at
 * both. It stands before the tunnel, so that the link pays for a packet once; the local archive keeps everything.
 *
 * When is a frame a copy? When its fingerprint was seen within the window, and
 *
 *   - it is IPv4 with an identification: whoever sends something again gives it another;
 *   - or it comes through another interface;
 *   - or it follows within AMBIGUOUS_NS. A retransmission cannot: it waits for a timer (200 ms, RFC 6298 as Linux has it;
 *     10 ms for a tail loss probe) or for three acknowledgements, a round trip at least. A mirror's two copies are
 *     a few microseconds apart.
 *
 * And each packet that is kept has one copy on each interface, no more: three equal acknowledgements, mirrored both ways,
 * are six frames, of which three stay. So nothing that was sent again is ever taken for a copy, at the price that a
 * mirror's copy that came late, without an identification, stays.
 *
 * Bounded: a table of ENTRIES fingerprints, four to a bucket. Where a bucket is full of packets younger than the window the
 * oldest is forgotten, and its copy stays; that is counted.
 */
import type { Batch } from '@tapline/shared/packet/batch.ts';
import {
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  RECORD_ORIGINAL_BYTES,
  readU32,
} from '@tapline/shared/packet/record.ts';
import { PacketDigest, type Ignorable } from './packet-digest.ts';

/** 2^17 × 24 bytes = 3 MiB: 50 ms at 2.6 million packets/s. */
const ENTRIES = 2 ** 17;
const WAYS = 4;
/** How long after a packet without an identification a copy of it may come on the same interface. */
export const AMBIGUOUS_NS = 50_000;

export interface DuplicateFilterOptions {
  readonly windowMs: number;
  readonly ignore: readonly Ignorable[];
}

export interface DuplicateCounters {
  /** Packets that were looked at. */
  seenPackets: number;
  duplicatePackets: number;
  duplicateBytes: number;
  /** Packets that were forgotten within the window, for want of room: a copy of theirs was kept. */
  forgottenPackets: number;
}

export class DuplicateFilter {
  readonly counters: DuplicateCounters = {
    seenPackets: 0,
    duplicatePackets: 0,
    duplicateBytes: 0,
    forgottenPackets: 0,
  };
  readonly #windowNs: number;
  readonly #digest: PacketDigest;
  readonly #low = new Uint32Array(ENTRIES);
  readonly #high = new Uint32Array(ENTRIES);
  /** Nanoseconds since `#originSeconds`: exact for a hundred days. */
  readonly #times = new Float64Array(ENTRIES).fill(-Infinity);
  /** Bit n: interface n has had its copy. */
  readonly #copies = new Int32Array(ENTRIES);
  readonly #interfaces = new Int32Array(ENTRIES);
  #originSeconds = -1;
  #kept = new Uint8Array(0);

  constructor(options: DuplicateFilterOptions) {
    this.#windowNs = options.windowMs * 1_000_000;
    this.#digest = new PacketDigest(options.ignore);
  }

  /** What is left of `batch`, lent until the next call; the same batch when nothing is a copy; null when everything is. */
  apply(batch: Batch): Batch | null {
    const { bytes, byteLength: end, linkType, interfaceId } = batch;
    const { counters } = this;
    let to = 0;
    let runStart = 0;
    let duplicates = 0;
    for (let at = 0; at < end;) {
      const capturedBytes = readU32(bytes, at + RECORD_CAPTURED_BYTES);
      const next = at + RECORD_HEADER_BYTES + capturedBytes;
      if (this.#isCopy(bytes, at, capturedBytes, linkType, interfaceId)) {
        to = this.#keep(bytes, runStart, at, to, end);
        runStart = next;
        duplicates++;
        counters.duplicateBytes += capturedBytes;
      }
      at = next;
    }
    counters.seenPackets += batch.packetCount;
    counters.duplicatePackets += duplicates;
    if (duplicates === 0) return batch;
    to = this.#keep(bytes, runStart, end, to, end);
    const packetCount = batch.packetCount - duplicates;
    if (packetCount === 0) return null;
    return { bytes: this.#kept, byteLength: to, packetCount, linkType, interfaceId };
  }

  #keep(bytes: Uint8Array, from: number, until: number, to: number, batchBytes: number): number {
    if (this.#kept.byteLength < batchBytes) this.#kept = new Uint8Array(batchBytes);
    this.#kept.set(bytes.subarray(from, until), to);
    return to + until - from;
  }

  #isCopy(
    bytes: Uint8Array,
    at: number,
    capturedBytes: number,
    linkType: number,
    interfaceId: number,
  ): boolean {
    const digest = this.#digest;
    const originalBytes = readU32(bytes, at + RECORD_ORIGINAL_BYTES);
    digest.read(linkType, bytes, at + RECORD_HEADER_BYTES, capturedBytes, originalBytes);
    const { low, high, isIdentified } = digest;
    const seconds = readU32(bytes, at);
    if (this.#originSeconds < 0) this.#originSeconds = seconds;
    const time = (seconds - this.#originSeconds) * 1e9 + readU32(bytes, at + RECORD_NANOSECONDS);
    const bucket = (low & (ENTRIES / WAYS - 1)) * WAYS;
    let victim = bucket;
    for (let slot = bucket; slot < bucket + WAYS; slot++) {
      if (this.#low[slot] === low && this.#high[slot] === high) {
        if (this.#hasRoomForCopy(slot, time, interfaceId, isIdentified)) return true;
        victim = slot;
        break;
      }
      if ((this.#times[slot] as number) < (this.#times[victim] as number)) victim = slot;
    }
    this.#remember(victim, low, high, time, interfaceId);
    return false;
  }

  /** Whether the packet in the slot may have this one as its copy; if so, it has had it. */
  #hasRoomForCopy(slot: number, time: number, interfaceId: number, isIdentified: boolean): boolean {
    // Interfaces are read batch by batch: a copy's time may lie before that of the packet that was seen first.
    const distance = Math.abs(time - (this.#times[slot] as number));
    if (distance > this.#windowNs) return false;
    const isSameInterface = this.#interfaces[slot] === interfaceId;
    if (isSameInterface && !isIdentified && distance > AMBIGUOUS_NS) return false;
    const bit = 1 << (interfaceId & 31);
    if (((this.#copies[slot] as number) & bit) !== 0) return false;
    this.#copies[slot] = (this.#copies[slot] as number) | bit;
    return true;
  }

  #remember(slot: number, low: number, high: number, time: number, interfaceId: number): void {
    const isOther = this.#low[slot] !== low || this.#high[slot] !== high;
    if (isOther && time - (this.#times[slot] as number) <= this.#windowNs) this.counters.forgottenPackets++;
    this.#low[slot] = low;
    this.#high[slot] = high;
    this.#times[slot] = time;
    this.#copies[slot] = 0;
    this.#interfaces[slot] = interfaceId;
  }
}
