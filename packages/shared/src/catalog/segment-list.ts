/**
 * Which segments of an archive may hold packets of a span of time, by their names alone: no file is opened for it. What is there of
 * a segment (its packets, plain or packed, its index, its sidecar) is told by the directory.
 */
import { readdirSync } from 'node:fs';
import { longestPeriod } from '../archive/period-note.ts';
import { parseSegmentName } from '../archive/segment-name.ts';
import { systemFiles } from '../system/files.ts';
import { placesOf } from './places.ts';

export interface ListedSegment {
  readonly directory: string;
  readonly sensor: string;
  /** `10.0.1.7_20260101_00`. */
  readonly stem: string;
  readonly prefix: string;
  readonly startSeconds: number;
  /** How its packets lie here: `gone` when only the sidecar is left. */
  readonly form: 'plain' | 'gzip' | 'zstd' | 'gone';
  readonly hasIndex: boolean;
  readonly hasSidecar: boolean;
}

export interface ListOptions {
  readonly roots: readonly string[];
  /** The archive of a forwarder: segments lie in the root itself. */
  readonly isSinglePlace: boolean;
  /** Empty: all. */
  readonly sensors: readonly string[];
  readonly fromSeconds: number;
  readonly toSeconds: number;
}

/** In the order of their names. */
export function listSegments(options: ListOptions): ListedSegment[] {
  const { roots, isSinglePlace, sensors } = options;
  return roots
    .flatMap((root) => placesOf(root, isSinglePlace))
    .filter(({ sensor }) => sensors.length === 0 || isSinglePlace || sensors.includes(sensor))
    .flatMap(({ directory, sensor }) => listPlace(directory, sensor, options));
}

function listPlace(
  directory: string,
  sensor: string,
  { fromSeconds, toSeconds }: ListOptions,
): ListedSegment[] {
  const names = readdirSync(directory);
  const present = new Set(names);
  const reach = longestPeriod(systemFiles, directory);
  const stems = new Set<string>();
  const segments: ListedSegment[] = [];
  for (const name of names) {
    const stem = /^(.*?)\.(?:pcap|pcap\.gz|pcap\.zst|json)$/.exec(name)?.[1];
    if (stem === undefined || stems.has(stem)) continue;
    const parsed = parseSegmentName(`${stem}.pcap`);
    if (parsed === null) continue;
    stems.add(stem);
    const { startSeconds, prefix } = parsed;
    if (startSeconds > toSeconds || startSeconds + reach <= fromSeconds) continue;
    segments.push({
      directory,
      sensor,
      stem,
      prefix,
      startSeconds,
      // While one takes the place of the other both are there: the plain one is whole.
      form: present.has(`${stem}.pcap`)
        ? 'plain'
        : present.has(`${stem}.pcap.gz`)
          ? 'gzip'
          : present.has(`${stem}.pcap.zst`)
            ? 'zstd'
            : 'gone',
      hasIndex: present.has(`${stem}.idx`),
      hasSidecar: present.has(`${stem}.json`),
    });
  }
  return segments.sort((a, b) => (a.stem < b.stem ? -1 : 1));
}
