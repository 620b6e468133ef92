/**
 * Pair of addresses → small number: what `address-table.ts` is for one address, for keys of any number of 32-bit words.
 * Open addressing with linear probes over typed arrays, at most half full; seeded, because the keys come from the network.
 */
import { readU32 } from '../packet/record.ts';

const SLOTS_MIN = 16;

export class PairTable {
  readonly keyBytes: number;
  readonly #words: number;
  readonly #seed = (Math.random() * 2 ** 32) >>> 0;
  #keys: Uint32Array;
  /** Value + 1; 0 marks an empty slot. */
  #values: Int32Array;
  #count = 0;

  /** `keyBytes`: a multiple of four. */
  constructor(keyBytes: number) {
    this.keyBytes = keyBytes;
    this.#words = keyBytes / 4;
    this.#keys = new Uint32Array(SLOTS_MIN * this.#words);
    this.#values = new Int32Array(SLOTS_MIN);
  }

  /** The value of the key at `offset`, or -1 (ABSENT). */
  find(bytes: Uint8Array, offset: number): number {
    return (this.#values[this.#slot(bytes, offset)] as number) - 1;
  }

  /** Adds a key, or gives it another value. `value` ≥ 0. */
  set(bytes: Uint8Array, offset: number, value: number): void {
    if ((this.#count + 1) * 2 > this.#values.length) this.#rebuild(this.#values.length * 2, () => true);
    this.#put(bytes, offset, value);
  }

  /** Forgets every key whose value `keep` does not want. */
  retain(keep: (value: number) => boolean): void {
    this.#rebuild(this.#values.length, keep);
  }

  /** The slot that holds the key, or the empty one where it belongs. */
  #slot(bytes: Uint8Array, offset: number): number {
    const words = this.#words;
    const mask = this.#values.length - 1;
    let hash = this.#seed;
    for (let i = 0; i < words; i++)
      hash = Math.imul((hash ^ (hash >>> 15)) + readU32(bytes, offset + 4 * i), 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    let slot = (hash ^ (hash >>> 16)) & mask;
    while (this.#values[slot] !== 0 && !this.#holds(slot, bytes, offset)) slot = (slot + 1) & mask;
    return slot;
  }

  #holds(slot: number, bytes: Uint8Array, offset: number): boolean {
    const words = this.#words;
    for (let i = 0; i < words; i++)
      if (this.#keys[slot * words + i] !== readU32(bytes, offset + 4 * i)) return false;
    return true;
  }

  #put(bytes: Uint8Array, offset: number, value: number): void {
    const slot = this.#slot(bytes, offset);
    if (this.#values[slot] === 0) this.#count++;
    this.#values[slot] = value + 1;
    for (let i = 0; i < this.#words; i++) this.#keys[slot * this.#words + i] = readU32(bytes, offset + 4 * i);
  }

  #rebuild(slotCount: number, keep: (value: number) => boolean): void {
    const keys = new Uint8Array(this.#keys.buffer);
    const values = this.#values;
    this.#keys = new Uint32Array(slotCount * this.#words);
    this.#values = new Int32Array(slotCount);
    this.#count = 0;
    for (let slot = 0; slot < values.length; slot++) {
      const value = (values[slot] as number) - 1;
      if (value >= 0 && keep(value)) this.#put(keys, slot * this.keyBytes, value);
    }
  }
}
