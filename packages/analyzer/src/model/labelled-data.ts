/**
 * Labelled captures, as `train` and `evaluate` read them: a directory with two tables.
 *
 *   MANIFEST.tsv   path, label (`benign…` or `attack…`), origin_repo: the testbed that a capture comes from
 *   LABELS.tsv     path, class (`attack`: every packet; `mixed`: those of packet_label_file), attack_type, rule_machine (`unlabelled`: not known which packets),
 *                  packet_label_file: ranges `first,last`, or one line a packet that ends in `1` for an attack
 *
 * Columns are found by their names; others are ignored. The testbed matters more than the label: what is learnt on one testbed and tested on another is
 * what a plant will see; a split of one testbed's packets is not.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { OperatingError } from '@tapline/shared/base/errors.ts';

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

type Row = Readonly<Record<string, string>>;

/** Every capture of the directory that has a label. Throws CONFIG_INVALID for a directory without the tables. */
export function readLabelledData(directory: string): LabelledCapture[] {
  const manifest = readTable(join(directory, 'MANIFEST.tsv'));
  const labels = new Map(readTable(join(directory, 'LABELS.tsv')).map((row) => [row['path'] ?? '', row]));
  return manifest.flatMap((row) => {
    const name = row['path'] ?? '';
    const path = join(directory, name);
    if (!/\.(pcap|pcapng|cap)(\.gz)?$/.test(name) || !existsSync(path)) return [];
    const capture = labelled(directory, row, labels.get(name));
    return capture === null ? [] : [{ ...capture, path, name, testbed: row['origin_repo'] ?? '', sha256: row['sha256'] ?? '' }];
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

/** A table with a line of column names. */
function readTable(path: string): Row[] {
  if (!existsSync(path))
    throw new OperatingError('CONFIG_INVALID', `${path} is not there: labelled data has MANIFEST.tsv and LABELS.tsv`, { file: path }); // prettier-ignore
  const [header = '', ...lines] = readFileSync(path, 'utf8').split('\n');
  const names = header.trimEnd().split('\t');
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const values = line.split('\t');
      return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']));
    });
}

function packetLabels(path: string): (packet: number) => boolean {
  const bytes = readFileSync(path);
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
  const lines = text.split('\n').filter((line) => /^\d/.test(line));
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
