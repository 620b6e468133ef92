/**
 * The group: one tunnel frame with what a receiver must know of all that came before it, cut into shards.
 *
 *   offset  size  field     meaning, all of it about the groups before this one, of the same epoch
 *        0     8  sequence  of the last BATCH or GAP frame; 0 when there was none
 *        8     8  packets   that those frames stood for: a BATCH's own, and a GAP's dropped ones
 *       16     8  bytes     captured bytes of those packets
 *       24     8  oldestNs  earliest time of those packets, nanoseconds since 1970 UTC; 0 when there was none
 *       32     8  newestNs  latest time
 *       40     n  frame     one whole tunnel frame
 *
 * So whichever groups are lost, the next that arrives, be it a HELLO that is said every second, tells to the packet what
 * they held. Two groups that arrive bound the gap between them; no list of what was lost has to cross the link.
 */
import { assert } from '../base/assert.ts';
import { GROUP_BYTES_MIN, GROUP_PREFIX_BYTES } from './datagram.ts';
import { frameBytesOf, openFrame, broken, type Frame } from './frame.ts';
import { SHARDS_MAX } from './reed-solomon.ts';

/** What all groups before one have brought. */
export interface GroupPrefix {
  readonly sequence: number;
  readonly packets: number;
  readonly bytes: number;
  readonly oldestNs: bigint;
  readonly newestNs: bigint;
}

/** Parity per data shards: 10 and 2 protect a group of ten against the loss of any two. */
export interface ParityRatio {
  readonly data: number;
  readonly parity: number;
}

export interface GroupShape {
  readonly dataShards: number;
  readonly parityShards: number;
  readonly shardBytes: number;
}

/**
 * How a group is cut: the fewest shards of at most `shardBytesMax`, and parity in the ratio, rounded up. Null when that
 * would be more than SHARDS_MAX shards.
 */
export function groupShape(groupBytes: number, shardBytesMax: number, ratio: ParityRatio): GroupShape | null {
  const dataShards = Math.ceil(groupBytes / shardBytesMax);
  const parityShards = Math.ceil((dataShards * ratio.parity) / ratio.data);
  if (dataShards + parityShards > SHARDS_MAX) return null;
  return { dataShards, parityShards, shardBytes: Math.ceil(groupBytes / dataShards) };
}

/** Prefix and frame in one buffer, filled up with zeros to `bytes`. */
export function encodeGroup(prefix: GroupPrefix, frame: Uint8Array, bytes: number): Buffer {
  assert(bytes >= GROUP_PREFIX_BYTES + frame.byteLength, 'a group is shorter than what it holds');
  const group = Buffer.alloc(bytes);
  group.writeBigUInt64LE(BigInt(prefix.sequence), 0);
  group.writeBigUInt64LE(BigInt(prefix.packets), 8);
  group.writeBigUInt64LE(BigInt(prefix.bytes), 16);
  group.writeBigUInt64LE(prefix.oldestNs, 24);
  group.writeBigUInt64LE(prefix.newestNs, 32);
  group.set(frame, GROUP_PREFIX_BYTES);
  return group;
}

/** Opens a whole group; the frame is a view of it. Throws `OperatingError('TUNNEL_PROTOCOL')`. */
export function decodeGroup(group: Uint8Array): { prefix: GroupPrefix; frame: Frame } {
  if (group.byteLength < GROUP_BYTES_MIN) throw broken('length', 'a group is too short', {});
  const view = Buffer.from(group.buffer, group.byteOffset, group.byteLength);
  const prefix = {
    sequence: safeNumber(view, 0),
    packets: safeNumber(view, 8),
    bytes: safeNumber(view, 16),
    oldestNs: view.readBigUInt64LE(24),
    newestNs: view.readBigUInt64LE(32),
  };
  const frame = group.subarray(GROUP_PREFIX_BYTES);
  if (frameBytesOf(frame, 0) !== frame.byteLength)
    throw broken('length', 'a group is not as long as its frame', { groupBytes: group.byteLength });
  return { prefix, frame: openFrame(frame) };
}

function safeNumber(view: Buffer, offset: number): number {
  const value = Number(view.readBigUInt64LE(offset));
  if (!Number.isSafeInteger(value)) throw broken('sequence', 'a count is beyond 2^53 - 1', { offset });
  return value;
}
