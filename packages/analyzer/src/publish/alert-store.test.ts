import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, it } from 'vitest';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { AlertStore } from './alert-store.ts';
import {
  idOf,
  removeTemporaryDirectories,
  sampleAlert,
  temporaryDirectory,
  until,
} from './publish-test-support.ts';

afterEach(removeTemporaryDirectories);

function newStore(now?: () => number): AlertStore {
  const path = join(temporaryDirectory(), 'below', 'alerts.db');
  return new AlertStore({ path, ...(now === undefined ? {} : { now }) });
}

function problemOf(work: () => unknown): OperatingError {
  try {
    work();
  } catch (error) {
    if (error instanceof OperatingError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the alert store', () => {
  it('numbers tellings without holes, and gives back what was told', () => {
    const store = newStore();
    const rows = store.put([sampleAlert(1), sampleAlert(2), sampleAlert(1, { count: 2 })]);
    expect(rows.map(({ sequence, alert }) => [sequence, alert.id, alert.count])).toEqual([[1, idOf(1), 1], [2, idOf(2), 1], [3, idOf(1), 2]]); // prettier-ignore
    expect(store.since(0, 10)).toEqual(rows);
    expect(store.since(1, 1).map(({ sequence }) => sequence)).toEqual([2]);
    expect(store.get(idOf(1))?.alert).toEqual(sampleAlert(1, { count: 2 }));
    expect(store.get('none')).toBeNull();
    expect(store.range()).toEqual({ first: 1, last: 3 });
    expect(statSync(store.path).mode & 0o777).toBe(0o640);
    store.close();
  });

  it('an alert that has not grown is not told again; a higher count or severity is', () => {
    const store = newStore();
    store.put([sampleAlert(1, { count: 4, severity: 'medium' })]);
    expect(store.put([sampleAlert(1, { count: 4, severity: 'medium' })])).toEqual([]);
    // Packets read again after a crash tell the alert as it grows, from the beginning.
    expect(store.put([1, 2, 4].map((count) => sampleAlert(1, { count, severity: 'medium' })))).toEqual([]);
    expect(store.put([sampleAlert(1, { count: 4, severity: 'high' })])).toHaveLength(1);
    expect(store.put([sampleAlert(1, { count: 5, severity: 'high' })])).toHaveLength(1);
    expect(store.counters).toMatchObject({ stored: 3, known: 4 });
    expect(store.range().last).toBe(3);
    store.close();
  });

  it('a transaction that fails leaves neither tellings nor state, nor a hole in the sequence', () => {
    const store = newStore();
    expect(() => {
      store.transaction(() => {
        store.put([sampleAlert(1)]);
        store.setState('checkpoint', Buffer.from('x'));
        throw new Error('no');
      });
    }).toThrow('no');
    expect(store.range()).toEqual({ first: 0, last: 0 });
    expect(store.getState('checkpoint')).toBeNull();
    store.transaction(() => {
      expect(store.put([sampleAlert(1)])[0]?.sequence).toBe(1);
      store.setState('checkpoint', Buffer.from([0, 255]));
    });
    expect(store.getState('checkpoint')).toEqual(new Uint8Array([0, 255]));
    store.setState('checkpoint', null);
    expect(store.getState('checkpoint')).toBeNull();
    store.close();
  });

  it('lists by severity, sequence and label, the latest when there are too many', () => {
    const store = newStore();
    store.put([sampleAlert(1, { severity: 'low' }), sampleAlert(2), sampleAlert(3, { severity: 'critical' }), sampleAlert(4)]); // prettier-ignore
    const ids = (query: Parameters<AlertStore['list']>[0]): number[] => store.list(query).map(({ alert }) => parseInt(alert.id, 16)); // prettier-ignore
    expect(ids({})).toEqual([1, 2, 3, 4]);
    expect(ids({ severity: 'high', limit: 2 })).toEqual([3, 4]);
    expect(ids({ since: 2 })).toEqual([3, 4]);
    store.label(idOf(3), 'true');
    expect(ids({ label: 'true' })).toEqual([3]);
    expect(ids({ label: 'none' })).toEqual([1, 2, 4]);
    store.close();
  });

  it('another process labels while this one tells; a label outlives the growth of its alert', () => {
    const store = newStore(() => 77);
    store.put([sampleAlert(1), sampleAlert(2)]);
    const other = new AlertStore({ path: store.path, mustExist: true, now: () => 99 });
    expect(other.label(idOf(1), 'false', 'the weekly inventory')).toBe(true);
    expect(other.label(idOf(9), 'true')).toBe(false);
    other.close();
    const [row] = store.put([sampleAlert(1, { count: 2 })]);
    expect(row).toMatchObject({ label: 'false', note: 'the weekly inventory' });
    expect(store.labels()).toEqual([{ alert: sampleAlert(1, { count: 2 }), label: 'false', note: 'the weekly inventory', labelledAtMs: 99 }]); // prettier-ignore
    store.close();
  });

  it('prunes by age and by rows; what a person labelled stays, and sequences are never given again', () => {
    let nowMs = 1000;
    const store = newStore(() => nowMs);
    store.put([sampleAlert(1), sampleAlert(2)]);
    store.label(idOf(1), 'true');
    nowMs = 2000;
    store.put([sampleAlert(3), sampleAlert(4), sampleAlert(5)]);
    expect(store.prune(1500, 1000)).toBe(3);
    expect(store.list().map(({ alert }) => alert.id)).toEqual([1, 3, 4, 5].map(idOf));
    expect(store.range()).toEqual({ first: 3, last: 5 });
    store.prune(0, 2);
    expect(store.list().map(({ alert }) => alert.id)).toEqual([1, 5].map(idOf));
    expect(store.range()).toEqual({ first: 4, last: 5 });
    store.prune(3000, 2);
    expect(store.put([sampleAlert(6)])[0]?.sequence).toBe(6);
    store.close();
  });

  it.each([
    ['text', Buffer.from('this is no database, whatever its name says\n'.repeat(100)), /not a database.*move it/],
    ['zeros behind a good header', null, /damaged|malformed/],
  ])('a file of %s is refused with a remedy', (_, content, sentence) => {
    const path = join(temporaryDirectory(), 'alerts.db');
    if (content !== null) writeFileSync(path, content);
    else {
      const store = new AlertStore({ path });
      store.put(Array.from({ length: 2000 }, (_, i) => sampleAlert(i)));
      store.close();
      const bytes = readFileSync(path);
      bytes.fill(0, 8192, bytes.byteLength - 8192);
      writeFileSync(path, bytes);
    }
    const problem = problemOf(() => new AlertStore({ path }));
    expect(problem.code).toBe('ARCHIVE_FAILED');
    expect(problem.message).toMatch(sentence);
    expect(problem.context['remedy']).toMatch(/move it/);
  }); // prettier-ignore

  it('a newer version, another program’s database and a missing file are refused', () => {
    const directory = temporaryDirectory();
    const newer = join(directory, 'newer.db');
    new AlertStore({ path: newer }).close();
    const db = new DatabaseSync(newer);
    db.exec('PRAGMA user_version = 99');
    db.close();
    expect(problemOf(() => new AlertStore({ path: newer })).message).toMatch(/version 99/);
    const foreign = join(directory, 'foreign.db');
    const other = new DatabaseSync(foreign);
    other.exec('CREATE TABLE things (a)');
    other.close();
    expect(problemOf(() => new AlertStore({ path: foreign })).message).toMatch(/another program/);
    const missing = problemOf(() => new AlertStore({ path: join(directory, 'no.db'), mustExist: true }));
    expect(missing.message).toMatch(/--store/);
  });
});

describe('kill -9', () => {
  it('while tellings are stored: none that was acknowledged is missing, none is there twice, and the checkpoint agrees', async () => {
    const path = join(temporaryDirectory(), 'alerts.db');
    const script = new URL('./alert-store-crash-child.ts', import.meta.url).pathname;
    const acknowledged: string[] = [];
    let first = 1;
    let rowsBefore = 0;
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, [script, path, String(first)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')));
      const ended = once(child, 'close');
      // So many transactions, and then some moment in one of those that follow.
      await until(() => output.split('\n').length > 8 + 7 * round, 'transactions');
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
      child.kill('SIGKILL');
      await ended;
      const batches = output.split('\n').slice(0, -1);
      expect(batches.length).toBeGreaterThan(0);
      acknowledged.push(...batches.filter((line) => line !== '').flatMap((line) => line.split(' ')));

      const store = new AlertStore({ path });
      const rows = [];
      for (let page = store.since(0, 10_000); page.length > 0; page = store.since(rows.length, 10_000))
        rows.push(...page);
      expect(rows.map(({ sequence }) => sequence)).toEqual(rows.map((_, index) => index + 1));
      const tellings = rows.map(({ sequence, alert }) => `${sequence}:${alert.id}:${alert.count}`);
      const stored = new Set(tellings);
      expect(acknowledged.filter((telling) => !stored.has(telling))).toEqual([]);
      expect(new Set(rows.map(({ alert }) => `${alert.id}:${alert.count}`)).size).toBe(rows.length);
      const newest = rows.at(-1)?.alert;
      const checkpoint = Buffer.from(store.getState('checkpoint') ?? []).toString();
      // While it read again what was stored before, the checkpoint was behind; with the first new row it was that row's.
      if (rows.length > rowsBefore)
        expect(checkpoint).toBe(`${parseInt(newest?.id ?? '', 16) % 1_000_000}:${newest?.count}`);
      rowsBefore = rows.length;
      // The next run reads the last packets again, as one that has lost its place does.
      first = Math.max(1, Number(checkpoint.split(':')[0]) - 5);
      store.close();
    }
    expect(acknowledged.length).toBeGreaterThan(50);
  });
});
