/**
 * The door of the one-way tunnel: judges each datagram, finds its epoch, and hands its shard to that epoch's assembler.
 *
 *   datagram ─ header ─ key ─ replay window ─ tag or checksum ─▶ epoch: assembler ─▶ session ─▶ the sensor's intake
 *
 * What must stay true:
 * - a key belongs to one sensor; who holds it can speak for no other, and nobody without it for that one;
 * - nothing counts before it is authentic: windows, epochs and floors are moved by good datagrams alone.
 */
import { openChecksummed, readDatagramHeader, type DatagramHeader } from '@tapline/shared/tunnel/datagram.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import {
  DatagramEpochs,
  type EpochDependencies,
  type EpochEvents,
  type EpochOptions,
} from './datagram-epochs.ts';
import { DatagramRejections, newRejections, type DatagramRejection } from './datagram-rejections.ts';
import { newAssemblerCounters } from './group-assembler.ts';
import { KeyRing, type DatagramKey } from './key-ring.ts';

export interface DatagramIntakeOptions extends EpochOptions {
  readonly keys: readonly DatagramKey[];
  /** False: datagrams without a seal are taken too, from sensors that have no key. */
  readonly isKeyRequired: boolean;
}

export interface DatagramEvents extends EpochEvents {
  /** At most once a minute for each reason. */
  datagramRejected?(rejection: { readonly peer: string; readonly reason: DatagramRejection }): void;
}

export interface DatagramIntakeDependencies extends EpochDependencies {
  readonly clock: TunnelClock;
  readonly events: DatagramEvents;
}

export class DatagramIntake {
  readonly counters = {
    datagrams: 0,
    bytes: 0,
    /** Numbers that did not come, as far as the newest that did tells; of epochs that are over. */
    missingDatagrams: 0,
    malformedGroups: 0,
    ...newAssemblerCounters(),
    rejected: newRejections(),
  };
  readonly #keys: KeyRing;
  readonly #rejections: DatagramRejections;
  readonly #epochs: DatagramEpochs;
  #isClosed = false;

  constructor(options: DatagramIntakeOptions, dependencies: DatagramIntakeDependencies) {
    this.#keys = new KeyRing(options.keys, options.isKeyRequired);
    this.#rejections = new DatagramRejections(this.counters.rejected, dependencies.clock, (rejection) => {
      dependencies.events.datagramRejected?.(rejection);
    });
    this.#epochs = new DatagramEpochs(options, dependencies, this.#keys, this.counters);
  }

  get epochCount(): number {
    return this.#epochs.count;
  }

  get heldBytes(): number {
    return this.#epochs.heldBytes;
  }

  /** Of all epochs, those that go on included. */
  get missingDatagrams(): number {
    return this.counters.missingDatagrams + this.#epochs.missingDatagrams;
  }

  /** One datagram that begins with "TAPD"; keeps `bytes`. */
  take(peer: string, bytes: Buffer): void {
    if (this.#isClosed) return;
    this.counters.datagrams++;
    this.counters.bytes += bytes.byteLength;
    const header = readDatagramHeader(bytes);
    const rejection =
      typeof header === 'string'
        ? header === 'version'
          ? 'version'
          : 'malformed'
        : (this.#keys.objectionTo(header) ?? this.#open(peer, header, bytes));
    if (rejection !== null) this.#rejections.add(peer, rejection);
  }

  /** Nothing more comes: hands on what is whole, writes down what is missing, ends every session. */
  close(): void {
    this.#isClosed = true;
    this.#epochs.close();
  }

  #open(peer: string, header: DatagramHeader, bytes: Buffer): DatagramRejection | null {
    const known = this.#epochs.find(header);
    if (known === null) {
      const over = this.#epochs.overAs(header);
      if (over !== undefined) return over;
    } else if (!known.window.isNew(header.number)) return 'replayed';
    const seal = known === null ? this.#keys.sealOf(header) : known.seal;
    const shard = seal === null ? openChecksummed(bytes) : seal.open(bytes, header.number);
    if (shard === null) return seal === null ? 'checksum' : 'not-authentic';
    this.#epochs.take(known ?? this.#epochs.begin(header, seal), peer, header, shard);
    return null;
  }
}
