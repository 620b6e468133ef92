/**
 * Timestamps on their way into a record: out of range fractions, and the 64-bit counters of pcapng in units of any power
 * of ten or two. Exact (no rounding through a double): the quotient is found by long division in base 2^16.
 */
import { RECORD_NANOSECONDS, writeU32 } from '../packet/record.ts';
import type { CaptureRemarks } from './format.ts';

const SECONDS_MAX = 0xffff_ffff;
const NANOSECONDS_MAX = 999_999_999;
const NANOSECONDS_PER_SECOND = 1_000_000_000n;

/** Stores a time whose fraction may be a second or more (`fraction` < 2^32): carried, clamped to what a record holds, counted. */
export function storeTime(
  bytes: Uint8Array,
  at: number,
  seconds: number,
  fraction: number,
  unitsPerSecond: number,
  nanosecondsPerUnit: number,
  remarks: CaptureRemarks,
): void {
  if (fraction >= unitsPerSecond) remarks.fractionCarried++;
  const carried = seconds + Math.floor(fraction / unitsPerSecond);
  storeClamped(bytes, at, carried, (fraction % unitsPerSecond) * nanosecondsPerUnit, remarks);
}

function storeClamped(
  bytes: Uint8Array,
  at: number,
  seconds: number,
  nanoseconds: number,
  remarks: CaptureRemarks,
): void {
  if (seconds > SECONDS_MAX) {
    remarks.timeClamped++;
    writeU32(bytes, at, SECONDS_MAX);
    writeU32(bytes, at + RECORD_NANOSECONDS, NANOSECONDS_MAX);
  } else if (seconds < 0) {
    remarks.timeClamped++;
    writeU32(bytes, at, 0);
    writeU32(bytes, at + RECORD_NANOSECONDS, 0);
  } else {
    writeU32(bytes, at, seconds);
    writeU32(bytes, at + RECORD_NANOSECONDS, nanoseconds);
  }
}

/** The unit and origin of an interface's timestamps (`if_tsresol`, `if_tsoffset`). */
export class TimeUnit {
  readonly precision: string;
  readonly #base: 2 | 10;
  readonly #exponent: number;
  readonly #units: number;
  readonly #exact: boolean;
  readonly #nanosecondsPerUnit: number;
  readonly #offsetSeconds: number;

  /** `resolution` is the option's byte: top bit set for a power of two, the rest the negative exponent. */
  constructor(resolution: number, offsetSeconds: number) {
    this.#base = (resolution & 0x80) !== 0 ? 2 : 10;
    this.#exponent = resolution & 0x7f;
    this.#units = this.#base ** this.#exponent;
    // Up to these, every step of the division and the scaling to nanoseconds is an integer below 2^53.
    this.#exact = this.#base === 10 ? this.#exponent <= 9 : this.#exponent <= 23;
    this.#nanosecondsPerUnit = 1e9 / this.#units;
    this.#offsetSeconds = offsetSeconds;
    this.precision = precisionName(this.#base, this.#exponent);
  }

  /** Stores the time `high * 2^32 + low` units at `bytes[at]`. */
  store(bytes: Uint8Array, at: number, high: number, low: number, remarks: CaptureRemarks): void {
    if (!this.#exact) {
      this.#storeFine(bytes, at, high, low, remarks);
      return;
    }
    const units = this.#units;
    let seconds = Math.floor(high / units);
    let rest = (high % units) * 65_536 + (low >>> 16);
    seconds = seconds * 65_536 + Math.floor(rest / units);
    rest = (rest % units) * 65_536 + (low & 0xffff);
    seconds = seconds * 65_536 + Math.floor(rest / units);
    const nanoseconds = Math.floor((rest % units) * this.#nanosecondsPerUnit);
    storeClamped(bytes, at, seconds + this.#offsetSeconds, nanoseconds, remarks);
  }

  /** Picoseconds and finer exist on paper; they may cost an allocation a packet. */
  #storeFine(bytes: Uint8Array, at: number, high: number, low: number, remarks: CaptureRemarks): void {
    const ticks = (BigInt(high) << 32n) | BigInt(low);
    const units = BigInt(this.#base) ** BigInt(this.#exponent);
    const seconds = Number(ticks / units) + this.#offsetSeconds;
    storeClamped(bytes, at, seconds, Number(((ticks % units) * NANOSECONDS_PER_SECOND) / units), remarks);
  }
}

function precisionName(base: number, exponent: number): string {
  if (base === 10 && exponent === 6) return 'us';
  if (base === 10 && exponent === 9) return 'ns';
  return `${base}^-${exponent}`;
}
