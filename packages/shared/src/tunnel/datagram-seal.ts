/**
 * Authenticated encryption of datagrams with a pre-shared key.
 *
 *   key    HKDF-SHA-256 (RFC 5869): secret = the 32 bytes of the pre-shared key, salt = header bytes 8–15 (the epoch),
 *          info = "tapline udp 1 " and the cipher's name, then the phase as u32 little-endian; 32 bytes out
 *   phase  ⌊number / 2^24⌋: a new key after 16,777,216 datagrams, far below what GCM may do with one (RFC 8446, 5.5,
 *          reckons with 2^34.5 blocks; ours are at most 94 to a datagram, 2^30.6 in all)
 *   nonce  12 bytes: the number as u64 little-endian, then four zeros
 *   AAD    the 40 bytes of the header
 *
 * What must stay true: no (key, nonce) is used twice. Within an epoch numbers never repeat; an epoch is the second of the
 * start and 32 random bits, so two starts share a key only if a clock was set back to the very second and chance agrees.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { assert } from '../base/assert.ts';
import { writeU32 } from '../packet/record.ts';
import {
  CIPHER_AES_256_GCM,
  CIPHER_CHACHA20_POLY1305,
  DATAGRAM_HEADER_BYTES,
  TAG_BYTES,
} from './datagram.ts';

export type CipherName = 'aes-256-gcm' | 'chacha20-poly1305';

export const KEY_BYTES = 32;
const PHASE_DATAGRAMS = 2 ** 24;
const NONCE_BYTES = 12;
const NAMES: Readonly<Record<number, CipherName>> = {
  [CIPHER_AES_256_GCM]: 'aes-256-gcm',
  [CIPHER_CHACHA20_POLY1305]: 'chacha20-poly1305',
};

export function cipherNumber(name: CipherName): number {
  return name === 'aes-256-gcm' ? CIPHER_AES_256_GCM : CIPHER_CHACHA20_POLY1305;
}

/** Seals or opens the datagrams of one epoch and cipher. */
export class DatagramSeal {
  readonly #secret: Uint8Array;
  readonly #name: CipherName;
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  #phase = -1;
  #key: Uint8Array = new Uint8Array(0);

  /** `secret` is the pre-shared key, KEY_BYTES long; `cipher` the header's number, which must be 1 or 2. */
  constructor(secret: Uint8Array, cipher: number) {
    const name = NAMES[cipher];
    assert(secret.byteLength === KEY_BYTES && name !== undefined, 'a seal needs a key and a cipher');
    this.#secret = secret;
    this.#name = name;
  }

  /** Encrypts the shard of a whole datagram in place, header written, and writes its tag behind it. */
  seal(bytes: Buffer, number: number): void {
    const end = bytes.byteLength - TAG_BYTES;
    this.#usePhaseOf(bytes, number);
    const cipher = createCipheriv(this.#name as 'aes-256-gcm', this.#key, this.#nonceOf(number), {
      authTagLength: TAG_BYTES,
    });
    cipher.setAAD(bytes.subarray(0, DATAGRAM_HEADER_BYTES));
    bytes.set(cipher.update(bytes.subarray(DATAGRAM_HEADER_BYTES, end)), DATAGRAM_HEADER_BYTES);
    cipher.final();
    bytes.set(cipher.getAuthTag(), end);
  }

  /** The shard of a datagram whose header was read, in memory of its own; null when it is not authentic. */
  open(bytes: Uint8Array, number: number): Uint8Array | null {
    const end = bytes.byteLength - TAG_BYTES;
    this.#usePhaseOf(bytes, number);
    const decipher = createDecipheriv(this.#name as 'aes-256-gcm', this.#key, this.#nonceOf(number), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(bytes.subarray(0, DATAGRAM_HEADER_BYTES));
    decipher.setAuthTag(bytes.subarray(end));
    const shard = decipher.update(bytes.subarray(DATAGRAM_HEADER_BYTES, end));
    try {
      decipher.final();
      return shard;
    } catch {
      return null;
    }
  }

  /** A forged number costs one derivation, about as much as the check that refuses the datagram. */
  #usePhaseOf(bytes: Uint8Array, number: number): void {
    const phase = Math.floor(number / PHASE_DATAGRAMS);
    if (phase === this.#phase) return;
    const name = Buffer.from(`tapline udp 1 ${this.#name}`);
    const info = new Uint8Array(name.byteLength + 4);
    info.set(name);
    writeU32(info, name.byteLength, phase);
    this.#key = new Uint8Array(hkdfSync('sha256', this.#secret, bytes.subarray(8, 16), info, KEY_BYTES));
    this.#phase = phase;
  }

  #nonceOf(number: number): Uint8Array {
    writeU32(this.#nonce, 0, number % 0x1_0000_0000);
    writeU32(this.#nonce, 4, Math.floor(number / 0x1_0000_0000));
    return this.#nonce;
  }
}
