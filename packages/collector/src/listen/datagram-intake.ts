/**
 * The door of the one-way tunnel: judges each datagram, finds its epoch, and hands its shard to that epoch's assembler.
 *
 *   datagram ─ header ─ key ─ replay window ─ tag or checksum ─▶ epoch: assembler ─▶ session ─▶ the sensor's intake
 *
 * What must stay true:
 * - a key belongs to one sensor; who holds it can speak for no other, and nobody without it for that one;
 * - nothing counts before it is authentic: windows, epochs and floors are moved by good datagrams alone;
 * - an epoch that began before the newest one of its key is refused, also after a restart, because the resume point
 *   remembers epochs; so a recorded stream is worth nothing;
 * - memory: one budget for all epochs, and a small share for epochs whose HELLO has not come (UNKNOWN_MAX of them).
 */
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import {
  CIPHER_NONE,
  epochText,
  openChecksummed,
  readDatagramHeader,
  type DatagramHeader,
} from '@tapline/shared/tunnel/datagram.ts';
import type { DatagramSeal } from '@tapline/shared/tunnel/datagram-seal.ts';
import type { Hello } from '@tapline/shared/tunnel/messages.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { SensorIntake } from '../session/sensor-intake.ts';
import type { SessionEvents } from '../session/session-events.ts';
import { OverEpochs, epochName, isOf, missingOf, type DatagramEpoch } from './datagram-epoch.ts';
import { DatagramRejections, newRejections, type DatagramRejection } from './datagram-rejections.ts';
import { DatagramSession } from './datagram-session.ts';
import { GroupAssembler, newAssemblerCounters, type AssemblyBudget } from './group-assembler.ts';
import { KeyRing, type DatagramKey } from './key-ring.ts';
import { ReplayWindow } from './replay-window.ts';

/** Epochs that wait for their HELLO; each may hold 256 KiB and at most 1/64 of the budget, so all of them a quarter. */
const UNKNOWN_MAX = 16;
const UNKNOWN_SHARE = 1 / 64;
const UNKNOWN_BYTES_MAX = 256 * 1024;
const TICKS_PER_REORDER = 4;
const TICK_MS_MIN = 5;

export interface DatagramIntakeOptions {
  readonly keys: readonly DatagramKey[];
  /** False: datagrams without a seal are taken too, from sensors that have no key. */
  readonly isKeyRequired: boolean;
  readonly reorderMs: number;
  /** What all epochs together may hold. */
  readonly bytesMax: number;
  /** A sensor from which nothing came for so long is gone. */
  readonly idleTimeoutMs: number;
}

export interface DatagramEvents extends Pick<SessionEvents, 'sessionOpened' | 'sessionClosed'> {
  /** The HELLO of an epoch was refused; nothing of it is taken. */
  epochRefused?(refusal: {
    readonly peer: string;
    readonly sensor: string;
    readonly epoch: string;
    readonly reason: string;
  }): void;
  /** At most once a minute for each reason. */
  datagramRejected?(rejection: { readonly peer: string; readonly reason: DatagramRejection }): void;
}

export interface DatagramIntakeDependencies {
  readonly clock: TunnelClock;
  readonly openIntake: (hello: Hello) => Promise<SensorIntake>;
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
  readonly #options: DatagramIntakeOptions;
  readonly #dependencies: DatagramIntakeDependencies;
  readonly #clock: TunnelClock;
  readonly #keys: KeyRing;
  readonly #rejections: DatagramRejections;
  readonly #budget: AssemblyBudget;
  readonly #epochs = new Map<string, DatagramEpoch>();
  readonly #over = new OverEpochs();
  #latest: DatagramEpoch | null = null;
  #isClosed = false;
  #cancelTick: (() => void) | null = null;

