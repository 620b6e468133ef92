/**
 * The order in which a block of groups is sent: every group's shards are spread evenly over the whole block, so that a
 * burst of losses takes few of each. With D groups of k + m shards it is one of each in turn, and a burst of D × m
 * datagrams, wherever it begins, takes at most m of any group: all can be repaired. Every group begins at the block's
 * beginning, so that a HELLO, which goes first, is understood before what it announces.
 */

/** One shard's place in the block: which group, which shard of it. */
export interface ShardPlace {
  readonly group: number;
  readonly shard: number;
}

/** The places of all shards in their order; `shardCounts` has the k + m of each group. */
export function interleave(shardCounts: readonly number[]): ShardPlace[] {
  const places = shardCounts.flatMap((count, group) =>
    Array.from({ length: count }, (_, shard) => ({ group, shard, position: shard / count })),
  );
  // The sort is stable: at the same position the older group goes first.
  return places.sort((a, b) => a.position - b.position);
}
