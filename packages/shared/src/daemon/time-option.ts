/** Times as people type them: `-15m`, `now`, `2026-01-05T06:00`, `06:00`, seconds since 1970. Always UTC, unless a zone is written. */
import { InvalidArgumentError } from 'commander';

const UNITS_MS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const EXAMPLES =
  'as in -15m, now, 06:00, 2026-01-05, 2026-01-05T06:00:00.5 or seconds since 1970 (UTC unless a zone is written)';

const DATE = /^(?:(\d{4}-\d\d-\d\d)[T ]?)?(\d\d:\d\d(?::\d\d)?)?(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?$/;

/** Nanoseconds since 1970 UTC as text. Throws InvalidArgumentError. */
export function parseTime(text: string, nowMs = Date.now()): string {
  const [, amount, unit] = /^-(\d+(?:\.\d+)?)([smhdw])$/.exec(text) ?? [];
  if (amount !== undefined && unit !== undefined)
    return nanoseconds(nowMs - Number(amount) * (UNITS_MS[unit] as number));
  if (text === 'now') return nanoseconds(nowMs);
  const [, seconds, fraction = ''] = /^(\d{9,11})(?:\.(\d{1,9}))?$/.exec(text) ?? [];
  if (seconds !== undefined)
    return String(BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0')));
  const match = DATE.exec(text);
  if (match === null || text === '') throw new InvalidArgumentError(EXAMPLES);
  const [, day, time = '00:00', subsecond = '', zone = 'Z'] = match;
  const today = new Date(nowMs).toISOString().slice(0, 10);
  const whole = Date.parse(`${day ?? today}T${time}${zone}`);
  if (Number.isNaN(whole) || whole < 0) throw new InvalidArgumentError(EXAMPLES);
  return String(BigInt(whole) * 1_000_000n + BigInt(subsecond.padEnd(9, '0')));
}

function nanoseconds(milliseconds: number): string {
  return String(BigInt(Math.round(milliseconds)) * 1_000_000n);
}
