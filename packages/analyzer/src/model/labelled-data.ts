/**
 * Labelled captures, as `train` and `evaluate` read them: a directory with two tables.
 *
 *   MANIFEST.tsv   path, label (`benign…` or `attack…`), origin_repo: the testbed that a capture comes from, sha256 of the file (without it: it is reckoned)
 *   LABELS.tsv     path, class (`attack`: every packet; `mixed`: those of packet_label_file), attack_type, rule_machine (`unlabelled`: not known which packets),
 *                  packet_label_file: ranges `first,last`, or one line a packet that ends in `1` for an attack
 *
 * Columns are found by their names; others are ignored. The testbed matters more than the label: what is learnt on one testbed and tested on another is
 * what a plant will see; a split of one testbed's packets is not.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';

const MANIFEST = 'MANIFEST.tsv';

export interface LabelledCapture {
  readonly path: string;
  /** Where one recording lies in several files: all of them. */
  readonly paths?: readonly string[];
  /** Path inside the directory. */
  readonly name: string;
  readonly testbed: string;
  /** `unlabelled`: there is an attack in it, and nobody knows in which packets. */
  readonly kind: 'attack' | 'mixed' | 'benign' | 'unlabelled';
  /** `syn-flood`, `benign`. */
  readonly attackType: string;
  /** Whether the packet with that number (from 1) is part of an attack. */
  readonly isAttack: (packet: number) => boolean;
  /** SHA-256 of the file, as the manifest has it. */
  readonly sha256: string;
}

/** One line a packet, of a capture of a few million. */
const LABEL_BYTES_MAX = 256 * 1024 * 1024;

type Row = Readonly<Record<string, string>>;

/** Every capture of the directory that has a label. Throws CONFIG_INVALID for a directory without the tables. */
export function readLabelledData(place: string): LabelledCapture[] {
  // The manifest itself may be named as well.
  const directory = basename(place) === MANIFEST ? dirname(place) : place;
  const manifest = readTable(join(directory, MANIFEST));
  const labels = new Map(readTable(join(directory, 'LABELS.tsv')).map((row) => [row['path'] ?? '', row]));
  return manifest.flatMap((row) => {
    const name = row['path'] ?? '';
    const path = join(directory, name);
    if (!/\.(pcap|pcapng|cap)(\.gz)?$/.test(name) || !existsSync(path)) return [];
    const capture = labelled(directory, row, labels.get(name));
    return capture === null ? [] : [{ ...capture, path, name, testbed: row['origin_repo'] ?? '', sha256: row['sha256'] || sha256Of(path) }];
  }); // prettier-ignore
}

function labelled(
  directory: string,
  row: Row,
  label: Row | undefined,
): Pick<LabelledCapture, 'kind' | 'attackType' | 'isAttack'> | null {
  if (label === undefined) {
    if (!/^benign/.test(row['label'] ?? '')) return null;
    return { kind: 'benign', attackType: 'benign', isAttack: () => false };
  }
  const attackType = label['attack_type'] ?? '';
  const file = label['packet_label_file'] ?? '';
  if (label['class'] === 'benign-during-attack')
    return { kind: 'benign', attackType: 'benign', isAttack: () => false };
  if (label['class'] === 'attack') return { kind: 'attack', attackType, isAttack: () => true };
  const isKnown = file !== '' && label['attack_packets'] !== '' && !(label['rule_machine'] ?? '').startsWith('csvtimepair'); // prettier-ignore
  if (!isKnown) return { kind: 'unlabelled', attackType, isAttack: () => false };
  return { kind: 'mixed', attackType, isAttack: packetLabels(join(directory, file)) };
}

/** Captures are told apart by it: what a model was trained with must not be what it is tested with. */
function sha256Of(path: string): string {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(1024 * 1024);
  return reading(path, () => {
    const file = openSync(path, 'r');
    try {
      for (let bytes = -1; bytes !== 0;) hash.update(chunk.subarray(0, (bytes = readSync(file, chunk))));
    } finally {
      closeSync(file);
    }
    return hash.digest('hex');
  });
}

/** A table with a line of column names. */
function readTable(path: string): Row[] {
  if (!existsSync(path))
    throw new OperatingError('CONFIG_INVALID', `${path} is not there: labelled data has MANIFEST.tsv and LABELS.tsv`, { file: path }); // prettier-ignore
  const [header = '', ...lines] = readBytes(path).toString().split(/\r?\n/);
  const names = header.trimEnd().split('\t');
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const values = line.split('\t');
      return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']));
    });
}

/** What stands in the file, unpacked. */
function readBytes(path: string): Buffer {
  return reading(path, () => {
    const bytes = readFileSync(path);
    return path.endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: LABEL_BYTES_MAX }) : bytes;
  });
}

/** Throws CONFIG_INVALID for whatever keeps `read` from reading. */
function reading<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new OperatingError('CONFIG_INVALID', `cannot read ${path}: ${messageOf(error)}; correct it, or the line that names it`, { file: path }, error); // prettier-ignore
  }
}

function packetLabels(path: string): (packet: number) => boolean {
  const lines = readBytes(path).toString().split('\n').filter((line) => /^\d/.test(line)); // prettier-ignore
  if (/ranges\.csv$/.test(path)) {
    const ranges = lines.map((line) => line.split(',').map(Number) as [number, number]);
    const starts = Float64Array.from(ranges, ([first]) => first);
    return (packet) => {
      let low = 0;
      let high = starts.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((starts[middle] as number) <= packet) low = middle + 1;
        else high = middle;
      }
      return low > 0 && packet <= (ranges[low - 1]?.[1] ?? -1);
    };
  }
  const attacks = new Set<number>();
  for (const line of lines) {
    const fields = line.trim().split(/[;,]/);
    if (fields.at(-1) === '1') attacks.add(Number(fields[0]));
  }
  return (packet) => attacks.has(packet);
}
