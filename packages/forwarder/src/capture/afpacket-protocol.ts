/**
 * What the main thread and a ring's thread (`afpacket-worker.ts`) say to each other.
 *
 * Batch buffers are transferred, never copied: the worker owns BATCH_BUFFERS_MAX of them at the start, each travels to
 * the main thread full and comes back empty. That is the bound on what can wait there; behind it the ring fills up, and
 * behind the ring the kernel drops and counts.
 *
 * Counters lie in shared memory with one writer, the worker, and may be read at any moment.
 */
import type { ErrorCode } from '@tapline/shared/base/errors.ts';
import type { PacketSocketOptions } from './packet-socket.ts';

/** × 1 MiB = 8 MiB for each interface: at 100 Mbit/s two thirds of a second, before the ring is needed. */
export const BATCH_BUFFERS_MAX = 8;

export interface WorkerOptions extends PacketSocketOptions {
  readonly snapBytes: number;
  /** SHARED_BYTES long; see below. */
  readonly shared: SharedArrayBuffer;
}

/** Float64 slots of the shared memory: exact up to 2⁵³, and a single store on both machines. */
export const COUNTER_RECEIVED = 0;
export const COUNTER_DROPPED = 1;
export const COUNTER_FREEZES = 2;
const COUNTER_SLOTS = 3;
/** An Int32 behind them, on which the worker sleeps while it has no buffer. */
export const WAKE_OFFSET = COUNTER_SLOTS * 8;
export const SHARED_BYTES = WAKE_OFFSET + 8;

export type FromWorker =
  | { readonly kind: 'opened'; readonly linkType: number }
  | {
      readonly kind: 'refused';
      readonly code: ErrorCode;
      readonly message: string;
      readonly context: Readonly<Record<string, unknown>>;
    }
  | {
      readonly kind: 'batch';
      readonly buffer: ArrayBuffer;
      readonly byteLength: number;
      readonly packetCount: number;
      /** Since the start, as of this batch. */
      readonly truncatedPackets: number;
    }
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'recovered' }
  /** The last word. `leftPackets`: the kernel counted them, but they did not come out of the ring in time. */
  | { readonly kind: 'ended'; readonly leftPackets: number };

export type ToWorker =
  /** An empty buffer comes back. */
  | { readonly kind: 'buffer'; readonly buffer: ArrayBuffer }
  /** Take in nothing new, hand over what is there, end. */
  | { readonly kind: 'drain' }
  /** End at once. */
  | { readonly kind: 'close' };
