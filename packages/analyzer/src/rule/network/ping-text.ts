/**
 * Text in echo requests that look like those of `ping`: a message of which each brings one letter, always at the same place, and commands with hardly
 * anything but zeros behind them. What `ping` itself sends there must not be taken for it: the time, which counts or is random, and a pattern that is always the same.
 */
import { le32 } from '../../protocol/byte-reader.ts';

/** What is looked at of each request: the time of `ping` and a little more. */
const PLACES = 32;
/** Of each place: the letter last seen, how many in a row, which as bits, how often they turned. */
const NUMBERS = 4;
/** A timeval: seconds and microseconds, eight bytes each. */
const TIME_BYTES = 16;
const MICROSECONDS_AT = 8;
/** Random bytes, which the microseconds of `ping` are, are letters so often in a row once in 10^11 requests. */
const LETTERS_MIN = 16;
const DIFFERENT_MIN = 5;
/** A clock goes on by little, and a jump of it is one; the letters of a text go up and down in the alphabet. */
const STEP_MIN = 4;
const TURNS_MIN = 4;
/** Bits of the letters behind f: digits in hexadecimal are no text. */
const BEHIND_F = 0x7ff_ff80;
const COMMAND_BYTES_MAX = 64;
const ZEROS_MIN = 8;
/** Of the payload, at the most one byte in so many. */
const ARGUMENTS_SHARE = 4;

/** A place of requests in which letters stand. */
export interface Spelling {
  /** Byte of the payload. */
  readonly place: number;
  /** Requests in a row. */
  readonly letters: number;
  readonly different: number;
}

/** For `spelling`: plain numbers, so that a flow's memory can keep them. */
export function newPlaces(): number[] {
  return new Array<number>(PLACES * NUMBERS).fill(0);
}

/** Takes the payload `[from, end)` of one more request to what `places` knows; null while no place of them spells something. `isTime`: what stands where `ping` has the time is the time. */
export function spelling(
  places: number[],
  bytes: Uint8Array,
  from: number,
  end: number,
  isTime: boolean,
): Spelling | null {
  let found = -1;
  for (let place = 0; place < PLACES; place++) {
    const at = place * NUMBERS;
    // The lowest byte of microseconds is random, whatever timer runs.
    const isClock = isTime && place > MICROSECONDS_AT && place < TIME_BYTES;
    const letter = !isClock && from + place < end ? letterOf(bytes[from + place] as number) : -1;
    if (letter === -1) {
      places[at + 1] = 0;
      continue;
    }
    if (places[at + 1] === 0) places[at + 2] = places[at + 3] = 0;
    else {
      // Turns are counted from the first rise on: an even number waits for a rise, an odd one for a fall.
      const step = letter - (places[at] as number);
      const turns = places[at + 3] as number;
      if (turns % 2 === 0 ? step >= STEP_MIN : step <= -STEP_MIN) places[at + 3] = turns + 1;
    }
    places[at] = letter;
    places[at + 1] = (places[at + 1] as number) + 1;
    places[at + 2] = (places[at + 2] as number) | (1 << letter);
    if (found === -1 && isText(places, at)) found = at;
  }
  if (found === -1) return null;
  return {
    place: found / NUMBERS,
    letters: places[found + 1] as number,
    different: bitCount(places[found + 2] as number),
  };
}

/** The microseconds that `ping` put into its payload (little-endian), or -1 where none stand. */
export function microsecondsOf(bytes: Uint8Array, from: number, end: number): number {
  if (end - from < TIME_BYTES) return -1;
  const value = le32(bytes, from + MICROSECONDS_AT);
  return value < 1e6 ? value : -1;
}

/**
 * The command in the payload `[from, end)`, without its digits, for those may count: a few characters, zeros that fill their field, and behind these hardly
 * anything but zeros: an argument or two in fields of their own. '' where there is none.
 */
export function commandOf(bytes: Uint8Array, from: number, end: number): string {
  let at = from;
  const last = Math.min(end, from + COMMAND_BYTES_MAX);
  while (at < last && isPrintable(bytes[at] as number)) at++;
  if (at === from || end - at < ZEROS_MIN) return '';
  let others = 0;
  for (let i = at; i < end; i++) {
    if (bytes[i] === 0) continue;
    if (i < at + ZEROS_MIN || ++others * ARGUMENTS_SHARE > end - from) return '';
  }
  return Buffer.from(bytes.subarray(from, at))
    .toString('latin1')
    .replaceAll(/[^A-Za-z]/g, '');
}

/** 1 to 26, 0 for a space, -1 for what is no letter. */
function letterOf(byte: number): number {
  if (byte === 0x20) return 0;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x7a ? lower & 0x1f : -1;
}

function isText(places: readonly number[], at: number): boolean {
  const which = places[at + 2] as number;
  return (
    (places[at + 1] as number) >= LETTERS_MIN &&
    (places[at + 3] as number) >= TURNS_MIN &&
    (which & BEHIND_F) !== 0 &&
    bitCount(which) >= DIFFERENT_MIN
  );
}

function bitCount(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) count++;
  return count;
}

function isPrintable(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f;
}
