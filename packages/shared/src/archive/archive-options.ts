/**
 * What the archive is told, what it counts and what it says: options with their limits, counters, events and clock.
 */
import type { Files } from '../system/files.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { OpenFiles } from './open-files.ts';

/** One flush bounds what a kill can lose. */
export const FLUSH_INTERVAL_MS = 1000;
/** Descriptors are cheap to reopen (5 µs), and 512 leave room under the usual limit of 1,024. */
export const OPEN_FILES_MAX = 512;
/** All packets waiting for their write. At 1 Gbit/s and a flush a second a disk may stall for half a second. */
export const BUFFER_BYTES_MAX = 64 * 1024 * 1024;
/** Sources with a file of their own in one hour. 20,000 × about 1 KiB of tables and objects = 20 MiB. */
export const SOURCES_MAX = 20_000;
/** A segment whose hour has ended is closed after so long without a packet. */
export const SEGMENT_IDLE_MS = 5000;
/** Segments that `sync` has in the disk's queue at once; libuv has four threads. */
export const SYNCS_AT_ONCE = 4;

export interface ArchiveRule {
  /** One exact IPv4 or IPv6 address. Matches when it is the packet's source or its destination. */
  readonly address: string;
  readonly prefix: string;
}

export interface ArchiveOptions {
  readonly directory: string;
  /** `ethernet` keeps frames whole; `raw` takes the link header off IP packets (LINKTYPE_RAW). */
  readonly linkType: 'ethernet' | 'raw';
  readonly precision: 'ns' | 'us';
  /** In order: the first that matches wins. */
  readonly rules: readonly ArchiveRule[];
  /** Where IP packets go that no rule names; without it each goes to its source address's segments. */
  readonly defaultPrefix?: string;
  readonly flushIntervalMs?: number;
  readonly openFilesMax?: number;
  readonly bufferBytesMax?: number;
  readonly sourcesMax?: number;
}

/** Why packets could not be stored. */
export type DropReason =
  | 'disk-full' // ENOSPC, EDQUOT
  | 'read-only' // EROFS
  | 'io-error' // everything else a disk says
  | 'link-type'; // a link type that no PCAP file can name, or more of them than LINK_TYPES_MAX

/** All since `open()`. packetsIn = packetsStored + packetsBuffered + every dropped reason, at any moment. */
export interface ArchiveCounters {
  packetsIn: number;
  /** In the hands of the kernel: a kill of this process does not lose them any more. */
  packetsStored: number;
  /** Frame bytes of the packets stored, as they stand in the files, without record headers. */
  bytesStored: number;
  packetsBuffered: number;
  readonly dropped: Record<DropReason, number>;
  /** Packets of sources beyond `sourcesMax`, kept in the `overflow` segments. They are stored, not dropped. */
  packetsOverflowed: number;
  readonly repaired: { files: number; bytesCut: number; filesSetAside: number };
  segmentsOpened: number;
  segmentsClosed: number;
  /** Writes the disk refused, each of them retried later. */
  writesFailed: number;
}

export interface ArchiveEvents {
  /**
   * A segment is about to get its first packet since it was last closed. Called *before* the first byte is appended;
   * `bytes` is the length the file has now, 0 when it is to be created. Who must be able to undo writes notes both.
   */
  segmentOpened?(segment: { readonly name: string; readonly bytes: number }): void;
  /** Nothing more is expected for this segment; all its packets are with the kernel. */
  segmentClosed?(segment: { readonly name: string; readonly packets: number; readonly bytes: number }): void;
  segmentRepaired?(segment: { readonly name: string; readonly bytesCut: number }): void;
  /** A segment's middle is damaged (not a torn tail): it was renamed, whole, to `movedTo`. */
  segmentSetAside?(segment: {
    readonly name: string;
    readonly movedTo: string;
    readonly offset: number;
  }): void;
  /** The disk began to refuse, or refuses for another reason than before. Not repeated while it lasts. */
  writeFailed?(failure: {
    readonly name: string;
    readonly reason: DropReason;
    readonly message: string;
  }): void;
  /** Every segment takes packets again; `packetsDropped` were lost meanwhile. */
  recovered?(recovery: { readonly packetsDropped: number }): void;
  /** `sourcesMax` was reached in this hour; new sources go to the `overflow` segments. Once an hour. */
  sourcesExhausted?(limit: { readonly sourcesMax: number; readonly prefix: string }): void;
}

export interface ArchiveClock {
  monotonicMs(): number;
  wallMs(): number;
  /** Calls `action` every `intervalMs` until the returned function is called. Must not keep the process alive. */
  every(intervalMs: number, action: () => void): () => void;
}

export interface ArchiveDependencies {
  readonly files: Files;
  readonly events: ArchiveEvents;
  readonly clock?: ArchiveClock;
  /** Shared by several archives of one process (a collector has one per sensor); else each has its own. */
  readonly openFiles?: OpenFiles;
  readonly buffers?: BufferPool;
}

export const systemArchiveClock: ArchiveClock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  every(intervalMs, action) {
    const timer = setInterval(action, intervalMs);
    timer.unref();
    return () => {
      clearInterval(timer);
    };
  },
};

export function newCounters(): ArchiveCounters {
  return {
    packetsIn: 0,
    packetsStored: 0,
    bytesStored: 0,
    packetsBuffered: 0,
    dropped: { 'disk-full': 0, 'read-only': 0, 'io-error': 0, 'link-type': 0 },
    packetsOverflowed: 0,
    repaired: { files: 0, bytesCut: 0, filesSetAside: 0 },
    segmentsOpened: 0,
    segmentsClosed: 0,
    writesFailed: 0,
  };
}

export function droppedPackets(counters: ArchiveCounters): number {
  let packets = 0;
  for (const count of Object.values(counters.dropped)) packets += count;
  return packets;
}
