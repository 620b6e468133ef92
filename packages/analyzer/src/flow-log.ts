/**
 * Flows as text files of an hour each: `conn.log` becomes `conn_20260105_06.log`, by the packet time of the flow's end. What must stay true:
 * - each flow stands in a file once, also after a kill: what was not written yet is part of the checkpoint together with the place where it goes, and
 *   is written when the checkpoint is on the disk; a restart writes it there once more;
 * - a line is whole or not there.
 */
import { closeSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs';
import { extname } from 'node:path';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { flowHeader, flowLine, type FlowFormat } from './flow/flow-export.ts';
import type { FlowRecord } from './flow/flow-record.ts';

/** Parquet is not among them: its columns need all rows at once. */
export const FLOW_LOG_FORMATS = ['csv', 'json', 'zeek', 'zeek-json'] as const satisfies readonly FlowFormat[];
/** Files whose lengths are remembered: an hour has one, and sensors may lag. */
const FILES_MAX = 64;
const FILE_MODE = 0o640;

/** Text, and where it goes. */
export interface FlowText {
  readonly path: string;
  readonly offset: number;
  readonly text: string;
}

export class FlowLog {
  readonly counters = { flowsWritten: 0 };
  pendingCharacters = 0;
  readonly #format: FlowFormat;
  readonly #file: string;
  readonly #lengths = new Map<string, number>();
  #pending = new Map<string, string>();

  constructor(format: FlowFormat, file: string) {
    this.#format = format;
    this.#file = file;
  }

  write(record: FlowRecord): void {
    const path = hourName(this.#file, record.ts + record.duration);
    const line = flowLine(this.#format, record);
    this.#pending.set(path, (this.#pending.get(path) ?? '') + line);
    this.pendingCharacters += line.length;
    this.counters.flowsWritten++;
  }

  /** What is to be written; it counts as written from now on. */
  take(): FlowText[] {
    const texts = [...this.#pending].map(([path, lines]) => {
      const offset = this.#lengths.get(path) ?? lengthOf(path);
      const text = offset === 0 ? flowHeader(this.#format, Date.now()) + lines : lines;
      this.#remember(path, offset + Buffer.byteLength(text));
      return { path, offset, text };
    });
    this.#pending = new Map();
    this.pendingCharacters = 0;
    return texts;
  }

  #remember(path: string, length: number): void {
    this.#lengths.delete(path);
    this.#lengths.set(path, length);
    for (const oldest of this.#lengths.keys()) {
      if (this.#lengths.size <= FILES_MAX) break;
      this.#lengths.delete(oldest);
    }
  }
}

/** Writes texts where they go; whatever stood there and behind it is replaced. Throws ARCHIVE_FAILED. */
export function writeFlowTexts(texts: readonly FlowText[]): void {
  for (const { path, offset, text } of texts) {
    try {
      const descriptor = openSync(path, offset === 0 ? 'w' : 'r+', FILE_MODE);
      try {
        ftruncateSync(descriptor, offset);
        const bytes = Buffer.from(text);
        for (let at = 0; at < bytes.byteLength;)
          at += writeSync(descriptor, bytes, at, bytes.byteLength - at, offset + at);
      } finally {
        closeSync(descriptor);
      }
    } catch (error) {
      throw new OperatingError('ARCHIVE_FAILED', `cannot write ${path}: ${messageOf(error)}`, { file: path }, error); // prettier-ignore
    }
  }
}

function lengthOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function hourName(file: string, seconds: number): string {
  const stamp = new Date(seconds * 1000).toISOString().slice(0, 13).replaceAll('-', '').replace('T', '_');
  const extension = extname(file);
  return `${file.slice(0, file.length - extension.length)}_${stamp}${extension}`;
}
