/** What the main thread and the keeper's thread say to each other. */

import type { ObjectStoreOptions } from '../objects/object-store.ts';

/** Where segments lie, and what their sidecars say about them. */
export interface Place {
  /** The directory of the segments. */
  readonly directory: string;
  readonly sensor: string;
  /** Which of several archives; empty for the first. */
  readonly archive: string;
  readonly interfaces: readonly string[];
  readonly filter: string;
  readonly split: string;
  readonly compress: 'none' | 'gzip' | 'zstd';
  /** The list of gaps of the sensor; empty where there is none. */
  readonly gapList: string;
}

export interface RetentionOptions {
  /** How long a segment is kept after it was closed. */
  readonly ageMsMax?: number | undefined;
  /** What the segments of one sensor may take, in all archives together. */
  readonly sensorBytesMax?: number | undefined;
  readonly totalBytesMax?: number | undefined;
  /** Free space of the file system: a share of it, or bytes. */
  readonly freeShareMin?: number | undefined;
  readonly freeBytesMin?: number | undefined;
  /** What a share comes to at most, in bytes. */
  readonly freeShareBytesMax?: number | undefined;
  /** How often it is looked after. */
  readonly intervalMs: number;
}

/** What happens to each closed segment of an archive. */
export interface HandOver {
  /** Empty: the first archive. */
  readonly archive: string;
  /** Absent: all. */
  readonly sensors?: readonly string[] | undefined;
  /** A flat directory that gets a hard link of it. */
  readonly link?: string | undefined;
  /** A program and its arguments, with `{file}` and so on in them. */
  readonly command?: readonly string[] | undefined;
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly retries: number;
}

export interface KeeperOptions {
  /** The directories of the archives; in each the places of its sensors, or with `isSinglePlace` its segments. */
  readonly roots: readonly string[];
  readonly isSinglePlace: boolean;
  readonly retention: RetentionOptions;
  readonly handOver: readonly HandOver[];
  /** Where the private key is that signs manifests; made when it is not there. */
  readonly custodyKey: string;
  readonly manifestIntervalMs: number;
  /** Where finished segments are brought; null: nowhere. */
  readonly objectStore: ObjectStoreOptions | null;
  /** How long packets stay here after they were brought there; Infinity: until their room is needed. */
  readonly localKeepMs: number;
  readonly software: string;
}

export type ToKeeper =
  | {
      readonly kind: 'closed';
      readonly place: Place;
      readonly segment: string;
      /** Left by a run that did not end cleanly. */
      readonly isRecovered: boolean;
      readonly dropped: Readonly<Record<string, number>>;
    }
  | { readonly kind: 'grown'; readonly place: Place; readonly segment: string; readonly bytes: number }
  /** A place that is written to from now on: what lies there finished and in no manifest belongs into the next one. */
  | { readonly kind: 'opened'; readonly place: Place }
  /** The disk is full. */
  | { readonly kind: 'make-room' }
  | { readonly kind: 'close'; readonly deadlineMs: number };

export interface KeeperCounters {
  segmentsShelved: number;
  /** Could not be read, indexed or packed: they stay as they are, and are tried again at the next start. */
  segmentsFailed: number;
  segmentsWaitingNow: number;
  indexBytes: number;
  packedPlainBytes: number;
  packedBytes: number;
  linksMade: number;
  commandsRun: number;
  commandsFailed: number;
  handOversWaitingNow: number;
  manifestsSigned: number;
  segmentsUploaded: number;
  uploadedBytes: number;
  uploadsFailed: number;
  uploadsWaitingNow: number;
  /** Packets deleted here that are in the object store. */
  segmentsEvicted: number;
  segmentsDeleted: number;
  bytesDeleted: number;
  deletedByReason: { age: number; 'sensor-size': number; 'total-size': number; 'free-space': number };
  /** Would have been deleted, were they not held. */
  segmentsHeldNow: number;
  archiveBytesNow: number;
}

export type FromKeeper =
  | { readonly kind: 'counters'; readonly counters: KeeperCounters }
  | {
      readonly kind: 'tell';
      readonly level: 'info' | 'warn' | 'error';
      readonly fields: Readonly<Record<string, unknown>>;
      readonly message: string;
    }
  | { readonly kind: 'closed' };

export function newKeeperCounters(): KeeperCounters {
  return {
    segmentsShelved: 0,
    segmentsFailed: 0,
    segmentsWaitingNow: 0,
    indexBytes: 0,
    packedPlainBytes: 0,
    packedBytes: 0,
    linksMade: 0,
    commandsRun: 0,
    commandsFailed: 0,
    handOversWaitingNow: 0,
    manifestsSigned: 0,
    segmentsUploaded: 0,
    uploadedBytes: 0,
    uploadsFailed: 0,
    uploadsWaitingNow: 0,
    segmentsEvicted: 0,
    segmentsDeleted: 0,
    bytesDeleted: 0,
    deletedByReason: { age: 0, 'sensor-size': 0, 'total-size': 0, 'free-space': 0 },
    segmentsHeldNow: 0,
    archiveBytesNow: 0,
  };
}
