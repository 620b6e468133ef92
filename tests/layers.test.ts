/**
 * The house rules that `docs/architecture.md` states, checked against the imports: which folder may know which, that no
 * daemon knows another, that only the rows know two stations, and that every file says at its head what it is for.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { projectRoot } from './support/project.ts';

const DAEMONS = ['forwarder', 'collector', 'analyzer'];

/** Folder of `shared` → folders it may import. */
const SHARED_MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  system: ['base', 'packet'],
  packet: ['base'],
  pcap: ['base', 'packet'],
  archive: ['base', 'system', 'packet', 'pcap', 'filter'],
  filter: ['base', 'system', 'packet'],
  tunnel: ['base', 'packet'],
  catalog: ['base', 'system', 'packet', 'pcap', 'filter', 'archive'],
  keep: ['base', 'system', 'observe', 'packet', 'pcap', 'archive', 'catalog', 'objects'],
  objects: ['base', 'catalog', 'export'],
  feed: ['base', 'system', 'packet', 'pcap', 'filter', 'archive'],
  control: ['base'],
  export: ['base', 'system', 'packet', 'pcap', 'archive', 'catalog', 'feed'],
  config: ['base', 'system', 'packet', 'filter', 'archive', 'keep', 'objects'],
  observe: ['base', 'system'],
  daemon: [
    'base',
    'system',
    'observe',
    'packet',
    'pcap',
    'config',
    'archive',
    'catalog',
    'keep',
    'feed',
    'export',
    'control',
    'objects',
  ],
};

/** Files of a daemon that may import more than one of its folders: the row, what starts it, and commands that are rows. */
const ROWS =
  /^(main|commands|pipeline|row-output|row-state|sensor-stations|books|events|forward-options|listen-options|engine|analysis|training-rows|feedback|scoring-station|.*-command)\.ts$/;
/** Within a row, the next station may name the one before it. */
const MAY_LOOK_BACK = new Set(['tunnel > spool', 'listen > session', 'fleet > session', 'count > tail']);
/**
 * The analyzer's stations, in the order of the row: what a packet becomes is a type that the following stations speak of, so each may name those before it.
 * `asset` and `alert` are words of the whole row; `flow` names the memory that dissectors keep in it.
 */
const ANALYZER_ROW = [
  'tail',
  'merge',
  'packet',
  'flow',
  'protocol',
  'feature',
  'asset',
  'alert',
  'rule',
  'model',
  'report',
  'publish',
];
const ANALYZER_TYPES = new Set(['flow > protocol', 'report > ']);

function sources(folder: string): string[] {
  return readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !/test|testing|crash-child/.test(name))
    .map((name) => join(folder, name));
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(projectRoot, file), 'utf8');
  return [...text.matchAll(/^(?:import|export)[^'"]*?from '([^']+)'/gms)].map((match) => match[1] ?? '');
}

/** `archive` for `packages/shared/src/archive/x.ts`, '' for a file directly in `src`. */
function folderOf(path: string): string {
  return /packages\/\w+\/src\/(?:([^/]+)\/)?/.exec(path)?.[1] ?? '';
}

function looksBack(from: string, to: string): boolean {
  if (ANALYZER_TYPES.has(`${from} > ${to}`)) return true;
  const [at, before] = [ANALYZER_ROW.indexOf(from), ANALYZER_ROW.indexOf(to)];
  return before !== -1 && before < at;
}

describe('imports', () => {
  it('inside shared run one way', () => {
    for (const file of sources('packages/shared/src'))
      for (const name of importsOf(file).filter((imported) => imported.startsWith('.'))) {
        const from = folderOf(file);
        const to = folderOf(relative(projectRoot, resolve(projectRoot, dirname(file), name)));
        if (to !== from) expect(SHARED_MAY_IMPORT[from], `${file} imports ${name}`).toContain(to);
      }
  });

  it('of a daemon name shared and itself, never another daemon', () => {
    for (const daemon of DAEMONS)
      for (const file of sources(`packages/${daemon}/src`))
        for (const name of importsOf(file).filter((imported) => imported.startsWith('@tapline/')))
          expect(name, file).toMatch(/^@tapline\/shared\//);
  });

  it('of a station stay in the station: only the rows know two', () => {
    for (const daemon of DAEMONS)
      for (const file of sources(`packages/${daemon}/src`)) {
        const from = folderOf(file);
        if (from === '') {
          const local = importsOf(file).filter((name) => name.startsWith('./'));
          const folders = new Set(
            local.map((name) => folderOf(join(dirname(file), name))).filter((name) => name !== ''),
          );
          if (folders.size > 1) expect(relative(dirname(file), file), [...folders].join()).toMatch(ROWS);
          continue;
        }
        for (const name of importsOf(file).filter((imported) => imported.startsWith('.'))) {
          const to = folderOf(relative(projectRoot, resolve(projectRoot, dirname(file), name)));
          if (to === from || (daemon === 'analyzer' && looksBack(from, to))) continue;
          expect([...MAY_LOOK_BACK], `${file} imports ${name}`).toContain(`${from} > ${to}`);
        }
      }
  });
});

it('every source file begins with what it is for', () => {
  for (const folder of ['shared', ...DAEMONS])
    for (const file of sources(`packages/${folder}/src`))
      expect(readFileSync(join(projectRoot, file), 'utf8'), file).toMatch(/^\/\*\*/);
});
