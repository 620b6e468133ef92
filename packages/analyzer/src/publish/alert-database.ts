/**
 * The SQLite file of the alert store: its tables, how it is opened and checked, and what its errors mean to who operates it. What must stay true: a file
 * of another program or of a later version is refused and not touched; several processes may open it at once.
 */
import { closeSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';

const SCHEMA_VERSION = 1;
/** How long one process waits for another's transaction. */
const BUSY_TIMEOUT_MS = 5000;
/** `quick_check` reads all of a file, about 500 MB/s; larger ones are checked as far as they are used. */
const CHECKED_BYTES_MAX = 64 * 1024 * 1024;
const FILE_MODE = 0o640;

const SCHEMA = `
  CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    sensor TEXT NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    json TEXT NOT NULL,
    last_sequence INTEGER NOT NULL,
    told_at_ms INTEGER NOT NULL,
    label TEXT CHECK (label IN ('true', 'false')),
    labelled_at INTEGER,
    note TEXT
  ) STRICT;
  CREATE INDEX alerts_by_sequence ON alerts (last_sequence);
  CREATE INDEX alerts_by_told ON alerts (told_at_ms);
  CREATE TABLE log (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id TEXT NOT NULL,
    told_at_ms INTEGER NOT NULL,
    json TEXT NOT NULL
  ) STRICT;
  CREATE INDEX log_by_told ON log (told_at_ms);
  CREATE TABLE state (key TEXT PRIMARY KEY, blob BLOB NOT NULL) STRICT;
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** Throws ARCHIVE_FAILED with a remedy when the file cannot be used. `mustExist`: one that is not there is not made. */
export function openDatabase(path: string, mustExist: boolean): DatabaseSync {
  let db: DatabaseSync | null = null;
  try {
    if (mustExist) statSync(path);
    else {
      systemFiles.makeDirectory(dirname(path));
      // Made here, so that it and what SQLite puts beside it get this mode.
      closeSync(openSync(path, 'a', FILE_MODE));
    }
    db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    bringUpToDate(db);
    if (statSync(path).size <= CHECKED_BYTES_MAX) check(db);
    return db;
  } catch (error) {
    if (db?.isOpen === true) db.close();
    throw storeError(path, error);
  }
}

function bringUpToDate(db: DatabaseSync): void {
  if (schemaVersion(db) === SCHEMA_VERSION) return;
  db.exec('BEGIN IMMEDIATE');
  // Again: another process may have made the tables while this one waited.
  const version = schemaVersion(db);
  if (version > SCHEMA_VERSION) throw new Error(`it is of version ${version}, and this program knows versions up to ${SCHEMA_VERSION}`); // prettier-ignore
  if (version === 0) {
    const foreign = db.prepare('SELECT count(*) AS count FROM sqlite_schema').get();
    if (Number(foreign?.['count']) > 0) throw new Error('it is a database of another program');
    db.exec(SCHEMA);
  }
  db.exec('COMMIT');
}

function schemaVersion(db: DatabaseSync): number {
  return Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
}

function check(db: DatabaseSync): void {
  const result = db.prepare('PRAGMA quick_check(1)').get()?.['quick_check'];
  if (result !== 'ok') throw new Error(`it is damaged: ${String(result)}`);
}

/** Result codes of SQLite, without their extension. */
const REMEDIES: Readonly<Record<number, string>> = {
  5: 'another program keeps it locked: see who has it open (fuser FILE)',
  8: 'it cannot be written: look at its mode and its directory’s, and whether the disk is mounted read-only',
  13: 'the disk is full: make room',
  14: 'it cannot be opened: look at its mode and its directory’s',
};

/** With a remedy. */
export function storeError(path: string, error: unknown): OperatingError {
  if (error instanceof OperatingError) return error;
  const code = Number((error as { errcode?: unknown }).errcode ?? 0) & 0xff;
  const isMissing = (error as { code?: unknown }).code === 'ENOENT';
  const remedy = isMissing
    ? 'name the store with --store FILE; the daemon makes it at its first start'
    : (REMEDIES[code] ?? `move it and the files ${path}-wal and ${path}-shm away, and a new one is made at the next start; alerts are found again where their packets still are`); // prettier-ignore
  return new OperatingError('ARCHIVE_FAILED', `the alert store ${path} cannot be used: ${messageOf(error)}; ${remedy}`, { path, remedy }, error); // prettier-ignore
}
