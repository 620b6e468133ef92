/** A file (or stdout) that flows are written to, in any of the formats. Text is written as it comes, Parquet at the end: its columns need all rows. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { FLOW_COLUMNS_TOLD, flowFooter, flowHeader, flowLine, type FlowFormat } from '../flow/flow-export.ts';
import type { FlowRecord } from '../flow/flow-record.ts';

const BUFFER_CHARACTERS = 256 * 1024;
/** How long a full pipe is left to its reader. */
const FULL_PIPE_MS = 2;
/** Rows of a Parquet file, which are all in memory until its end. */
const PARQUET_ROWS_MAX = 5_000_000;

export class FlowFile {
  readonly #format: FlowFormat;
  readonly #path: string | undefined;
  readonly #descriptor: number;
  readonly #columns: (string | number)[][] = FLOW_COLUMNS_TOLD.map(() => []);
  readonly #pause = new Int32Array(new SharedArrayBuffer(4));
  #hasReader = true;
  #pending: string;
  #rows = 0;

  /** `path`: undefined is stdout. Throws ARCHIVE_FAILED. */
  constructor(format: FlowFormat, path: string | undefined) {
    this.#format = format;
    this.#path = path;
    this.#descriptor = path === undefined ? 1 : this.#guard(() => openSync(path, 'w'));
    this.#pending = format === 'parquet' ? '' : flowHeader(format, Date.now());
  }

  write(record: FlowRecord): void {
    if (this.#format === 'parquet') {
      if (++this.#rows > PARQUET_ROWS_MAX)
        throw new OperatingError('ARCHIVE_FAILED', `more than ${PARQUET_ROWS_MAX} flows: write them as csv or json`, {}); // prettier-ignore
      FLOW_COLUMNS_TOLD.forEach((column, index) => this.#columns[index]?.push(column.value(record)));
      return;
    }
    this.#pending += flowLine(this.#format, record);
    if (this.#pending.length >= BUFFER_CHARACTERS) this.#flush();
  }

  async close(): Promise<void> {
    if (this.#format === 'parquet') await this.#writeParquet();
    else this.#pending += flowFooter(this.#format, Date.now());
    this.#flush();
    if (this.#path !== undefined) closeSync(this.#descriptor);
  }

  #flush(): void {
    const bytes = Buffer.from(this.#pending);
    this.#pending = '';
    this.#guard(() => this.#writeAll(bytes));
  }

  /** A pipe takes what it has room for: the rest waits for its reader, and when that has gone nobody wants it. */
  #writeAll(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength && this.#hasReader;) {
      try {
        at += writeSync(this.#descriptor, bytes, at);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE' && this.#path === undefined) this.#hasReader = false;
        else if (code !== 'EAGAIN') throw error;
        else Atomics.wait(this.#pause, 0, 0, FULL_PIPE_MS);
      }
    }
  }

  async #writeParquet(): Promise<void> {
    const { parquetWriteBuffer } = await import('hyparquet-writer');
    const buffer = parquetWriteBuffer({
      columnData: FLOW_COLUMNS_TOLD.map(({ name, kind }, index) => ({
        name,
        data: (this.#columns[index] ?? []).map((value) => (kind === 'integer' ? BigInt(Math.trunc(Number(value))) : value)),
        type: kind === 'string' ? 'STRING' as const : kind === 'integer' ? 'INT64' as const : 'DOUBLE' as const,
      })),
    }); // prettier-ignore
    this.#guard(() => this.#writeAll(new Uint8Array(buffer)));
  }

  #guard<T>(write: () => T): T {
    try {
      return write();
    } catch (error) {
      const name = this.#path ?? 'stdout';
      throw new OperatingError('ARCHIVE_FAILED', `cannot write ${name}: ${messageOf(error)}`, { file: name }, error); // prettier-ignore
    }
  }
}
