/** What one archive counts, as books: the same words in every program that stores packets. */
import type { Archive } from '../archive/archive.ts';
import { droppedPackets } from '../archive/archive-options.ts';
import type { Books } from '../observe/books.ts';

/** packetsIn + packetsCopied = packetsFiltered + packetsStored + packetsBufferedNow + packetsDropped. */
export function archiveBooks({ counters }: Pick<Archive, 'counters'>): Books {
  return {
    packetsIn: counters.packetsIn,
    packetsCopied: counters.packetsCopied,
    packetsFiltered: counters.packetsFiltered,
    packetsStored: counters.packetsStored,
    packetsBufferedNow: counters.packetsBuffered,
    packetsDropped: droppedPackets(counters),
    bytesStored: counters.bytesStored,
    packetsOverflowed: counters.packetsOverflowed,
    packetsReordered: counters.packetsReordered,
    packetsLate: counters.packetsLate,
    segmentsOpened: counters.segmentsOpened,
    segmentsClosed: counters.segmentsClosed,
    segmentsRepaired: counters.repaired.files,
    bytesCut: counters.repaired.bytesCut,
    segmentsSetAside: counters.repaired.filesSetAside,
    droppedByReason: { ...counters.dropped },
  };
}
