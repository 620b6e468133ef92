/**
 * Decodes one LZ4 block (lz4's `doc/lz4_Block_format.md`) into a bounded place. Total: whatever the input, it reads and
 * writes only inside the given ranges. Written here, because the native decoder at hand decodes whole frames without an
 * output limit, and gives nothing of a block that is damaged at its end.
 *
 *   sequence  token (literal length << 4 | match length − 4), [255 …] more literal length, literals,
 *             offset (u16 LE, ≥ 1), [255 …] more match length; the last sequence ends after its literals
 */
const MATCH_BYTES_MIN = 4;

/**
 * Decodes `input[from, inputEnd)` to `output[to, outputEnd)`; matches may reach back to `output[windowStart]`.
 * Returns the end of the decoded bytes, or, when the block is damaged, the bitwise complement (`~end`) of how far it got.
 */
export function decodeLz4Block(
  input: Uint8Array,
  from: number,
  inputEnd: number,
  output: Uint8Array,
  to: number,
  outputEnd: number,
  windowStart: number,
): number {
  while (from < inputEnd) {
    const token = input[from++] as number;
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        if (from >= inputEnd) return ~to;
        more = input[from++] as number;
        literals += more;
      }
    }
    if (literals > inputEnd - from || literals > outputEnd - to) return ~to;
    // A short loop beats the fixed cost of copying through a view.
    if (literals < 32) for (let i = 0; i < literals; i++) output[to + i] = input[from + i] as number;
    else output.set(input.subarray(from, from + literals), to);
    to += literals;
    from += literals;
    if (from === inputEnd) return to;

    if (inputEnd - from < 2) return ~to;
    const distance = (input[from] as number) | ((input[from + 1] as number) << 8);
    from += 2;
    if (distance === 0 || distance > to - windowStart) return ~to;
    let matched = (token & 15) + MATCH_BYTES_MIN;
    if (matched === 15 + MATCH_BYTES_MIN) {
      let more = 255;
      while (more === 255) {
        if (from >= inputEnd) return ~to;
        more = input[from++] as number;
        matched += more;
      }
    }
    if (matched > outputEnd - to) return ~to;
    // A match may overlap what it produces (a run): then it is copied byte by byte, which repeats it.
    if (matched < 48 || distance < matched)
      for (let i = 0; i < matched; i++, to++) output[to] = output[to - distance] as number;
    else {
      output.copyWithin(to, to - distance, to - distance + matched);
      to += matched;
    }
  }
  // A block ends with literals; one that is empty or ends with a match was cut.
  return ~to;
}
