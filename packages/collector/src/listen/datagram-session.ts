/**
 * One epoch of a sensor that comes one way: from groups in their order to frames in the sensor's intake, and what is
 * missing between two groups to a gap that is exact.
 *
 *   unknown ─ a HELLO is whole ─▶ opening ─ the intake is there ─▶ open ─ BYE, silence ─▶ over
 *      └──────────────── another's name, an older epoch ────────────────────────────────▶ over
 *
 * What must stay true: every group's prefix agrees with what the intake has been told, or a gap is written that makes it
 * agree; so packets stored and packets in gaps add up to what the sender counted, also over a restart of the collector.
 */
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { PACKET_BYTES_MAX, RECORD_HEADER_BYTES } from '@tapline/shared/packet/record.ts';
import { decodeGroup, type GroupPrefix } from '@tapline/shared/tunnel/datagram-group.ts';
import {
  BATCH_PREFIX_BYTES,
  FRAME_BATCH,
  FRAME_BYE,
  FRAME_GAP,
  FRAME_HEARTBEAT,
  FRAME_HELLO,
  FRAME_REPORT,
  broken,
  type Frame,
} from '@tapline/shared/tunnel/frame.ts';
import {
  decodeGap,
  decodeHello,
  decodeReport,
  nanosecondsText,
  type Hello,
} from '@tapline/shared/tunnel/messages.ts';
import { batchTimeSpan } from '@tapline/shared/tunnel/packet-batch.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { AttachedSession, SensorIntake } from '../session/sensor-intake.ts';
import type { AssembledGroups } from './group-assembler.ts';

export interface DatagramSessionHandlers {
  /** A HELLO came; the answer is `open` or `end`, or nothing, and the next HELLO asks again. */
  greeted(hello: Hello): void;
  /** The sensor's store takes packets again. */
  resumed(): void;
  /** A group that holds no frame, or one that contradicts the books. */
  malformed(problem: string): void;
  /** BYE came: all that was sent has come, or stands in a gap. */
  saidBye(): void;
  /** Another connection of the sensor took over. */
  replaced(): void;
  /** Whole groups dropped so far because the store did not keep up. */
  overloadedGroups(): number;
}

export class DatagramSession implements AttachedSession, AssembledGroups {
  /** Where the HELLO came from. */
  peer = '';
  readonly #epoch: string;
  readonly #keyId: number;
  readonly #clock: TunnelClock;
  readonly #handlers: DatagramSessionHandlers;
  #state: 'unknown' | 'opening' | 'open' | 'over' = 'unknown';
  #intake: SensorIntake | null = null;
  /** What the frames taken, and the gaps written, stand for. */
  #sequence = 0;
  #packets = 0;
  #bytes = 0;
  #newestNs = 0n;
  #overloadedBefore = 0;

  constructor(
    source: { readonly epoch: string; readonly keyId: number },
    dependencies: { readonly clock: TunnelClock; readonly handlers: DatagramSessionHandlers },
  ) {
    this.#epoch = source.epoch;
    this.#keyId = source.keyId;
    this.#clock = dependencies.clock;
    this.#handlers = dependencies.handlers;
  }

  get state(): 'unknown' | 'opening' | 'open' | 'over' {
    return this.#state;
  }

  get sensor(): string | null {
    return this.#intake?.sensor ?? null;
  }

