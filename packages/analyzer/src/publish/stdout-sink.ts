/** Alerts on standard output: JSON lines for a program that reads the pipe, lines of text for a person. */
import type { Writable } from 'node:stream';
import { recordText, type AlertRecord } from './alert-record.ts';
import { QueuedSink } from './queued-sink.ts';
import type { Sink, SinkEvents } from './sink.ts';

const BATCH_MAX = 100;

export interface StdoutSinkOptions {
  readonly format: 'json' | 'text';
}

export function stdoutSink(
  options: StdoutSinkOptions,
  events: SinkEvents,
  stream: Writable = process.stdout,
): Sink {
  const format = options.format === 'json' ? jsonLine : (record: AlertRecord) => `${recordText(record)}\n`;
  return new QueuedSink(
    { name: 'stdout' },
    {
      batchMax: BATCH_MAX,
      // A reader that has stopped reading never calls back; then the queue fills and drops, and nothing else waits.
      deliver: (records, signal) => {
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        signal.addEventListener('abort', () => { reject(new Error('stopped')); }, { once: true });
        stream.write(records.map(format).join(''), (error) => {
          if (error) reject(error);
          else resolve();
        });
        return promise;
      },
      close: async () => undefined,
    },
    events,
  ); // prettier-ignore
}

export function jsonLine(record: AlertRecord): string {
  return `${JSON.stringify(record)}\n`;
}
