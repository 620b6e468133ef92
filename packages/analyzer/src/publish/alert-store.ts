/**
 * The durable store of alerts: one SQLite file (`alert-database.ts`).
 *
 *   alerts   one row per alert, as it was told last, with the label a person gave it
 *   log      one row per telling, numbered 1, 2, 3 … without holes: what a late reader asks for
 *   state    named bytes of others (checkpoints, how far each output has come), in the same transactions
 *
 * What must stay true:
 * - a telling that `put` returned is on the disk (WAL, synchronous=FULL), whatever happens to the process or the machine afterwards;
 * - the same packets read again after a crash tell the same alerts: one that has not grown beyond what is stored gives no second row;
 * - several processes may have the file open: the daemon tells, people label.
 *
 * The calls are synchronous, as SQLite is: a transaction costs one sync of the disk, so tellings come in batches.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { SEVERITIES, severityRank, type Severity } from '../alert/finding.ts';
import { openDatabase, storeError } from './alert-database.ts';
import type { Label, ToldAlert } from './alert-record.ts';

export const ROWS_PER_READ_MAX = 10_000;
const NOTE_CHARACTERS_MAX = 2000;

/** A telling as it is stored. */
export interface StoredTelling {
  readonly sequence: number;
  /** Wall time. */
  readonly toldAtMs: number;
  readonly alert: ToldAlert;
  readonly label: Label | null;
  readonly note: string;
}

export interface StoredLabel {
  readonly alert: ToldAlert;
  readonly label: Label;
  readonly labelledAtMs: number;
  readonly note: string;
}

export interface ListQuery {
  /** At least this. */
  readonly severity?: Severity;
  /** Only what was told after this sequence. */
  readonly since?: number;
  readonly limit?: number;
  /** `none`: not labelled yet. */
  readonly label?: Label | 'none';
}

export interface AlertStoreOptions {
  readonly path: string;
  /** Refuse a file that is not there, for commands that only read or label. */
  readonly mustExist?: boolean;
  /** Wall time in milliseconds. */
  readonly now?: () => number;
}

type Row = Record<string, unknown>;

export class AlertStore {
  readonly counters = { stored: 0, known: 0, pruned: 0 };
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #now: () => number;
  readonly #statements = new Map<string, StatementSync>();

  /** Throws ARCHIVE_FAILED with a remedy when the file cannot be used. */
  constructor(options: AlertStoreOptions) {
    this.path = options.path;
    this.#now = options.now ?? Date.now;
    this.#db = openDatabase(options.path, options.mustExist === true);
  }

