/**
 * The corpus of real captures that tests read and never copy: `MANIFEST.tsv` says for each file what a plain reader found.
 * It lives beside the project (`../shared/pcaps`) or where TAPLINE_CORPUS says; a checkout without it skips those tests by name.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Absolute path of the corpus, or null where there is none. */
export function corpusDirectory(): string | null {
  const directory = resolve(process.env['TAPLINE_CORPUS'] ?? join(ROOT, '../shared/pcaps'));
  return existsSync(join(directory, 'MANIFEST.tsv')) ? directory : null;
}

export interface CorpusFile {
  readonly path: string;
  /** Path inside the corpus. */
  readonly name: string;
}

/** All files under a folder of the corpus (all of it by default), sorted by name; none where there is no corpus. */
export function corpusFiles(under = ''): CorpusFile[] {
  const directory = corpusDirectory();
  if (directory === null) return [];
  return readdirSync(join(directory, under), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => ({ path, name: relative(directory, path) }));
}

/** Path of one file, by its path inside the corpus. Only for tests under `describeWithCorpus`. */
export function corpusPath(name: string): string {
  return join(corpusDirectory() ?? '/no-corpus', name);
}

export interface ManifestRow {
  /** Path inside the corpus. */
  readonly path: string;
  readonly absolutePath: string;
  /** Up to the first damaged record; null where the manifest's reader did not know the container. */
  readonly packets: number | null;
  /** LINKTYPE_ values as written in the file. */
  readonly linkTypes: readonly number[];
  /** ISO 8601, microseconds; empty without packets. */
  readonly firstTime: string;
  readonly lastTime: string;
  /** What the manifest's reader stumbled over; empty for a sound file. */
  readonly parseRemarks: string;
}

const COLUMN = { path: 0, packets: 3, linkType: 4, firstTime: 5, lastTime: 6, parseRemarks: 20 } as const;

/** The rows of the manifest that are captures; none where there is no corpus. */
export function manifest(): ManifestRow[] {
  const directory = corpusDirectory();
  if (directory === null) return [];
  const lines = readFileSync(join(directory, 'MANIFEST.tsv'), 'utf8').trimEnd().split('\n').slice(1);
  return lines.map((line) => {
    const cells = line.split('\t');
    const cell = (index: number): string => cells[index] ?? '';
    return {
      path: cell(COLUMN.path),
      absolutePath: join(directory, cell(COLUMN.path)),
      packets: cell(COLUMN.packets) === '' ? null : Number(cell(COLUMN.packets)),
      linkTypes: [...cell(COLUMN.linkType).matchAll(/\((\d+)\)/g)].map((match) => Number(match[1])),
      firstTime: cell(COLUMN.firstTime),
      lastTime: cell(COLUMN.lastTime),
      parseRemarks: cell(COLUMN.parseRemarks),
    };
  });
}

/** `describe` for tests over the corpus; where it is absent they are skipped, and the name says why. */
export function describeWithCorpus(name: string, body: () => void): void {
  if (corpusDirectory() === null)
    describe.skip(`${name} (skipped: no corpus at ../shared/pcaps; set TAPLINE_CORPUS)`, body);
  else describe(name, body);
}
