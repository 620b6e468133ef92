/**
 * XXH32 (seed 0), the checksum of the LZ4 frame format: of a frame's header, of its blocks, and of its content as it streams by.
 * The algorithm is specified in xxHash's `doc/xxhash_spec.md`.
 */
import { readU32 } from '../packet/record.ts';

const PRIME_1 = 0x9e3779b1;
const PRIME_2 = 0x85ebca77;
const PRIME_3 = 0xc2b2ae3d;
const PRIME_4 = 0x27d4eb2f;
const PRIME_5 = 0x165667b1;
const STRIPE_BYTES = 16;

export class Xxh32 {
  #a = (PRIME_1 + PRIME_2) | 0;
  #b = PRIME_2 | 0;
  #c = 0;
  #d = -PRIME_1 | 0;
  #totalBytes = 0;
  readonly #tail = new Uint8Array(STRIPE_BYTES);
  #tailBytes = 0;

  /** Takes in `bytes[start, end)`. */
  update(bytes: Uint8Array, start: number, end: number): void {
    this.#totalBytes += end - start;
    let at = start;
    if (this.#tailBytes > 0) {
      while (at < end && this.#tailBytes < STRIPE_BYTES)
        this.#tail[this.#tailBytes++] = bytes[at++] as number;
      if (this.#tailBytes < STRIPE_BYTES) return;
      this.#stripes(this.#tail, 0, STRIPE_BYTES);
      this.#tailBytes = 0;
    }
    const whole = at + Math.floor((end - at) / STRIPE_BYTES) * STRIPE_BYTES;
    this.#stripes(bytes, at, whole);
    for (at = whole; at < end; at++) this.#tail[this.#tailBytes++] = bytes[at] as number;
  }

  /** The checksum of everything taken in, as a u32. */
  digest(): number {
    let hash =
      this.#totalBytes >= STRIPE_BYTES
        ? rotate(this.#a, 1) + rotate(this.#b, 7) + rotate(this.#c, 12) + rotate(this.#d, 18)
        : PRIME_5;
    hash = (hash + this.#totalBytes) | 0;
    let at = 0;
    for (; this.#tailBytes - at >= 4; at += 4)
      hash = Math.imul(rotate((hash + Math.imul(readU32(this.#tail, at), PRIME_3)) | 0, 17), PRIME_4);
    for (; at < this.#tailBytes; at++)
      hash = Math.imul(rotate((hash + Math.imul(this.#tail[at] as number, PRIME_5)) | 0, 11), PRIME_1);
    hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
    hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
    return (hash ^ (hash >>> 16)) >>> 0;
  }

  #stripes(bytes: Uint8Array, start: number, end: number): void {
    let a = this.#a;
    let b = this.#b;
    let c = this.#c;
    let d = this.#d;
    for (let at = start; at < end; at += STRIPE_BYTES) {
      a = round(a, readU32(bytes, at));
      b = round(b, readU32(bytes, at + 4));
      c = round(c, readU32(bytes, at + 8));
      d = round(d, readU32(bytes, at + 12));
    }
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
  }
}

/** XXH32 of `bytes[start, end)` at once. */
export function xxh32(bytes: Uint8Array, start: number, end: number): number {
  const hash = new Xxh32();
  hash.update(bytes, start, end);
  return hash.digest();
}

function round(accumulator: number, lane: number): number {
  return Math.imul(rotate((accumulator + Math.imul(lane, PRIME_2)) | 0, 13), PRIME_1);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
