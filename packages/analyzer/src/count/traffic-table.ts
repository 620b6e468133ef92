/**
 * Who sent how much of what: one row per sensor and prefix, and one per sensor and protocol. Bounded: rows beyond the
 * limit share one that says so, and nothing goes uncounted.
 */
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { FrameCursor, locateFrame } from '@tapline/shared/packet/frame-cursor.ts';
import {
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  RECORD_ORIGINAL_BYTES,
  readU32,
} from '@tapline/shared/packet/record.ts';
import type { Segment } from '../tail/followed-segment.ts';
import { protocolClass } from './protocol-class.ts';

/** About 400 bytes a row: 40 MiB. */
export const ROWS_MAX = 100_000;
const OTHERS = '(others)';

export interface TrafficRow {
  readonly sensor: string;
  /** A prefix, or a protocol. */
  readonly name: string;
  packets: number;
  /** Lengths on the wire, without record headers. */
  bytes: number;
  /** Packet times in milliseconds since 1970 UTC. */
  firstAtMs: number;
  lastAtMs: number;
}

export interface TrafficState {
  readonly packets: number;
  readonly bytes: number;
  readonly sources: ReadonlyMap<string, TrafficRow>;
  readonly protocols: ReadonlyMap<string, TrafficRow>;
}

export class TrafficTable {
  packets = 0;
  bytes = 0;
  readonly #sources = new Map<string, TrafficRow>();
  readonly #protocols = new Map<string, TrafficRow>();
  readonly #cursor = new FrameCursor();

  /** Counts every packet of a batch that was read from a segment. */
  add(segment: Segment, batch: Batch): void {
    const { bytes, byteLength, linkType } = batch;
    const source = rowOf(this.#sources, segment.sensor, segment.prefix);
    for (let offset = 0; offset < byteLength;) {
      const capturedBytes = readU32(bytes, offset + RECORD_CAPTURED_BYTES);
      const frame = offset + RECORD_HEADER_BYTES;
      const end = frame + capturedBytes;
      const atMs = readU32(bytes, offset) * 1000 + readU32(bytes, offset + RECORD_NANOSECONDS) / 1_000_000;
      const wireBytes = readU32(bytes, offset + RECORD_ORIGINAL_BYTES);
      locateFrame(this.#cursor, linkType, bytes, frame, capturedBytes);
      count(source, wireBytes, atMs);
      count(rowOf(this.#protocols, segment.sensor, protocolClass(this.#cursor, bytes, end)), wireBytes, atMs);
      this.packets++;
      this.bytes += wireBytes;
      offset = end;
    }
  }

  /** Plain data. */
  snapshot(): TrafficState {
    const [sources, protocols] = [this.#sources, this.#protocols];
    return { packets: this.packets, bytes: this.bytes, sources, protocols };
  }

  restore({ packets, bytes, sources, protocols }: TrafficState): void {
    this.packets = packets;
    this.bytes = bytes;
    for (const [key, row] of sources) this.#sources.set(key, row);
    for (const [key, row] of protocols) this.#protocols.set(key, row);
  }

  /** Rows by sensor, most packets first. */
  sources(): TrafficRow[] {
    return sorted(this.#sources);
  }

  protocols(): TrafficRow[] {
    return sorted(this.#protocols);
  }
}

function rowOf(rows: Map<string, TrafficRow>, sensor: string, name: string): TrafficRow {
  const key = `${sensor}/${name}`;
  const known = rows.get(key);
  if (known !== undefined) return known;
  if (rows.size >= ROWS_MAX && name !== OTHERS) return rowOf(rows, '.', OTHERS);
  const row = { sensor, name, packets: 0, bytes: 0, firstAtMs: Infinity, lastAtMs: -Infinity };
  rows.set(key, row);
  return row;
}

function count(row: TrafficRow, bytes: number, atMs: number): void {
  row.packets++;
  row.bytes += bytes;
  if (atMs < row.firstAtMs) row.firstAtMs = atMs;
  if (atMs > row.lastAtMs) row.lastAtMs = atMs;
}

function sorted(rows: ReadonlyMap<string, TrafficRow>): TrafficRow[] {
  return [...rows.values()].sort((a, b) =>
    a.sensor < b.sensor ? -1 : a.sensor > b.sensor ? 1 : b.packets - a.packets,
  );
}