  /**
   * Stores tellings, all or none, and returns those that say something new, in order. Rows are durable when this returns, or, inside a
   * `transaction`, when that does.
   */
  put(alerts: readonly ToldAlert[]): StoredTelling[] {
    return this.transaction(() =>
      alerts.map((alert) => this.#putOne(alert)).filter((telling) => telling !== null),
    );
  }

  /** Runs `work` as one transaction; nested calls are part of the outer one. What `work` throws undoes it all. */
  transaction<T>(work: () => T): T {
    if (this.#db.isTransaction) return work();
    this.#guard(() => {
      this.#db.exec('BEGIN IMMEDIATE');
    });
    try {
      const result = work();
      this.#guard(() => {
        this.#db.exec('COMMIT');
      });
      return result;
    } catch (error) {
      // A full disk may have rolled it back already.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  /** Tellings after `sequence`, in order. */
  since(sequence: number, limit: number): StoredTelling[] {
    const rows = this.#all(
      `SELECT log.sequence, log.told_at_ms, log.json, alerts.label, alerts.note FROM log
       LEFT JOIN alerts ON alerts.id = log.alert_id WHERE log.sequence > ? ORDER BY log.sequence LIMIT ?`,
      sequence,
      Math.min(limit, ROWS_PER_READ_MAX),
    );
    return rows.map((row) => this.#telling(row));
  }

  /** The sequences of the oldest and the newest telling that are stored; 0 and 0 for none. */
  range(): { readonly first: number; readonly last: number } {
    const row = this.#get('SELECT min(sequence) AS first, max(sequence) AS last FROM log');
    return { first: Number(row?.['first'] ?? 0), last: Number(row?.['last'] ?? 0) };
  }

  /** An alert as it was told last. */
  get(id: string): StoredTelling | null {
    const row = this.#get(`SELECT ${ALERT_COLUMNS} FROM alerts WHERE id = ?`, id);
    return row === undefined ? null : this.#telling(row);
  }

  /** Alerts as they were told last: the latest `limit`, oldest first. */
  list(query: ListQuery = {}): StoredTelling[] {
    const severities = SEVERITIES.slice(query.severity === undefined ? 0 : severityRank(query.severity));
    const label =
      query.label === undefined
        ? ''
        : query.label === 'none'
          ? 'AND label IS NULL'
          : `AND label = '${query.label}'`;
    const rows = this.#all(
      `SELECT ${ALERT_COLUMNS} FROM alerts WHERE last_sequence > ? ${label}
       AND severity IN (${severities.map((severity) => `'${severity}'`).join()}) ORDER BY last_sequence DESC LIMIT ?`,
      query.since ?? 0,
      Math.min(query.limit ?? ROWS_PER_READ_MAX, ROWS_PER_READ_MAX),
    );
    return rows.map((row) => this.#telling(row)).reverse();
  }

  /** Notes what a person said; a second label replaces the first. False: there is no such alert. */
  label(id: string, label: Label, note = ''): boolean {
    const sql = 'UPDATE alerts SET label = ?, labelled_at = ?, note = ? WHERE id = ?';
    return this.#run(sql, label, this.#now(), note.slice(0, NOTE_CHARACTERS_MAX), id) > 0;
  }

  /** Every alert that a person labelled, in order of first packet. */
  labels(): StoredLabel[] {
    const rows = this.#all(
      `SELECT ${ALERT_COLUMNS}, labelled_at FROM alerts WHERE label IS NOT NULL ORDER BY first_us, id`,
    );
    return rows.map((row) => {
      const { alert, note, label } = this.#telling(row);
      return { alert, note, label: label ?? 'true', labelledAtMs: Number(row['labelled_at']) };
    });
  }

  /**
   * Deletes what was told before a wall time, and the oldest beyond so many rows of each table. Alerts that a person labelled do not grow old: models
   * learn from them; they are the last to go when there are too many. How many rows went.
   */
  prune(toldBeforeMs: number, rowsMax: number): number {
    return this.transaction(() => {
      let gone = this.#run('DELETE FROM log WHERE told_at_ms < ?', toldBeforeMs);
      gone += this.#run('DELETE FROM log WHERE sequence <= (SELECT max(sequence) FROM log) - ?', rowsMax);
      gone += this.#run('DELETE FROM alerts WHERE told_at_ms < ? AND label IS NULL', toldBeforeMs);
      const count = Number(this.#get('SELECT count(*) AS count FROM alerts')?.['count'] ?? 0);
      if (count > rowsMax) {
        const sql = 'DELETE FROM alerts WHERE id IN (SELECT id FROM alerts ORDER BY label IS NOT NULL, last_sequence LIMIT ?)'; // prettier-ignore
        gone += this.#run(sql, count - rowsMax);
      }
      this.counters.pruned += gone;
      return gone;
    });
  }

  /** Bytes that another part of the program keeps here; null when there are none. */
  getState(key: string): Uint8Array | null {
    const blob = this.#get('SELECT blob FROM state WHERE key = ?', key)?.['blob'];
    return blob instanceof Uint8Array ? blob : null;
  }

  /** Null takes them away. */
  setState(key: string, blob: Uint8Array | null): void {
    if (blob === null) this.#run('DELETE FROM state WHERE key = ?', key);
    else this.#run('INSERT INTO state VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET blob = excluded.blob', key, blob); // prettier-ignore
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  #putOne(alert: ToldAlert): StoredTelling | null {
    const known = this.#get('SELECT severity, count, label, note FROM alerts WHERE id = ?', alert.id);
    if (known !== undefined && !hasGrown(alert, known)) {
      this.counters.known++;
      return null;
    }
    const json = JSON.stringify(alert);
    const toldAtMs = this.#now();
    const inserted = this.#guard(() =>
      this.#statement('INSERT INTO log (alert_id, told_at_ms, json) VALUES (?, ?, ?)').run(alert.id, toldAtMs, json),
    ); // prettier-ignore
    const sequence = Number(inserted.lastInsertRowid);
    this.#run(
      `INSERT INTO alerts (id, sensor, rule, severity, first_us, last_us, count, json, last_sequence, told_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, last_us = excluded.last_us, count = excluded.count, json = excluded.json,
       last_sequence = excluded.last_sequence, told_at_ms = excluded.told_at_ms`,
      alert.id,
      alert.sensor,
      alert.rule,
      alert.severity,
      Math.floor(alert.firstUs),
      Math.floor(alert.lastUs),
      alert.count,
      json,
      sequence,
      toldAtMs,
    );
    this.counters.stored++;
    return { sequence, toldAtMs, alert: JSON.parse(json) as ToldAlert, ...labelOf(known ?? {}) };
  }

  #telling(row: Row): StoredTelling {
    const alert = this.#guard(() => JSON.parse(String(row['json'])) as ToldAlert);
    return { sequence: Number(row['sequence']), toldAtMs: Number(row['told_at_ms']), alert, ...labelOf(row) };
  }

  #all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#guard(() => this.#statement(sql).all(...values));
  }

  #get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#guard(() => this.#statement(sql).get(...values));
  }

  /** Rows that were changed. */
  #run(sql: string, ...values: SQLInputValue[]): number {
    return this.#guard(() => Number(this.#statement(sql).run(...values).changes));
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storeError(this.path, error);
    }
  }
}

const ALERT_COLUMNS = 'last_sequence AS sequence, told_at_ms, json, label, note';

function labelOf(row: Row): { label: Label | null; note: string } {
  const label = row['label'];
  return { label: label === 'true' || label === 'false' ? label : null, note: typeof row['note'] === 'string' ? row['note'] : '' }; // prettier-ignore
}

/** Count and severity only ever rise, so what is not above the stored row was told before. */
function hasGrown(alert: ToldAlert, stored: Row): boolean {
  return (
    alert.count > Number(stored['count']) ||
    severityRank(alert.severity) > severityRank(stored['severity'] as Severity)
  );
}
