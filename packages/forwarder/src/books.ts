/**
 * What the forwarder counts: its books for the log, the status page and Prometheus, and what the collector is told of them.
 */
import type { Archive } from '@tapline/shared/archive/archive.ts';
import { droppedPackets } from '@tapline/shared/archive/archive-options.ts';
import { FIRST_ARCHIVE, type ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import { archiveBooks } from '@tapline/shared/daemon/archive-books.ts';
import type { Feeds } from '@tapline/shared/daemon/feeds.ts';
import type { Keeper } from '@tapline/shared/keep/keeper.ts';
import type { Books } from '@tapline/shared/observe/books.ts';
import type { TlsIdentity } from '@tapline/shared/system/tls-identity.ts';
import type { CaptureSource } from './capture/capture-source.ts';
import type { DuplicateFilter } from './dedupe/duplicate-filter.ts';
import type { EdgeResponder } from './edge/edge-responder.ts';
import type { ForwardSelection } from './filter/forward-selection.ts';
import type { Uplink } from './tunnel/uplink.ts';

/** What of the row there is, with what it counts. */
export interface CountedStations {
  readonly capture: CaptureSource;
  readonly archive: ArchiveSet | null;
  readonly keeper: Keeper | null;
  readonly feeds: Feeds;
  readonly edge: EdgeResponder | null;
  readonly duplicates: DuplicateFilter | null;
  readonly selection: ForwardSelection;
  readonly uplink: Uplink | null;
  readonly isPlaintext: boolean;
  readonly tls: TlsIdentity | null;
}

/** All counters of the row at one moment. */
export function forwarderBooks(stations: CountedStations): Books {
  const { capture, archive, keeper, feeds, edge, uplink } = stations;
  const first = firstOf(archive);
  const further = archive?.members.filter(({ name }) => name !== FIRST_ARCHIVE) ?? [];
  return {
    capture: { ...capture.counters() },
    archive: first === null ? null : archiveBooks(first),
    keeper: keeper?.books() ?? null,
    feeds: feeds.books(),
    edge: edge === null ? null : { ...edge.counters },
    archives: further.map((member) => ({ archive: member.name, ...archiveBooks(member.archive) })),
    uplink: uplink === null ? null : uplinkBooks(uplink, stations),
  };
}

function uplinkBooks({ counters }: Uplink, stations: CountedStations): Books {
  const { duplicates, selection, isPlaintext, tls } = stations;
  return {
    duplicatePackets: duplicates?.counters.duplicatePackets ?? 0,
    duplicateBytes: duplicates?.counters.duplicateBytes ?? 0,
    filteredPackets: selection.filteredPackets,
    offeredPackets: counters.offeredPackets,
    recoveredPackets: counters.recoveredPackets,
    acknowledgedPackets: counters.acknowledgedPackets,
    queuedPacketsNow: counters.queuedPackets,
    queuedBytesNow: counters.queuedBytes,
    spooledBytesNow: counters.spooledBytes,
    droppedPackets: Object.values(counters.dropped).reduce((sum, packets) => sum + packets, 0),
    resentPackets: counters.resentPackets,
    offeredBytes: counters.offeredBytes,
    sentBytes: counters.sentBytes,
    connections: counters.connections,
    clockOffsetMsNow: counters.clockOffsetMs,
    plaintextNow: isPlaintext ? 1 : 0,
    ...(tls === null ? {} : { certificateDaysLeftNow: tls.daysLeft }),
    droppedByReason: { ...counters.dropped },
  };
}

/** What the collector is told of this side: so that loss on the probe is known in the SOC. */
export function reportedCounters(
  { capture: source, archive, selection, duplicates }: CountedStations,
  spoolBytesMax: number,
): Record<string, number> {
  const capture = source.counters();
  const stored = firstOf(archive)?.counters;
  return {
    uptime_seconds: Math.round(process.uptime()),
    spool_bytes_max: spoolBytesMax,
    captured_packets: capture.packets,
    capture_kernel_dropped_packets: capture.kernelDroppedPackets,
    capture_kernel_freezes: capture.kernelFreezes,
    capture_interface_dropped_packets: capture.interfaceDroppedPackets,
    capture_filtered_packets: capture.filteredPackets,
    archive_stored_packets: stored?.packetsStored ?? 0,
    archive_dropped_packets: stored === undefined ? 0 : droppedPackets(stored),
    forward_filtered_packets: selection.filteredPackets,
    ...(duplicates === null
      ? {}
      : {
          forward_seen_packets: duplicates.counters.seenPackets,
          forward_duplicate_packets: duplicates.counters.duplicatePackets,
        }),
  };
}

/** The archive of the configuration's `archive`; null when only further ones are kept. */
function firstOf(archives: ArchiveSet | null): Archive | null {
  return archives?.members.find(({ name }) => name === FIRST_ARCHIVE)?.archive ?? null;
}
