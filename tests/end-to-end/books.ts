/**
 * The books of one run: what the two archives really hold, read back from the files, beside what the daemons counted.
 *
 * `npm start` prints them and the end-to-end tests check them: counters are claims, files are proof.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import { parseSegmentName } from '@tapline/shared/archive/segment-name.ts';

export interface SourceBook {
  readonly prefix: string;
  edgePackets: number;
  socPackets: number;
  socBytes: number;
  /** The newest segment at the collector, to open with tshark; the edge's where the collector has none. */
  file: string;
}

/** The link type's name that segments of other link types than the archive's own carry behind their source. */
const LINK_TYPE_SUFFIX = /\.(?:null|ppp|raw|c-hdlc|loop|sll2?|ipv[46]|linktype\d+)$/;

/** Counts every packet of every segment in `directory`, prefix by prefix. A damaged segment throws. */
async function countSegments(
  directory: string,
  each: (prefix: string, file: string, packets: number, bytes: number) => void,
): Promise<number> {
  let total = 0;
  for (const name of readdirSync(directory).sort()) {
    const segment = parseSegmentName(name);
    if (segment === null) continue;
    const file = join(directory, name);
    const capture = await openCapture(file);
    let packets = 0;
    let bytes = 0;
    for await (const batch of capture.batches()) {
      packets += batch.packetCount;
      bytes += batch.byteLength;
    }
    each(segment.prefix.replace(LINK_TYPE_SUFFIX, ''), file, packets, bytes);
    total += packets;
  }
  return total;
}

/** Reads both archives back. */
export async function readBooks(
  edgeDirectory: string,
  socDirectory: string,
): Promise<{ sources: SourceBook[]; edgePackets: number; socPackets: number }> {
  const sources = new Map<string, SourceBook>();
  const book = (prefix: string): SourceBook => {
    let entry = sources.get(prefix);
    if (entry === undefined) {
      entry = { prefix, edgePackets: 0, socPackets: 0, socBytes: 0, file: '' };
      sources.set(prefix, entry);
    }
    return entry;
  };
  const edgePackets = await countSegments(edgeDirectory, (prefix, file, packets) => {
    const entry = book(prefix);
    entry.edgePackets += packets;
    entry.file = file;
  });
  const socPackets = await countSegments(socDirectory, (prefix, file, packets, bytes) => {
    const entry = book(prefix);
    entry.socPackets += packets;
    entry.socBytes += bytes;
    entry.file = file;
  });
  const byPackets = [...sources.values()].sort((a, b) => b.edgePackets - a.edgePackets);
  return { sources: byPackets, edgePackets, socPackets };
}
