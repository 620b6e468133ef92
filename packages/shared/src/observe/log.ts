/**
 * The log: one line per event on standard error (standard output may carry packets), constant messages, data in fields.
 * JSON for machines; on a terminal the same events as short lines for people.
 *
 * debug = for developers · info = what happens in a day · warn = unexpected, nothing lost · error = lost, or a person must act
 */
import pino from 'pino';

export type Log = pino.Logger;
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

const STANDARD_ERROR = 2;

/** A logger for `program`. Lines are written at once: what a crash said last matters most. */
export function createLog(program: string, level: LogLevel, isTerminal = process.stderr.isTTY): Log {
  const options = { level, base: { program }, timestamp: pino.stdTimeFunctions.isoTime };
  if (!isTerminal) return pino(options, pino.destination({ dest: STANDARD_ERROR, sync: true }));
  return pino(options, { write: (line: string) => process.stderr.write(humanLine(line)) });
}

/** Said by the line's own form, or too long for it. */
const NOT_SHOWN = new Set(['level', 'time', 'msg', 'program', 'books']);

/** `14:03:07 warn  The disk refuses packets.  reason=disk-full …` */
function humanLine(json: string): string {
  const line = JSON.parse(json) as Record<string, unknown>;
  const words = Object.entries(line)
    .filter(([name]) => !NOT_SHOWN.has(name))
    .map(([name, value]) => `${name}=${isPlain(value) ? value : JSON.stringify(value)}`);
  const level = pino.levels.labels[Number(line['level'])] ?? '';
  return `${String(line['time']).slice(11, 19)} ${level.padEnd(5)} ${String(line['msg'])}  ${words.join(' ')}\n`;
}

/** True for text that a terminal only shows. What a peer or a file name brings along may be more than that. */
function isPlain(value: unknown): value is string {
  return typeof value === 'string' && !/\p{Cc}/u.test(value);
}
