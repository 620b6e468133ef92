/**
 * Evidence holds: what must not be deleted, whatever the limits say. `holds.json` in the archive's root, changed by
 * `hold add` and `hold remove`, read by every round of retention.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { OperatingError, messageOf } from '../base/errors.ts';
import { parseAddress } from '../packet/ip-address.ts';
import { nanosecondsOf, type Sidecar } from './sidecar.ts';
import { keysWhere, type SegmentIndex } from './segment-index.ts';

export const HOLDS_NAME = 'holds.json';
const FILE_MODE = 0o640;

const holdSchema = z.object({
  id: z.string().regex(/^[a-z0-9-]{1,40}$/),
  reason: z.string().max(1000),
  /** Absent: all sensors. */
  sensor: z.string().optional(),
  /** An IP address; absent: all hosts. */
  host: z.string().optional(),
  /** ISO 8601; absent: since ever, or for ever. */
  from: z.string().optional(),
  to: z.string().optional(),
  addedAt: z.string(),
});
const holdsSchema = z.object({ version: z.literal(1), holds: z.array(holdSchema) });

export type Hold = z.infer<typeof holdSchema>;

/** The holds of an archive; none without a list. Throws ARCHIVE_FAILED for a list that cannot be read: then nothing may be deleted. */
export function readHolds(root: string): Hold[] {
  const path = `${root}/${HOLDS_NAME}`;
  if (!existsSync(path)) return [];
  try {
    return holdsSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).holds;
  } catch (error) {
    throw new OperatingError(
      'ARCHIVE_FAILED',
      `the holds in ${path} cannot be read, so nothing is deleted: ${messageOf(error)}`,
      { path },
      error,
    );
  }
}

/** Replaces the list as a whole. Throws what the disk throws. */
export function writeHolds(root: string, holds: readonly Hold[]): void {
  const path = `${root}/${HOLDS_NAME}`;
  writeFileSync(`${path}.new`, `${JSON.stringify({ version: 1, holds }, null, 2)}\n`, { mode: FILE_MODE });
  renameSync(`${path}.new`, path);
}

/** Whether a hold keeps this segment. Without an index nobody knows which hosts are in it: then it is kept. */
export function isHeld(hold: Hold, sidecar: Sidecar, loadIndex: () => SegmentIndex | null): boolean {
  if (hold.sensor !== undefined && hold.sensor !== sidecar.sensor) return false;
  if (hold.from !== undefined && nanosecondsOf(sidecar.lastPacket) < nanosecondsOfDate(hold.from))
    return false;
  if (hold.to !== undefined && nanosecondsOf(sidecar.firstPacket) >= nanosecondsOfDate(hold.to)) return false;
  if (hold.host === undefined) return true;
  const address = parseAddress(hold.host);
  const index = loadIndex();
  if (address === null || index === null || index.isOverfull) return true;
  const kind = address.byteLength === 4 ? 'ipv4' : 'ipv6';
  return keysWhere(index, kind, (keys, at) => address.every((byte, i) => keys[at + i] === byte)).length > 0;
}

function nanosecondsOfDate(text: string): bigint {
  return BigInt(Date.parse(text)) * 1_000_000n;
}
