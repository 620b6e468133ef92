/**
 * The archive: one directory of PCAP files, one per source and period, that anybody's tools can read at any moment.
 *
 *   write(batch) ─▶ filter ─▶ route-loop ─▶ route-table    which source?   (address-table, pair-table, source-table)
 *                                  └──────▶ segment-store  which segment? when to close
 *                                               └────────▶ pending-records  when to write, in which order ─▶ segment-writer ─▶ Files
 *
 * What must stay true:
 * - packetsIn + packetsCopied = packetsFiltered + packetsStored + packetsBuffered + dropped, to the packet, at any moment;
 * - a file is created whole, ends with a whole record, has one link type and one precision, and is never overwritten;
 * - inside a file time never runs backwards; a closed file is never appended to, by this run or any other;
 * - a packet's file follows from its own time and addresses, not from when or in which order it arrived;
 * - a refusing disk costs the packets that find no room, and nothing else: it is counted, told once, and retried.
 *
 * Recovery to a checkpoint (exactly once across a crash): after `sync()` resolves, `positions()` says how long every
 * segment touched since the sync before it durably is; the caller keeps these lengths beside its own sequence number,
 * the newest of each name. What was appended later must be undone by the next run, and may be in segments that the
 * checkpoint does not list. `events.segmentOpened` is called before the first byte of a segment is written; the caller
 * notes names it has no position for. The next run calls `open()`, then `truncateTo()` with the positions and those notes.
 */
import { assert } from '../base/assert.ts';
import { OperatingError, messageOf } from '../base/errors.ts';
import { BatchFilter } from '../filter/batch-filter.ts';
import type { Batch } from '../packet/batch.ts';
import { PACKET_BYTES_MAX } from '../packet/record.ts';
import type { Files } from '../system/files.ts';
import { repairArchive } from './archive-repair.ts';
import {
  BUFFER_BYTES_MAX,
  FLUSH_INTERVAL_MS,
  OPEN_FILES_MAX,
  PERIOD_SECONDS,
  SOURCES_MAX,
  SYNCS_AT_ONCE,
  newCounters,
  systemArchiveClock,
} from './archive-options.ts';
import type {
  ArchiveClock,
  ArchiveCounters,
  ArchiveDependencies,
  ArchiveEvents,
  ArchiveOptions,
  ArchiveRule,
} from './archive-options.ts';
import { BufferPool } from './buffer-pool.ts';
import { DirectoryLock } from './directory-lock.ts';
import { OpenFiles } from './open-files.ts';
import { notePeriod } from './period-note.ts';
import { RouteLoop } from './route-loop.ts';
import { RouteTable } from './route-table.ts';
import { SegmentStore } from './segment-store.ts';
import { SegmentWriter } from './segment-writer.ts';
import { SourceTable } from './source-table.ts';
import type { SourceSummary } from './source-table.ts';
import { truncateSegments } from './truncate-segments.ts';
import type { SegmentPosition, TruncateReport } from './truncate-segments.ts';

/** The flush interval is kept to a quarter: a segment is written when it has waited three quarters of it. */
const TICKS_PER_FLUSH = 4;
/** How often idle segments and sources are looked for; a walk over all of them. */
const SWEEP_INTERVAL_MS = 1000;

export class Archive {
  readonly counters: ArchiveCounters = newCounters();
  readonly directory: string;
  readonly #flushIntervalMs: number;
  readonly #sourcesMax: number;
  readonly #periodSeconds: number;
  readonly #files: Files;
  readonly #events: ArchiveEvents;
  readonly #clock: ArchiveClock;
  readonly #buffers: BufferPool;
  readonly #sources: SourceTable;
  readonly #routes: RouteTable;
  readonly #segments: SegmentStore;
  readonly #loop: RouteLoop;
  readonly #filter: BatchFilter | null;
  #lock: DirectoryLock | null = null;
  #stopTicking: () => void = () => undefined;
  #nextTickAtMs = 0;
  #nextSweepAtMs = 0;
  #overflowPeriod = -1;
  #sync: Promise<void> = Promise.resolve();
  #positions: readonly SegmentPosition[] = [];
  #isSyncUsed = false;

