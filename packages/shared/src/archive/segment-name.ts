/**
 * Names of segments: `<prefix>_YYYYMMDD_HH.pcap`, the hour in UTC and by packet time.
 *
 *   10.0.1.7_20260101_00.pcap            IPv4 source             00-11-22-33-44-55_20260101_00.pcap   not IP: source MAC
 *   fe80--1_20260101_00.pcap             IPv6: `-` for `:`       non-ip_20260101_00.pcap              no MAC either
 *   plc1_20260101_00.pcap                a rule's prefix         overflow_20260101_00.pcap            beyond sourcesMax
 *   10.0.1.7.sll_20260101_00.pcap        frames of another link type than the archive's own
 *   10.0.1.7_20260101_00-2.pcap          the plain name holds a file of another precision or link type
 *
 * The plain name belongs to Ethernet frames, and with `linkType: raw` also to IP packets without a link header: there
 * an IP address and a MAC cannot be mistaken for each other. Everything else carries its link type in the prefix.
 */
import { LINKTYPE_ETHERNET, LINKTYPE_RAW, linkTypeName } from '../packet/link-type.ts';

/** Longest prefix in bytes: 255 of a file name, less `_YYYYMMDD_HH-99.pcap`, less room for a link type's name. */
export const PREFIX_BYTES_MAX = 200;
export const SECONDS_PER_HOUR = 3600;

export const OVERFLOW_PREFIX = 'overflow';
export const OVERFLOW_FRAMES_PREFIX = 'overflow-non-ip';
export const NO_MAC_PREFIX = 'non-ip';

const SEGMENT_NAME = /^(.+)_(\d{4})(\d\d)(\d\d)_(\d\d)(?:-([1-9]\d{0,3}))?\.pcap$/u;

export interface SegmentName {
  readonly prefix: string;
  /** Hours since 1970 UTC. */
  readonly hour: number;
  /** 1, or the number behind the hour. */
  readonly ordinal: number;
}

/** The hour of a packet's second: hours since 1970 UTC. */
export function hourOf(seconds: number): number {
  return Math.floor(seconds / SECONDS_PER_HOUR);
}

/** `YYYYMMDD_HH` of an hour since 1970 UTC. */
export function hourStamp(hour: number): string {
  const text = new Date(hour * SECONDS_PER_HOUR * 1000).toISOString();
  return `${text.slice(0, 4)}${text.slice(5, 7)}${text.slice(8, 10)}_${text.slice(11, 13)}`;
}

export function formatSegmentName(prefix: string, hour: number, ordinal = 1): string {
  return `${prefix}_${hourStamp(hour)}${ordinal === 1 ? '' : `-${ordinal}`}.pcap`;
}

/** `null` when it is not the name of a segment. */
export function parseSegmentName(name: string): SegmentName | null {
  const [, prefix, year, month, day, hour, ordinal] = SEGMENT_NAME.exec(name) ?? [];
  if (prefix === undefined || prefix.startsWith('.')) return null;
  const milliseconds = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour));
  return { prefix, hour: hourOf(milliseconds / 1000), ordinal: Number(ordinal ?? 1) };
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