  /** From here on groups are taken. Returns the sequence of the next frame. */
  open(intake: SensorIntake, hello: Hello, peer: string): number {
    const progress = intake.progressOf(this.#epoch);
    if (progress !== null) {
      this.#sequence = progress.sequence;
      this.#packets = progress.packets;
      this.#bytes = progress.bytes;
      this.#newestNs = BigInt(progress.newestNs);
    }
    this.#intake = intake;
    this.#state = 'open';
    this.peer = peer;
    // Nothing can be asked for again, and there is one lane only.
    const { sensor, epoch, software, codecs, interfaces, sentAtMs } = hello;
    const [lane] = intake.attach(this, {
      sensor,
      epoch,
      software,
      codecs,
      interfaces,
      sentAtMs,
      firstSequence: 1,
    });
    return lane?.nextSequence ?? 1;
  }

  /** Waits for an intake, and takes no HELLO meanwhile; or, with false, for the next HELLO. */
  setOpening(isOpening: boolean): void {
    if (this.#state !== 'over') this.#state = isOpening ? 'opening' : 'unknown';
  }

  /** Takes nothing more; groups that still come are let go. */
  end(): void {
    this.#state = 'over';
    this.#intake?.detach(this);
  }

  isReady(): boolean {
    return this.#state === 'over' || (this.#state === 'open' && this.#intake?.isOverloaded === false);
  }

  peek(group: Uint8Array): void {
    if (this.#state !== 'unknown') return;
    this.#guard(() => {
      const { frame } = decodeGroup(group);
      if (frame.type === FRAME_HELLO) this.#handlers.greeted(decodeHello(frame));
    });
  }

  take(group: Uint8Array): void {
    const intake = this.#intake;
    if (this.#state !== 'open' || intake === null) return;
    intake.lastHeardAtMs = this.#clock.wallMs();
    this.#guard(() => {
      const { prefix, frame } = decodeGroup(group);
      if (prefix.sequence > this.#sequence) this.#noteLost(prefix, intake);
      this.#takeFrame(prefix, frame, intake);
    });
  }

  acknowledge(): void {
    // There is no way back.
  }

  resume(): void {
    this.#handlers.resumed();
  }

  replaced(): void {
    this.end();
    this.#handlers.replaced();
  }

  #takeFrame(prefix: GroupPrefix, frame: Frame, intake: SensorIntake): void {
    switch (frame.type) {
      case FRAME_BATCH:
      case FRAME_GAP:
        if (frame.sequence !== prefix.sequence + 1)
          throw broken('sequence', 'a frame contradicts its group', { sequence: frame.sequence });
        if (frame.type === FRAME_BATCH) this.#takeBatch(prefix, frame, intake);
        else this.#takeGap(prefix, frame, intake);
        break;
      case FRAME_REPORT:
        intake.report = { ...decodeReport(frame), receivedAtMs: this.#clock.wallMs() };
        break;
      case FRAME_BYE:
        void intake.commit();
        this.end();
        this.#handlers.saidBye();
        break;
      case FRAME_HELLO:
      case FRAME_HEARTBEAT:
        break;
      default:
        intake.counters.unknownFrames++;
    }
  }

  #takeBatch(prefix: GroupPrefix, frame: Frame, intake: SensorIntake): void {
    const isNew = frame.sequence > this.#sequence;
    intake.takeBatch(frame);
    if (!isNew) return;
    const bytes = frame.plainBytes - BATCH_PREFIX_BYTES - frame.packetCount * RECORD_HEADER_BYTES;
    const { newestSeconds, newestNanoseconds } = batchTimeSpan(frame.payload);
    this.#noteTaken(
      prefix,
      frame.packetCount,
      bytes,
      nanosecondsText(newestSeconds, newestNanoseconds),
      intake,
    );
  }

  #takeGap(prefix: GroupPrefix, frame: Frame, intake: SensorIntake): void {
    const isNew = frame.sequence > this.#sequence;
    const { packets, bytes, toNs } = decodeGap(frame);
    intake.takeGap(frame);
    if (isNew) this.#noteTaken(prefix, packets ?? 0, bytes ?? 0, toNs, intake);
  }

  #noteTaken(
    prefix: GroupPrefix,
    packets: number,
    bytes: number,
    newestNs: string,
    intake: SensorIntake,
  ): void {
    this.#sequence = prefix.sequence + 1;
    this.#packets = prefix.packets + packets;
    this.#bytes = prefix.bytes + bytes;
    const newest = BigInt(newestNs);
    if (newest > this.#newestNs) this.#newestNs = newest;
    this.#noteProgress(intake);
  }

  /** Everything between what was taken last and this group is gone. */
  #noteLost(prefix: GroupPrefix, intake: SensorIntake): void {
    const packets = prefix.packets - this.#packets;
    const bytes = prefix.bytes - this.#bytes;
    if (packets < 0 || bytes < 0 || bytes > packets * PACKET_BYTES_MAX || prefix.newestNs < this.#newestNs)
      throw broken('sequence', 'a group contradicts those before it', { sequence: prefix.sequence });
    const overloaded = this.#handlers.overloadedGroups();
    intake.takeLost(this.#epoch, {
      sequences: [this.#sequence + 1, prefix.sequence],
      packets,
      bytes,
      fromNs: String(this.#sequence === 0 ? prefix.oldestNs : this.#newestNs),
      toNs: String(prefix.newestNs),
      reason: overloaded > this.#overloadedBefore ? 'collector-overloaded' : 'datagrams-lost',
    });
    this.#overloadedBefore = overloaded;
    this.#sequence = prefix.sequence;
    this.#packets = prefix.packets;
    this.#bytes = prefix.bytes;
    this.#newestNs = prefix.newestNs;
    this.#noteProgress(intake);
  }

  #noteProgress(intake: SensorIntake): void {
    intake.noteProgress(this.#epoch, {
      keyId: this.#keyId,
      packets: this.#packets,
      bytes: this.#bytes,
      newestNs: String(this.#newestNs),
    });
  }

  /** What a sender may say wrong costs its group and nothing else. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#handlers.malformed(error.message);
    }
  }
}
