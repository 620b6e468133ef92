/**
 * Everything the collector knows about one sensor, whichever connection it comes by: which sequences of which epoch
 * were accepted, the store they went to, what is durable, and the ledger. Sessions come and go; this stays.
 *
 * A sensor numbers its frames in lanes, each with an epoch of its own; which lane number stands for which epoch is a
 * matter of the session, how far an epoch has come is remembered for good.
 *
 *   session ─▶ takeBatch / takeGap ─▶ sequence ─▶ store ─▶ group commit ─▶ session.acknowledge
 *
 * What must stay true: a frame is written to the store once; it is acknowledged only when the store said it is durable;
 * two connections of the same sensor never interleave, because attaching the second detaches the first.
 */
import type { Batch } from '@tapline/shared/packet/batch.ts';
import type { Frame } from '@tapline/shared/tunnel/frame.ts';
import { broken } from '@tapline/shared/tunnel/frame.ts';
import { decodeGap, type Gap, type Hello, type Lane, type Report } from '@tapline/shared/tunnel/messages.ts';
import { batchTimeSpan, capturedBytesOf, decodeBatch } from '@tapline/shared/tunnel/packet-batch.ts';
import type { SequenceTracker } from '@tapline/shared/tunnel/sequence.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { DiskLimit } from './disk-limit.ts';
import { EdgeDesk } from './edge-desk.ts';
import { EpochTable } from './epoch-table.ts';
import { GroupCommit, type GroupCommitOptions } from './group-commit.ts';
import type { GapEntry } from './gap-list.ts';
import { newIntakeCounters, type IntakeCounters } from './intake-counters.ts';
import type { OneWayProgress } from './resume-point.ts';
import type { SensorStore } from './sensor-store.ts';

/** What a gap weighs among the uncommitted bytes. */
const GAP_BYTES = 256;

/** What the intake needs of the connection it serves. */
export interface AttachedSession {
  readonly peer: string;
  acknowledge(lane: number, durableSequence: number): void;
  /** The store keeps up again. */
  resume(): void;
  /** A newer connection took over. */
  replaced(): void;
}

/** What a one-way link lost: known to the packet. */
export type LostRange = Pick<GapEntry, 'sequences' | 'fromNs' | 'toNs' | 'reason'> & {
  readonly packets: number;
  readonly bytes: number;
};

export interface IntakeEvents {
  packetsLost?(loss: LostRange & { readonly sensor: string; readonly epoch: string }): void;
  gapReceived?(gap: Gap & { readonly sensor: string }): void;
  /** The sensor was at another collector in between. */
  framesElsewhere?(frames: {
    readonly sensor: string;
    readonly epoch: string;
    readonly frames: number;
  }): void;
  diskLimitReached?(limit: { readonly sensor: string; readonly bytesMax: number }): void;
  diskLimitLeft?(limit: { readonly sensor: string; readonly bytes: number }): void;
  framesMissing?(loss: { readonly sensor: string; readonly epoch: string; readonly frames: number }): void;
  commitFailed?(failure: {
    readonly sensor: string;
    readonly message: string;
    readonly retryMs: number;
  }): void;
}

export class SensorIntake {
  readonly sensor: string;
  readonly store: SensorStore;
  readonly counters: IntakeCounters = newIntakeCounters();
  /** The newest REPORT, and when it came. */
  report: (Report & { readonly receivedAtMs: number }) | null = null;
  /** The sensor's wall clock less ours, as NTP reckons it; null before the first exchange. */
  clockOffsetMs: number | null = null;
  lastHeardAtMs = 0;
  /** Of the session there is, or the last one. */
  peer = '';
  software = '';
  /** Queries to the sensor's own archive. */
  readonly edge = new EdgeDesk();
  /** Names of what it captures on. */
  interfaces: readonly string[] = [];
  connectedAtMs = 0;
  /** Time of the newest packet that came, by the sensor's clock; milliseconds since 1970 UTC. */
  newestPacketAtMs = 0;

  readonly #clock: TunnelClock;
  readonly #events: IntakeEvents;
  readonly #commit: GroupCommit;
  readonly #diskLimit: DiskLimit;
  readonly #epochs: EpochTable;
  /** Of the session there is: what the lane number in a frame's header stands for. */
  readonly #lanes = new Map<number, OpenLane>();
  #session: AttachedSession | null = null;

