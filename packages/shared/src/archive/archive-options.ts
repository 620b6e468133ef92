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
/** A segment whose period has ended is closed after so long without a packet. */
export const SEGMENT_IDLE_MS = 5000;
/** A packet whose period ended so long before the newest packet is late: it goes to a segment of its own. */
export const LATE_SECONDS = 5;
/** How much a segment grows between two times that it is told of. */
export const GROWN_BYTES = 1024 * 1024;
/** How long a segment's period is unless the options say otherwise. */
export const PERIOD_SECONDS = 3600;
/** Segments that `sync` has in the disk's queue at once; libuv has four threads. */
export const SYNCS_AT_ONCE = 4;

/**
 * Which files a packet goes to:
 *
 *   source   the file of its source address
 *   host     the files of both its hosts, each of which so holds whole conversations
 *   pair     the file of the two addresses that talk
 *   none     one file for all
 */
export type Split = 'source' | 'host' | 'pair' | 'none';

export const SPLITS = ['source', 'host', 'pair', 'none'] as const satisfies readonly Split[];

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
  /** Default: `source`. */
  readonly split?: Split;
  /** In libpcap's language: what it does not let through is not stored here. Empty or absent: everything is. */
  readonly filter?: string;
  /** Length of a segment's period; periods begin at multiples of it since 1970 UTC. Default: an hour. */
  readonly periodSeconds?: number;
  /** A segment that has become so long is closed, and the next one begun. Absent: only the clock decides. */
  readonly segmentBytesMax?: number;
  /** In order: the first that matches wins. Splits `source` and `host` ask them. */
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

/** All since `open()`. packetsIn + packetsCopied = packetsFiltered + packetsStored + packetsBuffered + every dropped reason. */
export interface ArchiveCounters {
  packetsIn: number;
  /** Second copies: the split by host stores a packet with both its hosts. */
  packetsCopied: number;
  /** Not let through by the archive's filter. */
  packetsFiltered: number;
  /** In the hands of the kernel: a kill of this process does not lose them any more. */
  packetsStored: number;
  /** Frame bytes of the packets stored, as they stand in the files, without record headers. */
  bytesStored: number;
  packetsBuffered: number;
  readonly dropped: Record<DropReason, number>;
  /** Packets of sources beyond `sourcesMax`, kept in the `overflow` segments. They are stored, not dropped. */
  packetsOverflowed: number;
  /** Came after younger packets of their segment, and were put in their place before they were written. */
  packetsReordered: number;
  /** Came too late for that: stored in `late` segments of their own. */
  packetsLate: number;
  readonly repaired: { files: number; bytesCut: number; filesSetAside: number };
  segmentsOpened: number;
  segmentsClosed: number;
  /** Writes the disk refused, each of them retried later. */
  writesFailed: number;
}

export interface ArchiveEvents {
  /**
   * A segment is about to be created. Called *before* its first byte is written; `bytes` is the length the file has now: 0.
   * Who must be able to undo writes notes both.
   */
  segmentOpened?(segment: { readonly name: string; readonly bytes: number }): void;
  /** A segment has become longer by GROWN_BYTES since it was told of; it has `bytes` now. */
  segmentGrown?(segment: { readonly name: string; readonly bytes: number }): void;
  /** This segment is never appended to again; all its packets are with the kernel. */
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

/** Several listeners as one: each event is told to all that want it, in their order. */
export function joined(...all: readonly ArchiveEvents[]): ArchiveEvents {
  const events: Record<string, (details: never) => void> = {};
  for (const name of new Set(all.flatMap((one) => Object.keys(one))) as Set<keyof ArchiveEvents>)
    events[name] = (details: never) => {
      for (const one of all) one[name]?.(details);
    };
  return events;
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
    packetsCopied: 0,
    packetsFiltered: 0,
    packetsStored: 0,
    bytesStored: 0,
    packetsBuffered: 0,
    dropped: { 'disk-full': 0, 'read-only': 0, 'io-error': 0, 'link-type': 0 },
    packetsOverflowed: 0,
    packetsReordered: 0,
    packetsLate: 0,
    repaired: { files: 0, bytesCut: 0, filesSetAside: 0 },
    segmentsOpened: 0,
    segmentsClosed: 0,
    writesFailed: 0,
  };
}

/** What the counters leave unexplained: 0, at any moment. */
export function unaccountedPackets(counters: ArchiveCounters): number {
  const { packetsIn, packetsCopied, packetsFiltered, packetsStored, packetsBuffered } = counters;
  return (
    packetsIn + packetsCopied - packetsFiltered - packetsStored - packetsBuffered - droppedPackets(counters)
  );
}

export function droppedPackets(counters: ArchiveCounters): number {
  let packets = 0;
  for (const count of Object.values(counters.dropped)) packets += count;
  return packets;
}
