/** FILETIME (MS-DTYP, 2.3.3), which OPC UA calls DateTime (OPC 10000-6, 5.2.2.5): 100 ns ticks since 1601-01-01 UTC. */

/** Ticks from 1601 to 1970. */
const EPOCH_TICKS = 116_444_736_000_000_000;

/** A double: exact to 16 ticks in this century. */
export function fileTime(epochMs: number): number {
  return EPOCH_TICKS + Math.floor(epochMs * 10_000);
}
