/** What was stored lately, for a reader that wants to begin in the past: exactly what came before it joined. */
import { PacketQuery } from '../catalog/packet-query.ts';
import type { ListOptions } from '../catalog/segment-list.ts';
import type { Replay } from '../feed/live-feed.ts';
import { planExport } from './export-plan.ts';
import { PacketExport } from './packet-export.ts';

/**
 * Makes replays. Each is planned in the turn in which it is asked for: `flush` hands everything to the disk, and what the segments
 * are long then is the past; what comes later is live.
 */
export function replayOf(
  where: Pick<ListOptions, 'roots' | 'isSinglePlace' | 'sensors'>,
  options: { readonly spanMs: number; readonly linkType: number },
  flush: () => void,
  failed: (name: string, error: unknown) => void,
): () => Replay {
  return () => {
    flush();
    const fromNs = BigInt(Date.now() - options.spanMs) * 1_000_000n;
    const query = new PacketQuery({ fromNs: String(fromNs) });
    const plan = planExport(where, query);
    return (write) => new PacketExport(plan, query, { linkType: options.linkType }, { write, failed }).run();
  };
}
