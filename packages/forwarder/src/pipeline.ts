/**
 * The forwarder's row, and the only file that knows two of its stations:
 *
 *   NIC ─ring─▶ capture ─┬─▶ archive   hourly PCAP per source, on this box
 *                        └─▶ uplink    batch, compress, TCP ─▶ collector
 *
 * What must stay true:
 * - a batch goes to the archive before it is offered to the uplink: the link may drop, the disk should not;
 * - a live capture never waits for the link: what the full queue cannot take is dropped, counted and reported as a gap;
 * - a replay waits instead: a file does not run away;
 * - stopping empties the row in its own order: capture, archive, uplink. What is left at the deadline is counted.
 */
import type { Archive } from '@tapline/shared/archive/archive.ts';
import type { CaptureSource } from './capture/capture-source.ts';
import type { Uplink } from './tunnel/uplink.ts';

export interface ForwarderStations {
  readonly capture: CaptureSource;
  readonly archive: Archive | null;
  readonly uplink: Uplink | null;
}

export interface ForwarderOptions {
  /** True for files and pipes: the source waits while the uplink's queue is full. */
  readonly patient: boolean;
  /** How long a stop may take to empty the uplink's queue. */
  readonly drainMs: number;
}
