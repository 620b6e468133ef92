/**
 * From a query to what has to be read for it: the segments whose names, and the parts of them whose indexes, may hold wanted
 * packets.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { OperatingError } from '../base/errors.ts';
import { listSegments, type ListOptions, type ListedSegment } from '../catalog/segment-list.ts';
import { decodeIndex, type SegmentIndex } from '../catalog/segment-index.ts';
import { PCAP_INDEX_BYTES_MAX } from '../catalog/varint.ts';
import type { PacketQuery } from '../catalog/packet-query.ts';
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import { parseFileHeader } from '../pcap/pcap-writer.ts';
import { errnoOf } from '../system/files.ts';
import { rangesOf, type PlannedSegment, type Range } from './segment-reader.ts';
import { GzipSource, PackedFile, PlainSource, zstdSource, type SegmentSource } from './segment-source.ts';

/** Files that are kept open; beyond, each read opens its file. */
const OPEN_FILES_MAX = 400;

/** How to read a segment whose packets lie elsewhere; `null`: nobody knows where. */
export type OpenElsewhere = (segment: ListedSegment, index: SegmentIndex) => SegmentSource | null;

export interface ExportPlan {
  readonly segments: readonly PlannedSegment[];
  /** LINKTYPE_ values of the segments to be read. */
  readonly linkTypes: ReadonlySet<number>;
  /** By name and time. */
  readonly segmentsConsidered: number;
  /** What will be read at most. */
  readonly bytesPlanned: number;
  /** Segments whose packets are not here any more, and not elsewhere either. */
  readonly segmentsGone: number;
}

/** Throws what the disk throws for the directories of the archive. */
export function planExport(
  where: Pick<ListOptions, 'roots' | 'isSinglePlace' | 'sensors'>,
  query: PacketQuery,
  openElsewhere: OpenElsewhere = () => null,
): ExportPlan {
  const listed = listSegments({ ...where, fromSeconds: query.fromSeconds, toSeconds: query.toSeconds });
  const segments: PlannedSegment[] = [];
  const linkTypes = new Set<number>();
  let bytesPlanned = 0;
  let segmentsGone = 0;
  for (const segment of listed) {
    const found = inspect(segment);
    if (found === null) {
      if (segment.form === 'gone') segmentsGone++;
      continue;
    }
    const { index, byteLength, linkType } = found;
    const ranges = rangesOf(index, query, byteLength);
    if (ranges.length === 0) continue;
    if (segment.form === 'gone' && (index === null || openElsewhere(segment, index) === null)) {
      segmentsGone++;
      continue;
    }
    const bytes = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    bytesPlanned += bytes;
    linkTypes.add(linkType);
    segments.push({
      name: `${segment.sensor === '' ? '' : `${segment.sensor}/`}${segment.stem}.pcap`,
      ranges,
      ...notBefore(segment, index, ranges),
      open: () => open(segment, index, byteLength, segments.length <= OPEN_FILES_MAX, openElsewhere),
    });
  }
  return { segments, linkTypes, segmentsConsidered: listed.length, bytesPlanned, segmentsGone };
}

interface Inspected {
  readonly index: SegmentIndex | null;
  /** Of the plain segment. */
  readonly byteLength: number;
  readonly linkType: number;
}

/** `null`: it is gone, or no segment. */
function inspect(segment: ListedSegment): Inspected | null {
  const index = segment.hasIndex ? loadIndex(`${segment.directory}/${segment.stem}.idx`) : null;
  if (segment.form !== 'plain') {
    // Packed ones are whole and have an index; without it their length is not known, and all of it is read.
    if (index !== null) return { index, byteLength: index.coveredBytes, linkType: index.linkType };
    return segment.form === 'gone' ? null : inspectPacked(segment);
  }
  const path = `${segment.directory}/${segment.stem}.pcap`;
  try {
    if (index !== null) return { index, byteLength: statSync(path).size, linkType: index.linkType };
    return inspectPlain(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

function inspectPlain(path: string): Inspected | null {
  const descriptor = openSync(path, 'r');
  try {
    const bytes = new Uint8Array(FILE_HEADER_BYTES);
    const count = readSync(descriptor, bytes, 0, FILE_HEADER_BYTES, 0);
    const header = parseFileHeader(bytes.subarray(0, count));
    if (header.kind === 'malformed') return null;
    return { index: null, byteLength: fstatSync(descriptor).size, linkType: header.linkType };
  } finally {
    closeSync(descriptor);
  }
}

/** A packed segment that has lost its index: its sidecar knows what is needed. */
function inspectPacked({ directory, stem }: ListedSegment): Inspected | null {
  try {
    const sidecar = JSON.parse(readFileSync(`${directory}/${stem}.json`, 'utf8')) as Record<string, unknown>;
    const { fileBytes, linkType } = sidecar;
    if (typeof fileBytes !== 'number' || typeof linkType !== 'number') return null;
    return { index: null, byteLength: fileBytes, linkType };
  } catch {
    return null;
  }
}

/** `null` for an index that is not there any more, too long or damaged: the segment is read without. */
export function loadIndex(path: string): SegmentIndex | null {
  try {
    if (statSync(path).size > PCAP_INDEX_BYTES_MAX) return null;
    return decodeIndex(readFileSync(path));
  } catch {
    return null;
  }
}

function notBefore(
  segment: ListedSegment,
  index: SegmentIndex | null,
  [first]: readonly Range[],
): Pick<PlannedSegment, 'notBeforeSeconds' | 'notBeforeNanoseconds'> {
  const block = index?.blocks.find(({ offset }) => offset === first?.start);
  if (block === undefined) return { notBeforeSeconds: segment.startSeconds, notBeforeNanoseconds: 0 };
  return { notBeforeSeconds: block.firstSeconds, notBeforeNanoseconds: block.firstNanoseconds };
}

function open(
  segment: ListedSegment,
  index: SegmentIndex | null,
  byteLength: number,
  isKeptOpen: boolean,
  openElsewhere: OpenElsewhere,
): SegmentSource {
  const path = `${segment.directory}/${segment.stem}.pcap`;
  switch (segment.form) {
    case 'plain':
      return new PlainSource(path, isKeptOpen);
    case 'gzip': {
      const packed = new PackedFile(`${path}.gz`);
      const chunks = index?.chunks ?? [];
      if (chunks.length > 0) return new GzipSource(`${path}.gz`, packed, chunks, byteLength);
      packed.close();
      throw new OperatingError('PCAP_INVALID', `${path}.gz has no index that says where to begin: rebuild it with \`index\``, { file: path }); // prettier-ignore
    }
    case 'zstd':
      return zstdSource(`${path}.zst`, byteLength);
    case 'gone': {
      const source = index === null ? null : openElsewhere(segment, index);
      if (source === null) throw new OperatingError('ARCHIVE_FAILED', `the packets of ${path} are not here any more`, { file: path }); // prettier-ignore
      return source;
    }
  }
}