  /** Throws CONFIG_INVALID when a rule's address is none, FILTER_INVALID. Touches nothing until `open()`. */
  constructor(options: ArchiveOptions, dependencies: ArchiveDependencies) {
    const { files } = dependencies;
    this.directory = options.directory;
    this.#flushIntervalMs = options.flushIntervalMs ?? FLUSH_INTERVAL_MS;
    this.#sourcesMax = options.sourcesMax ?? SOURCES_MAX;
    this.#files = files;
    this.#events = this.#counted(dependencies.events);
    this.#clock = dependencies.clock ?? systemArchiveClock;
    this.#buffers = dependencies.buffers ?? new BufferPool(options.bufferBytesMax ?? BUFFER_BYTES_MAX);
    const openFiles = dependencies.openFiles ?? new OpenFiles(files, options.openFilesMax ?? OPEN_FILES_MAX);
    const events = this.#events;
    const { counters } = this;
    const buffers = this.#buffers;
    this.#sources = new SourceTable(this.#sourcesMax);
    const { linkType, split = 'source', periodSeconds = PERIOD_SECONDS } = options;
    this.#periodSeconds = periodSeconds;
    this.#routes = new RouteTable(this.#sources, { linkType, split }, (prefix) => {
      this.#countOverflow(prefix);
    });
    this.#routes.setRules(options.rules, options.defaultPrefix);
    const writer = new SegmentWriter(options, { files, openFiles, events });
    this.#segments = new SegmentStore(
      // Two hours at a border, and as much again for late packets and fixed rows.
      {
        segmentsMax: 4 * this.#sourcesMax,
        segmentBytesMax: options.segmentBytesMax ?? Infinity,
        periodSeconds,
      },
      { writer, openFiles, buffers, counters, events },
    );
    this.#loop = new RouteLoop(
      { linkType, precision: options.precision, split, periodSeconds },
      { routes: this.#routes, segments: this.#segments, counters },
    );
    const { filter: expression = '' } = options;
    this.#filter = expression === '' ? null : new BatchFilter({ expression, snapBytes: PACKET_BYTES_MAX });
    this.#filter?.check();
  }

  /**
   * Creates the directory, takes it for this archive alone, and repairs what a crash left. Throws ARCHIVE_FAILED when
   * another archive has it or the disk refuses.
   */
  open(): void {
    assert(this.#lock === null, 'the archive was opened twice');
    let lock: DirectoryLock | null = null;
    try {
      this.#files.makeDirectory(this.directory);
      lock = new DirectoryLock(this.#files, this.directory);
      repairArchive(this.#files, this.directory, lock.wasClosed, this.#events);
      notePeriod(this.#files, this.directory, this.#periodSeconds);
    } catch (error) {
      lock?.release(false);
      if (error instanceof OperatingError) throw error;
      throw this.#failed(`the archive ${this.directory} cannot be opened`, error);
    }
    this.#lock = lock;
    this.#stopTicking = this.#clock.every(this.#flushIntervalMs / TICKS_PER_FLUSH, () => {
      this.tick();
    });
  }

  /** Takes a batch in. Returns when its packets are copied; the batch may be reused. Never throws for what it holds. */
  write(batch: Batch): void {
    assert(this.#lock !== null, 'the archive was written to while closed');
    const nowMs = this.#clock.monotonicMs();
    this.#segments.pending.nowMs = nowMs;
    this.#route(batch);
    // A caller that writes batch after batch leaves no room for timers.
    if (nowMs >= this.#nextTickAtMs) this.#tickAt(nowMs);
    if (this.#buffers.bytesUsed > this.#buffers.bytesMax) this.#segments.flush();
  }

  /** Hands all buffered records to the kernel. What the disk refuses stays buffered. */
  flush(): void {
    this.#segments.pending.nowMs = this.#clock.monotonicMs();
    this.#segments.flush();
  }

  /** What the timer does: writes what has waited its flush interval, retries what was refused, closes what is over. */
  tick(): void {
    this.#tickAt(this.#clock.monotonicMs());
  }

  /**
   * Everything written so far is on the disk when this resolves. Rejects with ARCHIVE_FAILED when the disk refuses any
   * of it; a later call tries all of that again. Calls wait for each other; the snapshot is taken in the next microtask
   * when none is running. Packets that were dropped are not waited for: compare `counters.dropped`.
   */
  sync(): Promise<void> {
    this.#isSyncUsed = true;
    const done = this.#sync.then(
      () => this.#syncNow(),
      () => this.#syncNow(),
    );
    this.#sync = done;
    return done;
  }

  /** The segments touched between the last two `sync()`s that resolved, and their durable lengths. */
  positions(): readonly SegmentPosition[] {
    return this.#positions;
  }

  /**
   * Undoes what was appended after a checkpoint: cuts each segment back to its position, removes it at position 0.
   * Segments not listed stay as they are. Only between `open()` and the first `write()`. Throws ARCHIVE_FAILED.
   */
  truncateTo(positions: Iterable<SegmentPosition>): TruncateReport {
    assert(this.#lock !== null && this.counters.packetsIn === 0, 'truncateTo belongs before the first write');
    try {
      return truncateSegments(this.#files, this.directory, positions);
    } catch (error) {
      throw this.#failed(`the archive ${this.directory} cannot be cut back to its checkpoint`, error);
    }
  }

  /** Writes and closes all segments. The next packet begins a new one: those of before may be moved away. */
  rotate(): void {
    this.#segments.pending.nowMs = this.#clock.monotonicMs();
    this.#segments.closeAll();
  }

  /** New rules from the next packet on. Throws CONFIG_INVALID, keeping the old ones, when an address is none. */
  setRules(rules: readonly ArchiveRule[], defaultPrefix?: string): void {
    this.#routes.setRules(rules, defaultPrefix);
  }

  /** Packets and bytes per prefix since `open()`, at most about 2 × sourcesMax of them; the rest as `(others)`. */
  sources(): SourceSummary[] {
    return this.#sources.summary((source) => this.#segments.pendingOf(source));
  }

  /** Whether every segment takes packets. */
  get isHealthy(): boolean {
    return this.#segments.pending.failing === 0;
  }

  /** Writes and closes everything, and lets go of the directory. What the disk refuses now is dropped, and counted. */
  async close(): Promise<void> {
    if (this.#lock === null) return;
    this.#stopTicking();
    await this.#sync.catch(() => undefined);
    this.#segments.pending.nowMs = this.#clock.monotonicMs();
    const isWhole = this.#segments.abandon();
    this.#lock.release(isWhole);
    this.#lock = null;
  }

  #route(batch: Batch): void {
    const { counters } = this;
    let wanted: Batch | null = batch;
    try {
      if (this.#filter !== null) wanted = this.#filter.apply(batch);
    } catch (error) {
      // Passing packets of a link type that libpcap cannot filter, and leaving them out, would both be a guess.
      if (!(error instanceof OperatingError)) throw error;
      counters.packetsIn += batch.packetCount;
      counters.dropped['link-type'] += batch.packetCount;
      return;
    }
    const filtered = batch.packetCount - (wanted?.packetCount ?? 0);
    counters.packetsIn += filtered;
    counters.packetsFiltered += filtered;
    if (wanted !== null) this.#loop.run(wanted);
  }

  #tickAt(nowMs: number): void {
    const segments = this.#segments;
    segments.pending.nowMs = nowMs;
    const tickMs = this.#flushIntervalMs / TICKS_PER_FLUSH;
    this.#nextTickAtMs = nowMs + tickMs;
    segments.flush(nowMs - this.#flushIntervalMs + tickMs);
    if (nowMs < this.#nextSweepAtMs) return;
    this.#nextSweepAtMs = nowMs + SWEEP_INTERVAL_MS;
    segments.closeIdle(this.#sources.newestPeriod, this.#clock.wallMs());
    this.#sources.allowEviction();
    // Nobody asks for durability (an offline split): then nobody needs the list either.
    if (!this.#isSyncUsed && segments.pending.touchedCount > this.#sourcesMax) segments.pending.takeTouched();
  }

  async #syncNow(): Promise<void> {
    this.flush();
    const touched = this.#segments.pending.takeTouched();
    try {
      await this.#syncAll([...touched.keys()]);
      if (touched.size > 0) await this.#files.syncDirectory(this.directory);
    } catch (error) {
      this.#segments.pending.touchAgain(touched);
      throw this.#failed(`the archive ${this.directory} could not be synced`, error);
    }
    if (this.#segments.pending.failing > 0) {
      this.#segments.pending.touchAgain(touched);
      throw this.#failed(
        `the archive ${this.directory} has packets that the disk refuses`,
        this.#segments.pending.failure,
      );
    }
    this.#positions = [...touched].map(([name, bytes]) => ({ name, bytes }));
  }

  async #syncAll(names: string[]): Promise<void> {
    const next = names.values();
    const worker = async (): Promise<void> => {
      for (const name of next) await this.#files.sync(`${this.directory}/${name}`);
    };
    await Promise.all(Array.from({ length: SYNCS_AT_ONCE }, worker));
  }

  #countOverflow(prefix: string): void {
    this.counters.packetsOverflowed++;
    const period = this.#sources.newestPeriod;
    if (period === this.#overflowPeriod) return;
    this.#overflowPeriod = period;
    this.#events.sourcesExhausted?.({ sourcesMax: this.#sourcesMax, prefix });
  }

  /** The caller's events, with the counters that belong to them. */
  #counted(events: ArchiveEvents): ArchiveEvents {
    const { counters } = this;
    return {
      ...events,
      segmentOpened(segment) {
        counters.segmentsOpened++;
        events.segmentOpened?.(segment);
      },
      segmentRepaired(segment) {
        counters.repaired.files++;
        counters.repaired.bytesCut += segment.bytesCut;
        events.segmentRepaired?.(segment);
      },
      segmentSetAside(segment) {
        counters.repaired.filesSetAside++;
        events.segmentSetAside?.(segment);
      },
    };
  }

  #failed(what: string, cause: unknown): OperatingError {
    return new OperatingError(
      'ARCHIVE_FAILED',
      `${what}: ${messageOf(cause)}`,
      { directory: this.directory },
      cause,
    );
  }
}
