/**
 * The first station: where packets come from. Four drivers behind one small interface.
 *
 *   afpacket   a live interface through the kernel's mapped ring; the one for probes
 *   cap        a live interface through the npm package `cap`, for systems without AF_PACKET; lossy, see `cap-source.ts`
 *   file       capture files, at recorded speed, N times it, or as fast as the row behind takes them
 *   stdin      `tcpdump -w - | tapline-forwarder …`
 *
 * What must stay true, for all of them: packets of one interface come in the order they were captured; what was captured
 * is handed out, filtered out or counted as dropped; an interface that goes away is an event and comes back by itself,
 * never the end of the process.
 */
import type { Readable } from 'node:stream';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { AfPacketSource } from './afpacket-source.ts';
import { CapSource } from './cap-source.ts';
import { fileInput, streamInput, ReplaySource } from './replay-source.ts';

export interface CaptureInterface {
  readonly name: string;
  /** LINKTYPE_ value (file-format numbering). */
  readonly linkType: number;
}

export interface CaptureCounters {
  /** Handed out by `batches()`. */
  readonly packets: number;
  /** Captured frame bytes of those, without record headers. */
  readonly bytes: number;
  /** Handed out shorter than they were on the wire. */
  readonly truncatedPackets: number;
  /** Did not match the filter. Only where Tapline filters (file, stdin): a kernel does not count what it passes over. */
  readonly filteredPackets: number;
  /** Matched, but found no room on the way to us: the kernel's ring was full, or the portable driver's pipe. */
  readonly kernelDroppedPackets: number;
  /** How often the ring was full. */
  readonly kernelFreezes: number;
  /** Dropped by the interfaces themselves since `open()`, as the system counts; see `interface-drops.ts`. No part of any sum. */
  readonly interfaceDroppedPackets: number;
  /** Captured but not handed out, because the reader left or the source was closed. */
  readonly abandonedPackets: number;
  /** How often an interface went away, or the portable driver died. */
  readonly interruptions: number;
}

/** Bytes of the capture files as they lie on the disk, compressed or not. */
export interface CaptureProgress {
  readonly readBytes: number;
  readonly totalBytes: number;
}

/** What a source tells while it runs; one function per event. All are called on the main thread. */
export interface CaptureEvents {
  /** The interface is down or gone (warn). The source keeps trying. */
  interfaceLost(name: string, reason: string): void;
  interfaceRecovered(name: string, lostMs: number): void;
  /** Packets found no room since the last such event (error); at most once a second. */
  packetsDropped(name: string, packets: number): void;
  /** A capture file is damaged (error); what stood before the damage was handed out, the next file follows. */
  fileDamaged(name: string, error: Error): void;
}

export interface CaptureDependencies {
  readonly events: CaptureEvents;
}

/** For whoever has nobody to tell, as an offline command with its own summary. */
export const silentCaptureEvents: CaptureEvents = {
  interfaceLost: () => undefined,
  interfaceRecovered: () => undefined,
  packetsDropped: () => undefined,
  fileDamaged: () => undefined,
};

export interface CaptureSource {
  /** Known after `open()`; capture files may add to it while they are read. A batch's `interfaceId` is an index into it. */
  readonly interfaces: readonly CaptureInterface[];
  /**
   * Takes the source into possession; a live interface captures from here on.
   * Throws CAPTURE_FAILED, FILTER_INVALID, SYSTEM_MISSING or PCAP_INVALID.
   */
  open(): Promise<void>;
  /**
   * The batches, each lent until the next is asked for. Ends at the end of the input, or after `signal` when everything
   * captured until then was handed out. May be called once.
   */
  batches(signal: AbortSignal): AsyncIterable<Batch>;
  counters(): CaptureCounters;
  /** How far a replay is; null where there is no end to compare with. */
  progress(): CaptureProgress | null;
  /** Gives everything back to the system. Safe at any moment, more than once. */
  close(): Promise<void>;
}

interface FilterOptions {
  /** libpcap's language; empty or absent lets everything through. */
  readonly filter?: string;
  /** Longest frame to keep, in bytes; absent: whole frames. */
  readonly snapBytes?: number;
}

export interface AfPacketOptions extends FilterOptions {
  readonly driver: 'afpacket';
  /** Names, each captured by a thread of its own. */
  readonly interfaces: readonly string[];
  /** Takes frames addressed to others, as a mirror port needs. Default true. */
  readonly promiscuous?: boolean;
  /** `both` also takes what this machine sends, as tcpdump does; on loopback, where that would be everything twice, it means `in`. */
  readonly direction?: 'in' | 'both';
  /** Ring per interface. Default 64 MiB. */
  readonly ringBytes?: number;
}

export interface CapOptions {
  readonly driver: 'cap';
  readonly interfaces: readonly string[];
  readonly filter?: string;
  readonly snapBytes?: number;
  /** libpcap's buffer per interface. Default 64 MiB. */
  readonly bufferBytes?: number;
}

export interface FileOptions extends FilterOptions {
  readonly driver: 'file';
  /** Capture files, replayed one after the other. */
  readonly paths: readonly string[];
  /** 1 is the recorded speed, 10 ten times it, `max` as fast as the reader takes it. Default `max`. */
  readonly speed?: number | 'max';
  /** Starts over at the end, with the same timestamps, until stopped. */
  readonly loop?: boolean;
}

export interface StdinOptions extends FilterOptions {
  readonly driver: 'stdin';
  /** Where the capture comes from; default `process.stdin`. */
  readonly stream?: Readable;
}

export type CaptureOptions = AfPacketOptions | CapOptions | FileOptions | StdinOptions;

/** The source for the options, not yet open. */
export function openCaptureSource(options: CaptureOptions, dependencies: CaptureDependencies): CaptureSource {
  switch (options.driver) {
    case 'afpacket':
      return new AfPacketSource(options, dependencies);
    case 'cap':
      return new CapSource(options, dependencies);
    case 'file':
      return new ReplaySource(options.paths.map(fileInput), options, dependencies);
    case 'stdin':
      return new ReplaySource([streamInput(options.stream ?? process.stdin)], options, dependencies);
  }
}
