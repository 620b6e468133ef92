/** Labelled captures: what the two tables say, and that whatever else stands in them is refused, never stumbled over. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { readLabelledData, type LabelledCapture } from './labelled-data.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-labelled-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const put = (name: string, content: string | Uint8Array): void => writeFileSync(join(directory, name), content); // prettier-ignore
const table = (rows: readonly (readonly string[])[], end = '\n'): string =>
  rows.map((row) => row.join('\t') + end).join('');

const MANIFEST = ['path', 'label', 'origin_repo', 'sha256'];
const LABELS = ['path', 'class', 'attack_type', 'rule_machine', 'packet_label_file'];

beforeEach(() => {
  for (const name of ['benign.pcap', 'scan.pcap', 'mixed.pcapng', 'old.cap.gz']) put(name, name);
  put('MANIFEST.tsv', table([MANIFEST, ['benign.pcap', 'benign office', 'a', '11']]));
  put('LABELS.tsv', table([LABELS]));
});

function read(): LabelledCapture[] {
  return readLabelledData(directory);
}

describe('a directory', () => {
  it('of captures gives those with a label, with their testbeds', () => {
    put('MANIFEST.tsv', table([
      MANIFEST,
      ['benign.pcap', 'benign office', 'a', '11'],
      ['scan.pcap', 'attack', 'b', '22'],
      ['mixed.pcapng', 'attack', 'c', '33'],
      ['old.cap.gz', 'attack', 'd', '44'],
      ['missing.pcap', 'benign', 'e', '55'],
      ['notes.txt', 'benign', 'e', '66'],
    ])); // prettier-ignore
    put('LABELS.tsv', table([
      LABELS,
      ['scan.pcap', 'attack', 'port-scan', '', ''],
      ['mixed.pcapng', 'mixed', 'syn-flood', '', 'mixed.ranges.csv'],
      ['old.cap.gz', 'mixed', 'worm', 'unlabelled', ''],
    ])); // prettier-ignore
    put('mixed.ranges.csv', 'first,last\n3,5\n9,9\n');
    expect(
      read().map(({ name, testbed, kind, attackType, sha256 }) => [name, testbed, kind, attackType, sha256]),
    ).toEqual([
      ['benign.pcap', 'a', 'benign', 'benign', '11'],
      ['scan.pcap', 'b', 'attack', 'port-scan', '22'],
      ['mixed.pcapng', 'c', 'mixed', 'syn-flood', '33'],
      ['old.cap.gz', 'd', 'unlabelled', 'worm', '44'],
    ]);
  });

  it('without a table is refused, and the sentence says what belongs there', () => {
    rmSync(join(directory, 'LABELS.tsv'));
    expect(() => read()).toThrow(/LABELS\.tsv is not there: labelled data has MANIFEST\.tsv and LABELS\.tsv/);
  });

  it('whose tables were saved on Windows, or with their columns in another order, is the same', () => {
    put('scan.pcap', '');
    put('MANIFEST.tsv', table([['origin_repo', 'extra', 'label', 'path'], ['b', '?', 'attack', 'scan.pcap']], '\r\n')); // prettier-ignore
    put(
      'LABELS.tsv',
      table(
        [
          ['attack_type', 'path', 'class'],
          ['port-scan', 'scan.pcap', 'attack'],
        ],
        '\r\n',
      ),
    );
    expect(read()).toMatchObject([{ name: 'scan.pcap', testbed: 'b', kind: 'attack', attackType: 'port-scan' }]); // prettier-ignore
  });

  it('without checksums gets them: two captures are never taken for one', () => {
    put('MANIFEST.tsv', table([MANIFEST.slice(0, 3), ['benign.pcap', 'benign', 'a'], ['scan.pcap', 'benign', 'a']])); // prettier-ignore
    const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
    expect(read().map(({ sha256 }) => sha256)).toEqual([hash('benign.pcap'), hash('scan.pcap')]);
  });
});

describe('the labels of packets', () => {
  const isAttack = (file: string, content: string | Uint8Array): ((packet: number) => boolean) => {
    put('MANIFEST.tsv', table([MANIFEST, ['mixed.pcapng', 'attack', 'c', '33']]));
    put('LABELS.tsv', table([LABELS, ['mixed.pcapng', 'mixed', 'x', '', file]]));
    put(file, content);
    return read()[0]?.isAttack as (packet: number) => boolean;
  };
  const upTo = (count: number, is: (packet: number) => boolean): number[] =>
    Array.from({ length: count }, (_, i) => i + 1).filter(is);

  it('as ranges are those in between, both ends included', () => {
    expect(upTo(20, isAttack('a.ranges.csv', 'first,last\n3,5\n9,9\n12,14\n'))).toEqual([3, 4, 5, 9, 12, 13, 14]); // prettier-ignore
    expect(upTo(20, isAttack('b.ranges.csv', ''))).toEqual([]);
  });

  it('as ranges are what a search through all of them says', () => {
    const gaps = fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.nat({ max: 5 })), { maxLength: 10 });
    fc.assert(
      fc.property(gaps, (steps) => {
        let at = 0;
        const ranges = steps.map(([gap, length]) => {
          const first = at + gap;
          at = first + length;
          return [first, at] as const;
        });
        const is = isAttack('c.ranges.csv', ranges.map((range) => `${range.join(',')}\n`).join(''));
        for (let packet = 0; packet <= at + 2; packet++)
          expect(is(packet)).toBe(ranges.some(([first, last]) => packet >= first && packet <= last));
      }),
      { numRuns: 50 },
    );
  });

  it('one line a packet are those that end in 1, packed or not, on Windows or not', () => {
    const text = 'packet;label\n1;0\n2;1\n3;x;1\n4,1\n5,11\n';
    expect(upTo(9, isAttack('a.csv', text))).toEqual([2, 3, 4]);
    expect(upTo(9, isAttack('a.csv.gz', gzipSync(text)))).toEqual([2, 3, 4]);
    expect(upTo(9, isAttack('b.csv', text.replaceAll('\n', '\r\n')))).toEqual([2, 3, 4]);
  });

  it('that are missing, or not packed though they say so, are refused with their name', () => {
    expect(() => isAttack('broken.csv.gz', 'no gzip')).toThrow(/cannot read .*broken\.csv\.gz: /);
    put('LABELS.tsv', table([LABELS, ['mixed.pcapng', 'mixed', 'x', '', 'gone.csv']]));
    expect(() => read()).toThrow(/cannot read .*gone\.csv: .*; correct it, or the line that names it/);
  });
});

it('whatever stands in the tables, captures come of it or an error with its code', () => {
  mkdirSync(join(directory, 'folder.pcap'));
  put('labels.csv', '1,1\n');
  const cell = fc.oneof(
    fc.constantFrom('path', 'label', 'class', 'origin_repo', 'packet_label_file', 'benign', 'attack', 'mixed', 'benign.pcap', 'folder.pcap', 'old.cap.gz', 'labels.csv', 'gone.csv', 'benign.pcap\u0000', '..', '.', '__proto__', 'constructor', ''),
    fc.string({ maxLength: 8 }),
  ); // prettier-ignore
  const rows = fc.array(fc.array(cell, { maxLength: 5 }), { maxLength: 5 }).map((cells) => table(cells));
  const headed = (names: readonly string[]) => rows.map((text) => table([names]) + text);
  const content = (names: readonly string[]) => fc.oneof(headed(names), headed(names), rows, fc.uint8Array({ maxLength: 60 })); // prettier-ignore
  fc.assert(
    fc.property(content(MANIFEST.slice(0, 3)), content(LABELS), (manifest, labels) => {
      put('MANIFEST.tsv', manifest);
      put('LABELS.tsv', labels);
      try {
        for (const { isAttack } of read()) expect(typeof isAttack(1)).toBe('boolean');
      } catch (error) {
        expect(error).toBeInstanceOf(OperatingError);
        expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
      }
    }),
    { numRuns: 300 },
  );
  for (const name of ['MANIFEST.tsv', 'LABELS.tsv']) {
    rmSync(join(directory, name));
    mkdirSync(join(directory, name));
    expect(() => read()).toThrow(OperatingError);
    rmSync(join(directory, name), { recursive: true });
    put(name, table([MANIFEST]));
  }
});
