/**
 * The epochs of the one-way tunnel, from their first good datagram to their end: who each is, by its HELLO, which of a sensor's is the newest, and when one is
 * over. What must stay true:
 * - an epoch that began before the newest one of its key is refused, also after a restart, because the resume point
 *   remembers epochs; so a recorded stream is worth nothing;
 * - memory: one budget for all epochs, and a small share for epochs whose HELLO has not come (UNKNOWN_MAX of them).
 */
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { CIPHER_NONE, epochText, type DatagramHeader } from '@tapline/shared/tunnel/datagram.ts';
import type { DatagramSeal } from '@tapline/shared/tunnel/datagram-seal.ts';
import type { Hello } from '@tapline/shared/tunnel/messages.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { SensorIntake } from '../session/sensor-intake.ts';
import type { SessionEvents } from '../session/session-events.ts';
import { OverEpochs, epochName, isOf, missingOf, type DatagramEpoch } from './datagram-epoch.ts';
import type { DatagramRejection } from './datagram-rejections.ts';
import { DatagramSession } from './datagram-session.ts';
import { GroupAssembler, type AssemblerCounters, type AssemblyBudget } from './group-assembler.ts';
import type { KeyRing } from './key-ring.ts';
import { ReplayWindow } from './replay-window.ts';

/** Epochs that wait for their HELLO; each may hold 256 KiB and at most 1/64 of the budget, so all of them a quarter. */
const UNKNOWN_MAX = 16;
const UNKNOWN_SHARE = 1 / 64;
const UNKNOWN_BYTES_MAX = 256 * 1024;
const TICKS_PER_REORDER = 4;
const TICK_MS_MIN = 5;

export interface EpochOptions {
  readonly reorderMs: number;
  /** What all epochs together may hold. */
  readonly bytesMax: number;
  /** A sensor from which nothing came for so long is gone. */
  readonly idleTimeoutMs: number;
}

export interface EpochEvents extends Pick<SessionEvents, 'sessionOpened' | 'sessionClosed'> {
  /** The HELLO of an epoch was refused; nothing of it is taken. */
  epochRefused?(refusal: {
    readonly peer: string;
    readonly sensor: string;
    readonly epoch: string;
    readonly reason: string;
  }): void;
}

export interface EpochDependencies {
  readonly clock: TunnelClock;
  readonly openIntake: (hello: Hello) => Promise<SensorIntake>;
  readonly events: EpochEvents;
}

/** What is counted here, in the books of the door. */
export interface EpochCounters extends AssemblerCounters {
  missingDatagrams: number;
  malformedGroups: number;
  readonly rejected: Record<DatagramRejection, number>;
}

export class DatagramEpochs {
  readonly #options: EpochOptions;
  readonly #dependencies: EpochDependencies;
  readonly #clock: TunnelClock;
  readonly #keys: KeyRing;
  readonly #counters: EpochCounters;
  readonly #budget: AssemblyBudget;
  readonly #epochs = new Map<string, DatagramEpoch>();
  readonly #over = new OverEpochs();
  #latest: DatagramEpoch | null = null;
  #isClosed = false;
  #cancelTick: (() => void) | null = null;

  /** Raises the floors of `keys`, and counts in `counters`. */
  constructor(
    options: EpochOptions,
    dependencies: EpochDependencies,
    keys: KeyRing,
    counters: EpochCounters,
  ) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#clock = dependencies.clock;
    this.#keys = keys;
    this.#counters = counters;
    this.#budget = { bytesMax: options.bytesMax, heldBytes: 0 };
  }

  get count(): number {
    return this.#epochs.size;
  }

  get heldBytes(): number {
    return this.#budget.heldBytes;
  }

  /** Of those that go on. */
  get missingDatagrams(): number {
    let missing = 0;
    for (const epoch of this.#epochs.values()) missing += missingOf(epoch);
    return missing;
  }

  /** The epoch of a datagram, if it goes on. */
  find(header: DatagramHeader): DatagramEpoch | null {
    return isOf(this.#latest, header) ? this.#latest : (this.#epochs.get(epochName(header)) ?? null);
  }

  /** What a datagram is whose epoch is over. */
  overAs(header: DatagramHeader): DatagramRejection | undefined {
    return this.#over.get(epochName(header));
  }

  /** Whose first good datagram came; who it is, its HELLO will say. */
  begin(header: DatagramHeader, seal: DatagramSeal | null): DatagramEpoch {
    this.#makeRoomForUnknown();
    const name = epochName(header);
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
            this.#counters.malformedGroups++;
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
    const assembler: GroupAssembler = new GroupAssembler(limits, this.#counters, session);
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

  /** A good datagram of the epoch: its number counts, its shard goes to the assembler. */
  take(epoch: DatagramEpoch, peer: string, header: DatagramHeader, shard: Uint8Array): void {
    this.#latest = epoch;
    epoch.window.add(header.number);
    epoch.firstNumber = Math.min(epoch.firstNumber, header.number);
    epoch.received++;
    epoch.peer = peer;
    epoch.heardAtMs = this.#clock.monotonicMs();
    epoch.assembler.take(header, shard, epoch.heardAtMs);
  }

  /** Hands on what is whole, writes down what is missing, ends every session. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTick?.();
    for (const [name, epoch] of [...this.#epochs]) {
      epoch.assembler.settle();
      this.#endEpoch(name, epoch, null, 'the collector is stopping', false);
    }
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
    this.#counters.rejected[rejection] += epoch.received;
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
    else if (epoch.session.sensor === null) this.#counters.rejected['no-hello'] += epoch.received;
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
    this.#counters.missingDatagrams += missingOf(epoch);
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
