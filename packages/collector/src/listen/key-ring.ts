/**
 * Whose keys are known, and what each may say. A key belongs to one sensor: who holds it can speak for no other, and nobody
 * without it for that one. An epoch that began before the newest one of its key is a recording.
 */
import { CIPHER_NONE, type DatagramHeader } from '@tapline/shared/tunnel/datagram.ts';
import { DatagramSeal } from '@tapline/shared/tunnel/datagram-seal.ts';
import type { DatagramRejection } from './datagram-rejections.ts';

/** A pre-shared key of one sensor. */
export interface DatagramKey {
  readonly id: number;
  readonly sensor: string;
  readonly secret: Uint8Array;
}

export class KeyRing {
  readonly #isKeyRequired: boolean;
  readonly #keys: ReadonlyMap<number, DatagramKey>;
  readonly #keyedSensors: ReadonlySet<string>;
  /** Start of the newest epoch of each key, seconds since 1970 UTC. */
  readonly #floors = new Map<number, number>();

  /** `isKeyRequired` false: datagrams without a seal are taken too, from sensors that have no key. */
  constructor(keys: readonly DatagramKey[], isKeyRequired: boolean) {
    this.#isKeyRequired = isKeyRequired;
    this.#keys = new Map(keys.map((key) => [key.id, key]));
    this.#keyedSensors = new Set(keys.map(({ sensor }) => sensor));
  }

  /** Why a datagram need not be opened. Nothing of its header is authentic yet. */
  objectionTo({ cipher, keyId, epochSeconds }: DatagramHeader): DatagramRejection | null {
    if (cipher === CIPHER_NONE) return this.#isKeyRequired ? 'key-required' : null;
    if (!this.#keys.has(keyId)) return 'unknown-key';
    return epochSeconds < (this.#floors.get(keyId) ?? 0) ? 'old-epoch' : null;
  }

  /** What opens the datagrams of an epoch; null where they bear no seal. */
  sealOf({ cipher, keyId }: DatagramHeader): DatagramSeal | null {
    const key = this.#keys.get(keyId);
    return cipher === CIPHER_NONE || key === undefined ? null : new DatagramSeal(key.secret, cipher);
  }

  /** Why an epoch may not speak for this sensor, as a sentence; null when it may. */
  objectionToSensor({ cipher, keyId }: DatagramHeader, sensor: string): string | null {
    if (cipher === CIPHER_NONE)
      return this.#keyedSensors.has(sensor) ? 'this sensor has a key and must seal with it' : null;
    const owner = this.#keys.get(keyId)?.sensor ?? '';
    return owner === sensor ? null : `its key belongs to ${owner}`;
  }

  /** An epoch is the newest of its key: those that began before it are refused from now on. */
  raiseFloor({ cipher, keyId, epochSeconds }: DatagramHeader): void {
    if (cipher !== CIPHER_NONE) this.#floors.set(keyId, epochSeconds);
  }
}