  constructor(
    sensor: string,
    store: SensorStore,
    options: GroupCommitOptions,
    dependencies: { readonly clock: TunnelClock; readonly events: IntakeEvents },
  ) {
    this.sensor = sensor;
    this.store = store;
    this.#clock = dependencies.clock;
    this.#events = dependencies.events;
    this.#epochs = new EpochTable(store.marks);
    this.#diskLimit = new DiskLimit(store, this.#clock, {
      reached: (bytesMax) => this.#events.diskLimitReached?.({ sensor, bytesMax }),
      left: (bytes) => {
        this.#events.diskLimitLeft?.({ sensor, bytes });
        this.#session?.resume();
      },
    });
    this.#commit = new GroupCommit(options, this.#clock, {
      commit: () => this.#commitNow(),
      committed: () => {
        this.#acknowledge();
        this.#session?.resume();
      },
      failed: (failure) => {
        this.counters.commitsFailed++;
        this.#events.commitFailed?.({ sensor, ...failure });
      },
    });
  }

  get isConnected(): boolean {
    return this.#session !== null;
  }

  get isOverloaded(): boolean {
    return this.#commit.isOverloaded || this.#diskLimit.isReached();
  }

  get diskBytes(): number {
    return this.store.diskBytes(false);
  }

  /** Makes this session the sensor's only one; says for each of its lanes from where it should send. */
  attach(session: AttachedSession, hello: Hello): LanePosition[] {
    const previous = this.#session;
    this.#session = session;
    previous?.replaced();
    this.counters.sessions++;
    this.lastHeardAtMs = this.connectedAtMs = this.#clock.wallMs();
    this.peer = session.peer;
    this.software = hello.software;
    this.interfaces = hello.interfaces.map(({ name }) => name);
    this.#lanes.clear();
    const { lane = 0, epoch, firstSequence, durableHere, lanes = [] } = hello;
    return [{ lane, epoch, firstSequence, durableHere }, ...lanes].map((entry) => this.openLane(entry));
  }

  /** A lane begins, or its number is used again for another epoch. */
  openLane({ lane, epoch, firstSequence, durableHere = firstSequence - 1 }: Lane): LanePosition {
    const tracker = this.#epochs.enter(epoch);
    const first = tracker.next;
    const skipped = tracker.skipTo(firstSequence);
    // What this collector once acknowledged and no longer knows is lost; the rest is in another collector's archive.
    const missing = Math.min(skipped, Math.max(0, durableHere - first + 1));
    if (missing > 0) this.#noteMissing(epoch, first, missing);
    if (skipped > missing) {
      this.counters.elsewhereFrames += skipped - missing;
      this.#events.framesElsewhere?.({ sensor: this.sensor, epoch, frames: skipped - missing });
    }
    this.#lanes.set(lane, { epoch, tracker, acknowledged: tracker.durable });
    return { lane, nextSequence: tracker.next, durableSequence: tracker.durable };
  }

  detach(session: AttachedSession): void {
    if (this.#session !== session) return;
    this.#session = null;
    this.edge.detach();
  }

  /** Throws `OperatingError('TUNNEL_PROTOCOL')` when the frame is damaged or others are missing before it. */
  takeBatch(frame: Frame): void {
    const { tracker } = this.#laneOf(frame);
    if (frame.sequence <= tracker.accepted) {
      this.#takeDuplicate();
      return;
    }
    // Decoded before its sequence is taken: a batch that cannot be read was not received.
    const batch: Batch = decodeBatch(frame);
    takeSequence(tracker, frame.sequence, frame.sequence);
    this.store.write(batch);
    const { newestSeconds, newestNanoseconds } = batchTimeSpan(frame.payload);
    this.newestPacketAtMs = Math.max(this.newestPacketAtMs, newestSeconds * 1000 + newestNanoseconds / 1e6);
    this.counters.batches++;
    this.counters.packets += batch.packetCount;
    this.counters.bytes += capturedBytesOf(batch);
    this.counters.wireBytes += frame.payload.byteLength;
    this.#commit.add(batch.byteLength);
  }

  /** As `takeBatch`. */
  takeGap(frame: Frame): void {
    const gap = decodeGap(frame);
    const { epoch, tracker } = this.#laneOf(frame);
    if (!takeSequence(tracker, gap.firstSequence, frame.sequence)) {
      this.#takeDuplicate();
      return;
    }
    this.counters.gaps++;
    this.counters.gapPackets += gap.packets ?? 0;
    this.counters.gapBytes += gap.bytes ?? 0;
    const { packets, bytes, fromNs, toNs, reason } = gap;
    this.store.writeGap({
      receivedAtMs: this.#clock.wallMs(),
      epoch,
      sequences: [gap.firstSequence, frame.sequence],
      packets,
      bytes,
      fromNs,
      toNs,
      reason,
    });
    this.#events.gapReceived?.({ ...gap, sensor: this.sensor });
    this.#commit.add(GAP_BYTES);
  }

  /** One way: frames that will never come. `sequences` begins with the epoch's next one. */
  takeLost(epoch: string, lost: LostRange): void {
    const { sequences, packets, bytes } = lost;
    this.#epochs.enter(epoch).skipTo(sequences[1] + 1);
    this.counters.losses++;
    this.counters.lostPackets += packets;
    this.counters.lostBytes += bytes;
    this.store.writeGap({ receivedAtMs: this.#clock.wallMs(), epoch, ...lost });
    this.#events.packetsLost?.({ ...lost, sensor: this.sensor, epoch });
    this.#commit.add(GAP_BYTES);
  }

  /** One way: what the epoch stands for after the frame taken last. Called in the same turn. */
  noteProgress(epoch: string, progress: OneWayProgress): void {
    this.#epochs.noteProgress(epoch, progress);
  }

  /** What is known of an epoch that came one way; null when it never did. */
  progressOf(epoch: string): (OneWayProgress & { readonly sequence: number }) | null {
    return this.#epochs.progressOf(epoch);
  }

  /** The epochs of this key that came one way, in no order. */
  oneWayEpochs(keyId: number): readonly string[] {
    return this.#epochs.oneWayOf(keyId);
  }

  /** Resolves when all that was accepted so far is durable and acknowledged. */
  commit(): Promise<void> {
    return this.#commit.now();
  }

  async close(): Promise<void> {
    this.#diskLimit.close();
    await this.#commit.stop();
    await this.store.close();
  }

  #laneOf(frame: Frame): OpenLane {
    const lane = this.#lanes.get(frame.lane);
    if (lane === undefined)
      throw broken('lane', `lane ${String(frame.lane)} was not opened`, { lane: frame.lane });
    return lane;
  }

  #acknowledge(): void {
    for (const [number, lane] of this.#lanes) {
      const { durable } = lane.tracker;
      if (durable === lane.acknowledged) continue;
      lane.acknowledged = durable;
      this.#session?.acknowledge(number, durable);
    }
  }

  #takeDuplicate(): void {
    this.counters.duplicateFrames++;
  }

  #noteMissing(epoch: string, first: number, frames: number): void {
    this.counters.missingFrames += frames;
    this.store.writeGap({
      receivedAtMs: this.#clock.wallMs(),
      epoch,
      sequences: [first, first + frames - 1],
      packets: null,
      bytes: null,
      fromNs: null,
      toNs: null,
      reason: 'frames-missing',
    });
    this.#events.framesMissing?.({ sensor: this.sensor, epoch, frames });
    this.#commit.add(GAP_BYTES);
  }

  async #commitNow(): Promise<void> {
    const snapshot = this.#epochs.snapshot();
    await this.store.commit(snapshot.marks);
    snapshot.markDurable();
    this.counters.commits++;
  }
}

interface OpenLane {
  readonly epoch: string;
  readonly tracker: SequenceTracker;
  /** What the session was told last. */
  acknowledged: number;
}

/** From where a lane should go on. */
export interface LanePosition {
  readonly lane: number;
  readonly nextSequence: number;
  readonly durableSequence: number;
}

/** True when the frame is new; throws when it comes too early. */
function takeSequence(tracker: SequenceTracker, first: number, last: number): boolean {
  const judgement = tracker.take(first, last);
  if (judgement === 'ahead')
    throw broken('sequence', 'frames are missing from the stream', { expected: tracker.next, found: first });
  return judgement === 'accept';
}