  constructor(options: DatagramIntakeOptions, dependencies: DatagramIntakeDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#clock = dependencies.clock;
    this.#keys = new KeyRing(options.keys, options.isKeyRequired);
    this.#rejections = new DatagramRejections(this.counters.rejected, dependencies.clock, (rejection) => {
      dependencies.events.datagramRejected?.(rejection);
    });
    this.#budget = { bytesMax: options.bytesMax, heldBytes: 0 };
  }

  get epochCount(): number {
    return this.#epochs.size;
  }

  get heldBytes(): number {
    return this.#budget.heldBytes;
  }

  /** Of all epochs, those that go on included. */
  get missingDatagrams(): number {
    let missing = this.counters.missingDatagrams;
    for (const epoch of this.#epochs.values()) missing += missingOf(epoch);
    return missing;
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
    this.#cancelTick?.();
    for (const [name, epoch] of [...this.#epochs]) {
      epoch.assembler.settle();
      this.#endEpoch(name, epoch, null, 'the collector is stopping', false);
    }
  }

  #open(peer: string, header: DatagramHeader, bytes: Buffer): DatagramRejection | null {
    const name = epochName(header);
    const known = isOf(this.#latest, header) ? this.#latest : (this.#epochs.get(name) ?? null);
    if (known === null) {
      const over = this.#over.get(name);
      if (over !== undefined) return over;
    } else if (!known.window.isNew(header.number)) return 'replayed';
    const seal = known === null ? this.#keys.sealOf(header) : known.seal;
    const shard = seal === null ? openChecksummed(bytes) : seal.open(bytes, header.number);
    if (shard === null) return seal === null ? 'checksum' : 'not-authentic';
    const epoch = known ?? this.#createEpoch(name, header, seal);
    this.#latest = epoch;
    epoch.window.add(header.number);
    epoch.firstNumber = Math.min(epoch.firstNumber, header.number);
    epoch.received++;
    epoch.peer = peer;
    epoch.heardAtMs = this.#clock.monotonicMs();
    epoch.assembler.take(header, shard, epoch.heardAtMs);
    return null;
  }

  #createEpoch(name: string, header: DatagramHeader, seal: DatagramSeal | null): DatagramEpoch {
    this.#makeRoomForUnknown();
    const text = epochText(header.epochSeconds, header.epochRandom);
    const { reorderMs, bytesMax } = this.#options;
    const session: DatagramSession = new DatagramSession(
      { epoch: text, keyId: header.keyId },
      {
        clock: this.#clock,
        handlers: {
          greeted: (hello) => void this.#greet(name, hello),
          resumed: () => {
            assembler.advance(this.#clock.monotonicMs());
          },
          malformed: () => {
            this.counters.malformedGroups++;
          },
          saidBye: () => {
            // It stays until it is silent: a goodbye is said several times.
            this.#told(epoch, 'the forwarder said goodbye', true);
          },
          replaced: () => {
            this.#told(epoch, 'another connection of this sensor took over', false);
            this.#forget(name, epoch, 'refused-epoch');
          },
          overloadedGroups: () => assembler.overloadedGroups,
        },
      },
    );
    const unknownBytes = Math.min(UNKNOWN_BYTES_MAX, bytesMax * UNKNOWN_SHARE);
    const limits = { reorderMs, bytesMax: unknownBytes, budget: this.#budget };
    const assembler: GroupAssembler = new GroupAssembler(limits, this.counters, session);
    const epoch: DatagramEpoch = {
      header,
      text,
      seal,
      window: new ReplayWindow(),
      assembler,
      session,
      firstNumber: header.number,
      received: 0,
      peer: '',
      heardAtMs: 0,
    };
    this.#epochs.set(name, epoch);
    this.#armTick();
    return epoch;
  }

  #makeRoomForUnknown(): void {
    const unknown = [...this.#epochs].filter(([, { session }]) => session.sensor === null);
    if (unknown.length < UNKNOWN_MAX) return;
    const [name, epoch] = unknown[0] as [string, DatagramEpoch];
    this.#endEpoch(name, epoch, null, 'its HELLO did not come', false);
  }

  /** Who is it, and may it speak? Asked once per epoch, and again by its next HELLO when a store could not be opened. */
  async #greet(name: string, hello: Hello): Promise<void> {
    const epoch = this.#epochs.get(name);
    if (epoch === undefined) return;
    const { header, session } = epoch;
    const objection = this.#objectionToHello(epoch, hello);
    if (objection !== null) {
      this.#refuse(name, epoch, hello, 'refused-epoch', objection);
      return;
    }
    session.setOpening(true);
    let intake: SensorIntake;
    try {
      intake = await this.#dependencies.openIntake(hello);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      session.setOpening(false);
      const { sensor } = hello;
      this.#dependencies.events.epochRefused?.({
        peer: epoch.peer,
        sensor,
        epoch: epoch.text,
        reason: messageOf(error),
      });
      return;
    }
    if (this.#isClosed || this.#epochs.get(name) !== epoch) return;
    if (this.#isOld(epoch, intake)) {
      this.#refuse(
        name,
        epoch,
        hello,
        'old-epoch',
        'a later epoch of this sensor is known: is its clock behind?',
      );
      return;
    }
    this.#endOthersOf(hello.sensor, epoch);
    this.#keys.raiseFloor(header);
    epoch.assembler.bytesMax = this.#options.bytesMax;
    const nextSequence = session.open(intake, hello, epoch.peer);
    this.#dependencies.events.sessionOpened?.({
      sensor: hello.sensor,
      peer: epoch.peer,
      hello,
      nextSequence,
    });
    epoch.assembler.advance(this.#clock.monotonicMs());
  }

  #objectionToHello({ header, text }: DatagramEpoch, hello: Hello): string | null {
    if (hello.epoch !== text) return 'its HELLO names another epoch than its datagrams';
    return this.#keys.objectionToSensor(header, hello.sensor);
  }

  /**
   * Sealed: whether a later epoch of the key is known, now or from before a restart. Without a seal anybody could invent a
   * late epoch, so there an older one is refused only while the newer is heard.
   */
  #isOld(epoch: DatagramEpoch, intake: SensorIntake): boolean {
    const { header } = epoch;
    const starts =
      header.cipher === CIPHER_NONE
        ? [...this.#epochs.values()]
            .filter(({ session }) => session.state === 'open' && session.sensor === intake.sensor)
            .map((other) => other.header.epochSeconds)
        : intake.oneWayEpochs(header.keyId).map((text) => parseInt(text.slice(0, 8), 16));
    return starts.some((seconds) => seconds > header.epochSeconds);
  }

  #endOthersOf(sensor: string, newest: DatagramEpoch): void {
    for (const [name, epoch] of [...this.#epochs]) {
      if (epoch === newest || epoch.session.sensor !== sensor) continue;
      epoch.assembler.settle();
      this.#endEpoch(name, epoch, 'old-epoch', 'the sensor has begun a new epoch', true);
    }
  }

  #refuse(
    name: string,
    epoch: DatagramEpoch,
    hello: Hello,
    rejection: DatagramRejection,
    reason: string,
  ): void {
    this.#forget(name, epoch, rejection);
    this.counters.rejected[rejection] += epoch.received;
    const { sensor } = hello;
    this.#dependencies.events.epochRefused?.({ peer: epoch.peer, sensor, epoch: epoch.text, reason });
  }

  #endEpoch(
    name: string,
    epoch: DatagramEpoch,
    rejection: DatagramRejection | null,
    reason: string,
    clean: boolean,
  ): void {
    if (epoch.session.state === 'open') this.#told(epoch, reason, clean);
    else if (epoch.session.sensor === null) this.counters.rejected['no-hello'] += epoch.received;
    this.#forget(name, epoch, rejection);
  }

  #told(epoch: DatagramEpoch, reason: string, clean: boolean): void {
    const sensor = epoch.session.sensor ?? '';
    this.#dependencies.events.sessionClosed?.({ sensor, peer: epoch.peer, reason, clean });
  }

  /** `rejection`: what its datagrams are from now on; null: it may begin anew. */
  #forget(name: string, epoch: DatagramEpoch, rejection: DatagramRejection | null): void {
    this.#epochs.delete(name);
    if (this.#latest === epoch) this.#latest = null;
    this.counters.missingDatagrams += missingOf(epoch);
    epoch.assembler.clear();
    epoch.session.end();
    if (rejection !== null) this.#over.add(name, rejection);
  }

  #armTick(): void {
    if (this.#cancelTick !== null || this.#epochs.size === 0) return;
    const delayMs = Math.max(TICK_MS_MIN, this.#options.reorderMs / TICKS_PER_REORDER);
    this.#cancelTick = this.#clock.after(delayMs, () => {
      this.#cancelTick = null;
      this.#tick();
      this.#armTick();
    });
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [name, epoch] of [...this.#epochs]) {
      epoch.assembler.advance(nowMs);
      if (nowMs - epoch.heardAtMs <= this.#options.idleTimeoutMs) continue;
      epoch.assembler.settle();
      // Silence is no end: the link may come back, and the epoch go on.
      this.#endEpoch(name, epoch, null, 'nothing was heard', false);
    }
  }
}
