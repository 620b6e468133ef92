/**
 * What the interfaces themselves dropped before any socket could see it (no buffer in the card, no handler), from
 * /proc/net/dev, which shows the network namespace of this process:
 *
 *   eth0: bytes packets errs drop fifo frame compressed multicast | the same for sending
 *
 * A figure for people who look for lost packets; it counts frames that nobody wanted, too, so it is never part of a sum.
 */
import { readFileSync } from 'node:fs';

const DROP_COLUMN = 3;
const FIFO_COLUMN = 4;

/** Receive drops and overruns of the named interfaces together, or 0 where the system does not tell. */
export function interfaceDrops(names: readonly string[]): number {
  let text;
  try {
    text = readFileSync('/proc/net/dev', 'latin1');
  } catch {
    return 0;
  }
  let drops = 0;
  for (const line of text.split('\n')) {
    const colon = line.lastIndexOf(':');
    if (colon < 0 || !names.includes(line.slice(0, colon).trim())) continue;
    const columns = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/);
    drops += Number(columns[DROP_COLUMN] ?? 0) + Number(columns[FIFO_COLUMN] ?? 0);
  }
  return drops;
}
