/**
 * What the one-way tunnel has to say, in the order of its sequence: batches, cut to groups of about the nominal size, and the gaps for what was left out. What
 * must stay true: every BATCH and GAP bears the next number, and a gap stands before what was captured after it.
 */
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { BATCH_BYTES_MAX } from '@tapline/shared/packet/batch.ts';
import type { CodecName } from '@tapline/shared/tunnel/codec.ts';
import { encodeGap, nanosecondsText } from '@tapline/shared/tunnel/messages.ts';
import {
  capturedBytesOf,
  encodeBatch,
  timeSpanOf,
  type TimeSpan,
} from '@tapline/shared/tunnel/packet-batch.ts';
import { GapTally } from '../gap-tally.ts';
import type { UplinkCounters, UplinkDropReason, UplinkEvents } from '../uplink.ts';
import { cutBatch } from './batch-cutter.ts';
import type { FrameLine } from './frame-line.ts';
import type { GroupEncoder } from './group-encoder.ts';

/** What compression is trusted to do for the next batch, beyond which a group would be far from its size. */
const RATIO_MAX = 30;

export class OutgoingSequence {
  readonly #codec: CodecName;
  readonly #encoder: GroupEncoder;
  readonly #line: FrameLine;
  readonly #counters: UplinkCounters;
  readonly #events: UplinkEvents;
  readonly #gaps = new Map<UplinkDropReason, GapTally>();
  #nextSequence = 1;
  /** Record bytes per byte of a frame, as the last batch showed. */
  #ratio = 1;

  /** Frames go to `line`; `encoder` says how large they may be. */
  constructor(
    codec: CodecName,
    encoder: GroupEncoder,
    line: FrameLine,
    counters: UplinkCounters,
    events: UplinkEvents,
  ) {
    this.#codec = codec;
    this.#encoder = encoder;
    this.#line = line;
    this.#counters = counters;
    this.#events = events;
  }

  push(batch: Batch): void {
    const bytesAim = Math.min(BATCH_BYTES_MAX, Math.floor(this.#encoder.frameBytesAim * this.#ratio));
    for (const piece of cutBatch(batch, bytesAim)) this.#encode(piece);
  }

  /** Leaves a batch out, with the reason: it will be part of a gap. */
  drop(batch: Batch, reason: UplinkDropReason): void {
    let gap = this.#gaps.get(reason);
    if (gap === undefined) this.#gaps.set(reason, (gap = new GapTally()));
    if (gap.packets === 0) this.#events.gapBegan?.({ reason, queuedBytes: this.#counters.queuedBytes });
    gap.add(batch.packetCount, capturedBytesOf(batch), timeSpanOf(batch), 0);
    this.#counters.dropped[reason] += batch.packetCount;
  }

  /** Says what was left out since, before anything that comes after it. */
  queueGaps(): void {
    for (const [reason, tally] of this.#gaps) {
      if (tally.packets === 0) continue;
      const gap = tally.take(reason);
      const { packets, bytes, fromNs, toNs } = gap;
      this.#line.push({
        bytes: encodeGap(gap, this.#nextSequence),
        sequence: this.#nextSequence++,
        packetCount: 0,
        standsFor: { packets, bytes, oldestNs: BigInt(fromNs), newestNs: BigInt(toNs) },
      });
      this.#counters.gapsReported++;
      this.#events.gapEnded?.(gap);
    }
  }

  /** One group of about the nominal size, or more of them when the batch shrank less than the last. */
  #encode(batch: Batch): void {
    this.queueGaps();
    const frame = encodeBatch(batch, this.#nextSequence, this.#codec);
    if (!this.#encoder.fits(frame.byteLength)) {
      if (batch.packetCount === 1) {
        this.drop(batch, 'too-large');
        return;
      }
      for (const half of cutBatch(batch, Math.ceil(batch.byteLength / 2))) this.#encode(half);
      return;
    }
    this.#ratio = Math.min(RATIO_MAX, Math.max(1, batch.byteLength / frame.byteLength));
    const { oldestNs, newestNs } = nanosecondsOf(timeSpanOf(batch));
    this.#line.push({
      bytes: frame,
      sequence: this.#nextSequence++,
      packetCount: batch.packetCount,
      standsFor: { packets: batch.packetCount, bytes: capturedBytesOf(batch), oldestNs, newestNs },
    });
  }
}

function nanosecondsOf(span: TimeSpan): { oldestNs: bigint; newestNs: bigint } {
  return {
    oldestNs: BigInt(nanosecondsText(span.oldestSeconds, span.oldestNanoseconds)),
    newestNs: BigInt(nanosecondsText(span.newestSeconds, span.newestNanoseconds)),
  };
}
