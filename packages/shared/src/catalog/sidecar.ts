/**
 * The sidecar of a closed segment, `<segment>.json`: what the file is, in words that a person and a program can read, and its hash.
 * It is written last: a segment with a sidecar is finished, indexed, packed if it was to be, and will not change.
 */
import { z } from 'zod';

const count = z.int().nonnegative();
/** ISO 8601 in UTC with nanoseconds. */
const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
const hash = z.string().regex(/^[0-9a-f]{64}$/);

const sidecarSchema = z.object({
  version: z.literal(1),
  /** The name it was written under, and by which it is known for ever. */
  segment: z.string(),
  /** The file that holds its packets now: the segment, or that with `.gz` or `.zst` behind it. */
  file: z.string(),
  sensor: z.string(),
  /** Which of several archives; empty for the first. */
  archive: z.string(),
  interfaces: z.array(z.string()),
  /** What was stored here, in libpcap's language; empty: everything. */
  filter: z.string(),
  split: z.string(),
  linkType: count,
  precision: z.enum(['ns', 'us']),
  firstPacket: time,
  lastPacket: time,
  packets: count,
  /** Captured bytes of the packets. */
  bytes: count,
  /** Length of the segment, unpacked. */
  fileBytes: count,
  /** Of the segment, unpacked. */
  sha256: hash,
  compression: z.enum(['none', 'gzip', 'zstd']),
  /** Of the packed file; the same as `sha256` when it is not packed. */
  fileSha256: hash,
  /** Came too late for the segments of its time. */
  late: z.boolean(),
  /** Was left behind by a run that did not end cleanly. */
  recovered: z.boolean(),
  /** Packets that were lost while this segment was being written, by stage, on the whole sensor: whose they were nobody knows. */
  dropped: z.record(z.string(), count),
  /** Packets known to be missing that fall into its time, on the whole sensor. */
  gaps: z.object({ count, packets: count, unknown: count }),
  closedAt: z.string(),
  software: z.string(),
});

export type Sidecar = z.infer<typeof sidecarSchema>;

/** The longest sidecar that is read. */
export const SIDECAR_BYTES_MAX = 1024 * 1024;

export function encodeSidecar(sidecar: Sidecar): string {
  return `${JSON.stringify(sidecar, null, 2)}\n`;
}

/** `null` for what is no sidecar of ours. */
export function parseSidecar(text: string): Sidecar | null {
  try {
    return sidecarSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** `2026-01-01T00:00:00.000000000Z` of seconds since 1970 and nanoseconds. */
export function isoNanoseconds(seconds: number, nanoseconds: number): string {
  const text = new Date(seconds * 1000).toISOString();
  return `${text.slice(0, 19)}.${String(nanoseconds).padStart(9, '0')}Z`;
}

/** Nanoseconds since 1970 UTC of such a text. */
export function nanosecondsOf(text: string): bigint {
  return BigInt(Date.parse(`${text.slice(0, 19)}Z`)) * 1_000_000n + BigInt(text.slice(20, 29));
}
