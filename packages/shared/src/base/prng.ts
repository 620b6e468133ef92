/**
 * Seeded chance: xoshiro128** (Blackman and Vigna, 2018), 128 bits of state, 32 bits an output, period 2^128 - 1. The
 * state comes out of the seed and a stream's name through a 32-bit SplitMix, so that every part of a simulation can have a
 * stream of its own, and adding one part does not change what the others draw.
 *
 * What must stay true: the same seed and stream give the same numbers on every machine and in every release, because
 * tests, labels and bug reports name seeds. Not for keys or nonces: who sees a few outputs can compute the rest.
 */
import { assert } from './assert.ts';

const TWO_POW_32 = 0x1_0000_0000;
/** The golden ratio in 32 bits: SplitMix's increment. */
const SPLITMIX_INCREMENT = 0x9e37_79b9;
const FNV_OFFSET = 0x811c_9dc5;
const FNV_PRIME = 0x0100_0193;

export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** `seed` is a non-negative safe integer; `stream` names an independent sequence under that seed. */
  constructor(seed: number, stream = '') {
    assert(Number.isSafeInteger(seed) && seed >= 0, 'a seed is a non-negative safe integer');
    let hash = FNV_OFFSET;
    for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), FNV_PRIME);
    hash ^= mix((seed >>> 0) + SPLITMIX_INCREMENT) ^ mix(Math.floor(seed / TWO_POW_32) + FNV_PRIME);
    this.#a = mix((hash += SPLITMIX_INCREMENT));
    this.#b = mix((hash += SPLITMIX_INCREMENT));
    this.#c = mix((hash += SPLITMIX_INCREMENT));
    // The one forbidden state is all zero.
    this.#d = mix(hash + SPLITMIX_INCREMENT) | 1;
  }

  /** 32 random bits, as an unsigned number. */
  u32(): number {
    const times5 = Math.imul(this.#b, 5);
    const result = Math.imul((times5 << 7) | (times5 >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** 0 ≤ x < 1, with 32 bits of resolution. */
  float(): number {
    return this.u32() / TWO_POW_32;
  }

  /** An integer, 0 ≤ n < `limit`. Scaled, not rejected: above 2^32 not every number comes up, which is of no account here. */
  below(limit: number): number {
    return Math.floor(this.float() * limit);
  }

  /** An integer, `low` ≤ n ≤ `high`. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** `value` ± up to `fraction` of it, rounded to an integer. */
  jitter(value: number, fraction: number): number {
    return Math.round(value * (1 + fraction * (2 * this.float() - 1)));
  }

  /** An exponentially distributed integer: the gaps between events that know nothing of each other. */
  exponential(mean: number): number {
    return Math.round(-Math.log(1 - this.float()) * mean);
  }

  /** One of `choices`, which is not empty. */
  pick<T>(choices: readonly T[]): T {
    assert(choices.length > 0, 'nothing to pick from');
    return choices[this.below(choices.length)] as T;
  }

  /** `byteLength` fresh random bytes. */
  bytes(byteLength: number): Uint8Array {
    const bytes = new Uint8Array(byteLength);
    for (let i = 0; i < byteLength; i++) bytes[i] = this.u32() >>> 24;
    return bytes;
  }
}

/** The finaliser of a 32-bit SplitMix: every input bit reaches every output bit. */
function mix(value: number): number {
  let bits = value | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x21f0_aaad);
  bits = Math.imul(bits ^ (bits >>> 15), 0x735a_2d97);
  return (bits ^ (bits >>> 15)) >>> 0;
}
