/**
 * Names of segments: `<prefix>_<stamp>.pcap`, the stamp being the beginning of the segment's period in UTC, by packet time.
 *
 *   10.0.1.7_20260101_00.pcap            IPv4 source             00-11-22-33-44-55_20260101_00.pcap   not IP: source MAC
 *   fe80--1_20260101_00.pcap             IPv6: `-` for `:`       non-ip_20260101_00.pcap              no MAC either
 *   plc1_20260101_00.pcap                a rule's prefix         overflow_20260101_00.pcap            beyond sourcesMax
 *   10.0.1.7.sll_20260101_00.pcap        frames of another link type than the archive's own
 *   10.0.1.7_10.0.1.9_20260101_00.pcap   split by pair           all_20260101_00.pcap                 not split
 *   10.0.1.7_20260101_0010.pcap          periods of minutes; of seconds: 20260101_001030
 *   10.0.1.7_20260101_00-2.pcap          the second of this name: after a restart, a rotation, or a full segment
 *   10.0.1.7_20260101_00-late.pcap       packets that came too late for the segments before it; the next: …-late-2
 *
 * The plain name belongs to Ethernet frames, and with `linkType: raw` also to IP packets without a link header: there
 * an IP address and a MAC cannot be mistaken for each other. Everything else carries its link type in the prefix.
 *
 * Beside a closed segment lie its sidecar (`.json` for `.pcap`) and its index (`.idx`); packed, it is called `.pcap.gz` or
 * `.pcap.zst`. A name whose sidecar is there is taken, whether or not its packets still are.
 */
import { LINKTYPE_ETHERNET, LINKTYPE_RAW, linkTypeName } from '../packet/link-type.ts';

/** Longest prefix in bytes: 255 of a file name, less `_YYYYMMDD_HHMMSS-late-9999.pcap.zst`, less room for a link type's name. */
export const PREFIX_BYTES_MAX = 190;
export const SECONDS_PER_HOUR = 3600;
const SECONDS_PER_MINUTE = 60;

export const OVERFLOW_PREFIX = 'overflow';
export const OVERFLOW_FRAMES_PREFIX = 'overflow-non-ip';
export const NO_MAC_PREFIX = 'non-ip';
/** Of an archive that is not split. */
export const ALL_PREFIX = 'all';
/** The same, for what has no IP packet in it, beside IP packets without their link header. */
export const ALL_FRAMES_PREFIX = 'all_l2';
/** Between the two addresses of a pair. */
export const PAIR_SEPARATOR = '_';

const SEGMENT_NAME =
  /^(.+)_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)?(\d\d)?(-late)?(?:-([1-9]\d{0,3}))?\.pcap(\.gz|\.zst)?$/u;

export interface SegmentName {
  readonly prefix: string;
  /** Beginning of the period, seconds since 1970 UTC. */
  readonly startSeconds: number;
  /** The name gives hours, minutes or seconds: the period is no shorter than this. */
  readonly unitSeconds: number;
  readonly isLate: boolean;
  /** 1, or the number at the end. */
  readonly ordinal: number;
  readonly compression: 'none' | 'gzip' | 'zstd';
}

/** `YYYYMMDD_HH` of a period's beginning; with minutes and seconds where periods are so short. */
export function periodStamp(startSeconds: number, periodSeconds: number): string {
  const text = new Date(startSeconds * 1000).toISOString();
  const minutes = periodSeconds % SECONDS_PER_HOUR === 0 ? '' : text.slice(14, 16);
  const seconds = periodSeconds % SECONDS_PER_MINUTE === 0 ? '' : text.slice(17, 19);
  return `${text.slice(0, 4)}${text.slice(5, 7)}${text.slice(8, 10)}_${text.slice(11, 13)}${minutes}${seconds}`;
}

/** The name of a segment; `period` counts periods of `periodSeconds` since 1970 UTC. */
export function formatSegmentName(
  prefix: string,
  period: number,
  periodSeconds = SECONDS_PER_HOUR,
  isLate = false,
  ordinal = 1,
): string {
  const stamp = periodStamp(period * periodSeconds, periodSeconds);
  return `${prefix}_${stamp}${isLate ? '-late' : ''}${ordinal === 1 ? '' : `-${ordinal}`}.pcap`;
}

/** `null` when it is not the name of a segment. */
export function parseSegmentName(name: string): SegmentName | null {
  const match = SEGMENT_NAME.exec(name);
  if (match === null) return null;
  const [, prefix = '', year, month, day, hour, minute, second, late, ordinal, packed] = match;
  if (prefix.startsWith('.')) return null;
  const milliseconds = Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute ?? 0),
    Number(second ?? 0),
  );
  return {
    prefix,
    startSeconds: milliseconds / 1000,
    unitSeconds: second !== undefined ? 1 : minute !== undefined ? SECONDS_PER_MINUTE : SECONDS_PER_HOUR,
    isLate: late !== undefined,
    ordinal: Number(ordinal ?? 1),
    compression: packed === '.gz' ? 'gzip' : packed === '.zst' ? 'zstd' : 'none',
  };
}

/** `10.0.1.7_20260101_00` of a segment's name, packed or not: what its sidecar and index begin with. */
export function segmentStem(name: string): string {
  return name.replace(/\.pcap(\.gz|\.zst)?$/, '');
}

export function sidecarName(name: string): string {
  return `${segmentStem(name)}.json`;
}

export function indexName(name: string): string {
  return `${segmentStem(name)}.idx`;
}

/**
 * A prefix that is safe as the beginning of a file name everywhere: letters, digits and `._-+@=,` stay, the rest
 * (slashes, colons, spaces, `%`, control characters) becomes `_`, so does a leading `.` (hidden) or `-` (an option to
 * every tool); at most PREFIX_BYTES_MAX bytes. Prefixes that become equal share their segments.
 */
export function cleanPrefix(text: string): string {
  let prefix = text.replace(/[^\p{L}\p{M}\p{N}._+@=,-]/gu, '_').replace(/^[.-]/, '_');
  while (Buffer.byteLength(prefix) > PREFIX_BYTES_MAX) prefix = prefix.slice(0, -1);
  return prefix.toWellFormed() === '' ? '_' : prefix.toWellFormed();
}

/** The prefix with the name of its link type behind it where the plain name belongs to another. */
export function prefixWithLinkType(
  prefix: string,
  linkType: number,
  archiveLinkType: 'ethernet' | 'raw',
): string {
  if (linkType === LINKTYPE_ETHERNET) return prefix;
  if (linkType === LINKTYPE_RAW && archiveLinkType === 'raw') return prefix;
  return `${prefix}.${linkTypeName(linkType)}`;
}
