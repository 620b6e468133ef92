/** The collector's books: all counters of its row at one moment, for the log, the status page and Prometheus. */
import { newCounters } from '@tapline/shared/archive/archive-options.ts';
import { FIRST_ARCHIVE, type ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import { archiveBooks } from '@tapline/shared/daemon/archive-books.ts';
import { sumOfBooks, type Books } from '@tapline/shared/observe/books.ts';
import type { Feeds } from '@tapline/shared/daemon/feeds.ts';
import type { Keeper } from '@tapline/shared/keep/keeper.ts';
import type { TlsIdentity } from '@tapline/shared/system/tls-identity.ts';
import type { DatagramIntake } from './listen/datagram-intake.ts';
import type { MirrorListener } from './listen/mirror/mirror-listener.ts';
import type { PlainArchives } from './listen/plain-archives.ts';
import type { PlainIntake } from './listen/plain-intake.ts';
import type { TcpListener } from './listen/tcp-listener.ts';
import type { UdpListener } from './listen/udp-listener.ts';
import type { SensorIntake } from './session/sensor-intake.ts';

/** What of the row there is, with what it counts. */
export interface CountedStations {
  readonly tcp: TcpListener | null;
  readonly udp: UdpListener | null;
  readonly tls: TlsIdentity | null;
  readonly plain: PlainIntake;
  readonly plainArchives: PlainArchives;
  readonly mirrors: readonly MirrorListener[];
  readonly datagrams: DatagramIntake | null;
  readonly sensors: readonly SensorIntake[];
  readonly archives: readonly ArchiveSet[];
  readonly keeper: Keeper;
  readonly feeds: Feeds;
}

export function collectorBooks(stations: CountedStations): Books {
  const { tcp, udp, tls, plain, plainArchives, mirrors, datagrams, sensors, archives } = stations;
  return {
    listen: {
      ...(tcp?.counters ?? {}),
      connectionsNow: tcp?.connectionCount ?? 0,
      plaintextNow: tls === null ? 1 : 0,
      ...(tls === null ? {} : { certificateDaysLeftNow: tls.daysLeft }),
      kernelDroppedPackets: udp?.kernelDroppedPackets() ?? 0,
      ...(udp?.counters ?? {}),
    },
    udpTunnel: datagramBooks(datagrams),
    plain: {
      packets: plain.counters.packets,
      bytes: plain.counters.bytes,
      droppedByReason: { ...plain.counters.dropped, ...plainArchives.counters.droppedByReason },
    },
    mirrors: mirrorBooks(mirrors),
    tunnel: {
      sensorsNow: sensors.filter((intake) => intake.isConnected).length,
      packets: sensors.reduce((total, intake) => total + intake.counters.packets, 0),
      gapPackets: sensors.reduce((total, intake) => total + intake.counters.gapPackets, 0),
      duplicateFrames: sensors.reduce((total, intake) => total + intake.counters.duplicateFrames, 0),
      missingFrames: sensors.reduce((total, intake) => total + intake.counters.missingFrames, 0),
      lostPackets: sensors.reduce((total, intake) => total + intake.counters.lostPackets, 0),
    },
    ...booksOfArchives(archives),
    keeper: stations.keeper.books(),
    feeds: stations.feeds.books(),
    sensors: sensors.map((intake) => ({
      sensor: intake.sensor,
      connectedNow: intake.isConnected ? 1 : 0,
      clockOffsetMsNow: intake.clockOffsetMs ?? 0,
      heardSecondsAgoNow: Math.max(0, (Date.now() - intake.lastHeardAtMs) / 1000),
      ...intake.counters,
    })),
  };
}

/** The first archive of all places together, and each further one. */
function booksOfArchives(sets: readonly ArchiveSet[]): { archive: Books; archives: Books[] } {
  const members = sets.flatMap((set) => set.members);
  const sumOf = (wanted: string): Books =>
    sumOfBooks(members.filter(({ name }) => name === wanted).map(({ archive }) => archiveBooks(archive)));
  const further = new Set(members.map(({ name }) => name).filter((name) => name !== FIRST_ARCHIVE));
  return {
    archive: sumOfBooks([archiveBooks({ counters: newCounters() }), sumOf(FIRST_ARCHIVE)]),
    archives: [...further].map((name) => ({ archive: name, ...sumOf(name) })),
  };
}

function mirrorBooks(mirrors: readonly MirrorListener[]): Books | null {
  if (mirrors.length === 0) return null;
  const sum = (value: (mirror: MirrorListener) => number): number =>
    mirrors.reduce((total, mirror) => total + value(mirror), 0);
  const reasons = mirrors.flatMap(({ intake }) => Object.keys(intake.counters.dropped));
  return {
    packets: sum(({ intake }) => intake.counters.packets),
    missingPackets: sum(({ intake }) => intake.counters.missingPackets),
    truncatedPackets: sum(({ intake }) => intake.counters.truncatedPackets),
    kernelDroppedPackets: sum((mirror) => mirror.kernelDroppedPackets()),
    droppedByReason: Object.fromEntries(
      [...new Set(reasons)].map((reason) => [
        reason,
        sum(({ intake }) => intake.counters.dropped[reason as keyof typeof intake.counters.dropped]),
      ]),
    ),
  };
}

function datagramBooks(datagrams: DatagramIntake | null): Books | null {
  if (datagrams === null) return null;
  const { rejected, ...counters } = datagrams.counters;
  return {
    ...counters,
    missingDatagrams: datagrams.missingDatagrams,
    epochsNow: datagrams.epochCount,
    heldBytesNow: datagrams.heldBytes,
    rejectedByReason: { ...rejected },
  };
}
