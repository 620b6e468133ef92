/**
 * What no honest argument of a command holds: a slide into code, and directions for printf. For readers whose messages are commands with short words in
 * them; in files, pictures and programs the same bytes mean nothing.
 */

/** x86's no-operation. */
const NOP = 0x90;
/** A sled is far longer: exploits of 1996 to 2010 have 64 to 2000. */
export const SLED_BYTES_MIN = 64;
/** One word again and again: the no-operation of a processor whose code comes in fours, or what an overflow is filled up with. */
export const WORDS_BYTES_MIN = 96;
const WORD = 4;
const FORMAT_CHARACTERS_MAX = 1024;

/** Bytes of the longest run of x86's no-operation in `bytes[at, end)`, 0 below SLED_BYTES_MIN. Looks at every 32nd byte, and around it only where one stands. */
export function sledBytes(bytes: Uint8Array, at: number, end: number): number {
  const step = SLED_BYTES_MIN / 2;
  for (let i = at + step - 1; i < end; i += step) {
    if (bytes[i] !== NOP) continue;
    let from = i;
    let to = i + 1;
    while (from > at && bytes[from - 1] === NOP) from--;
    while (to < end && bytes[to] === NOP) to++;
    if (to - from >= SLED_BYTES_MIN) return to - from;
    i = Math.max(i, to - step);
  }
  return 0;
}

/** Bytes of the longest run of one word of four bytes, wherever it begins; 0 below WORDS_BYTES_MIN, and for words of nothing but zeros. */
export function repeatedWordBytes(bytes: Uint8Array, at: number, end: number): number {
  let longest = 0;
  let run = WORD;
  let zeros = 0;
  for (let i = at; i < end; i++) {
    zeros = bytes[i] === 0 ? zeros + 1 : 0;
    run = i - at >= WORD && bytes[i] === bytes[i - WORD] && zeros < WORD ? run + 1 : WORD;
    if (run > longest) longest = run;
  }
  return longest >= WORDS_BYTES_MIN ? longest : 0;
}

/** Whether the text tells printf to write: `%n`, behind at least three other directions. */
export function isFormatString(text: string): boolean {
  const bounded = text.slice(0, FORMAT_CHARACTERS_MAX);
  if (!/%(?:\d{1,9}\$)?\d{0,9}h{0,2}n/.test(bounded)) return false;
  return (bounded.match(/%(?:\d{1,9}\$)?[-0.]?\d{0,9}(?:\.\d{0,9})?h{0,2}[xXdupcsf]/g)?.length ?? 0) >= 3;
}
