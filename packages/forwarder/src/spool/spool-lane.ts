/**
 * One lane's frames on the disk: segments of up to SEGMENT_BYTES, appended to at the end, taken away at the beginning when
 * everything in them was acknowledged. What must stay true:
 * - the sequences on the disk are consecutive, from `first` to `last`; what had to be dropped among them, or was damaged, is
 *   replaced by a GAP frame that says what it was, so that it is reported and the sequence goes on;
 * - a frame stands in the kernel's hands before it is sent: a kill cannot make the collector know more than the spool.
 *
 * Memory: a few numbers per segment, and the places of the frames of the two segments that are read from and written to.
 */
import { assert } from '@tapline/shared/base/assert.ts';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { errnoOf, type Files } from '@tapline/shared/system/files.ts';
import { encodeGap } from '@tapline/shared/tunnel/messages.ts';
import type { FrameStore, FrameTotals, QueuedFrame } from './frame-queue.ts';
import { LaneFiles } from './lane-files.ts';
import {
  add,
  gapBetween,
  gapInPlaceOf,
  gapSegment,
  newSegment,
  queuedPackets,
  restOf,
  type Segment,
} from './lane-segment.ts';
import { describeSpooled, type SpooledFrame } from './spool-segment.ts';

/** At 100 Mbit/s of OT traffic that shrinks 5 times, seven seconds: what one acknowledgement too few costs in disk. */
export const SEGMENT_BYTES = 16 * 1024 * 1024;

export type SpoolLossReason = 'spool-full' | 'spool-damaged';

/** What a lane asks of the spool it belongs to. */
export interface SpoolLaneOwner {
  /** Whether so many more bytes may be written; may drop older frames of any lane to make room. */
  makeRoom(bytes: number): boolean;
  /** Bytes more or fewer on the disk. */
  changed(bytes: number): void;
  /** The disk refused; told once until it takes bytes again. */
  writeFailed(failure: { readonly path: string; readonly code: string; readonly message: string }): void;
  written(): void;
  /** Packets that were queued and became a gap. */
  lost(loss: { readonly reason: SpoolLossReason; readonly packets: number; readonly path: string }): void;
}

export class SpoolLane implements FrameStore {
  /** The number in the frames' headers. */
  readonly lane: number;
  readonly #files: LaneFiles;
  readonly #owner: SpoolLaneOwner;
  #segments: Segment[] = [];
  /** Acknowledged within the first segment. */
  #acknowledged = 0;
  #acknowledgedPackets = 0;
  #acknowledgedBytes = 0;
  #packets = 0;
  #bytes = 0;

  constructor(directory: string, lane: number, files: Files, owner: SpoolLaneOwner) {
    this.#files = new LaneFiles(directory, files);
    this.lane = lane;
    this.#owner = owner;
  }

  get directory(): string {
    return this.#files.directory;
  }

  get first(): number {
    const segment = this.#segments[0];
    return segment === undefined ? this.last + 1 : Math.max(segment.first, this.#acknowledged + 1);
  }

  get last(): number {
    return this.#segments.at(-1)?.last ?? 0;
  }

  get totals(): FrameTotals {
    return {
      packets: this.#packets - this.#acknowledgedPackets,
      bytes: this.#bytes - this.#acknowledgedBytes,
    };
  }

  /** Bytes of its files. */
  get diskBytes(): number {
    return this.#bytes;
  }

  /** Time of the newest packet on the disk; 0 when there is none. */
  get newestNs(): bigint {
    return this.#segments.reduce((newest, { toNs }) => (toNs > newest ? toNs : newest), 0n);
  }

  /** Reads what an earlier life has left, repairs it, and takes note that everything up to `acknowledged` has arrived. */
  load(acknowledged: number): void {
    const found = this.#files.list();
    for (const [index, first] of found.entries()) this.#loadSegment(first, index === found.length - 1);
    this.acknowledge(acknowledged);
  }

  append(frame: QueuedFrame): boolean {
    const { byteLength } = frame.bytes;
    if (!this.#owner.makeRoom(byteLength)) return false;
    assert(this.#segments.length === 0 || frame.sequence > this.last, 'a frame was spooled out of sequence');
    try {
      let segment = this.#segments.at(-1);
      if (segment === undefined || !this.#files.isWriting || segment.bytes + byteLength > SEGMENT_BYTES)
        segment = this.#createSegment(describeSpooled(frame.bytes, 0).first);
      this.#write(segment, frame.bytes);
    } catch (error) {
      this.#owner.writeFailed({ path: this.directory, code: errnoOf(error), message: messageOf(error) });
      return false;
    }
    this.#owner.written();
    return true;
  }

  read(sequence: number): QueuedFrame {
    const index = this.#segments.findIndex(({ last }) => last >= sequence);
    const segment = this.#segments[index];
    assert(segment !== undefined && segment.first <= sequence, 'a frame was asked for that is not spooled');
    try {
      const frame = this.#framesOf(segment).find(({ last }) => last >= sequence);
      if (frame === undefined) return this.#loseFrom(index, sequence);
      const bytes = this.#files.read(segment.first, frame);
      return { sequence: frame.last, bytes, packetCount: queuedPackets(frame) };
    } catch (error) {
      // The disk's errors and ours for what it gave back; a bug is neither.
      if (!(error instanceof OperatingError) && errnoOf(error) === '') throw error;
      return this.#loseFrom(index, sequence);
    }
  }

  acknowledge(sequence: number): FrameTotals {
    const before = this.totals;
    let segment = this.#segments[0];
    while (segment !== undefined && segment.last <= sequence) {
      this.#removeFirst(segment);
      segment = this.#segments[0];
    }
    if (segment !== undefined && sequence >= segment.first) this.#acknowledgeWithin(segment, sequence);
    const after = this.totals;
    return { packets: before.packets - after.packets, bytes: before.bytes - after.bytes };
  }

  /**
   * Replaces the oldest segment that was never sent by a gap, for want of room; the one that is being written, too, where it
   * is the last. False when everything was sent.
   */
  dropOldest(sentUpTo: number): boolean {
    const index = this.#segments.findIndex(({ first, isGap }) => first > sentUpTo && !isGap);
    if (index < 0) return false;
    if (index === this.#segments.length - 1) this.#files.closeWriter();
    this.#becomeGap(index, 'spool-full', sentUpTo);
    return true;
  }

  /** Makes what was written so far survive a power failure. */
  sync(): Promise<void> {
    return this.#files.sync();
  }

  /** Lets go of the files; they stay. */
  close(): void {
    this.#files.closeWriter();
    this.#files.closeReader();
  }

  /** Takes the empty lane away. */
  remove(): void {
    assert(this.#segments.length === 0, 'a lane with frames was removed');
    this.close();
    this.#files.removeDirectory();
  }

  #loadSegment(first: number, isNewest: boolean): void {
    // A gap was drawn over several segments, and the process died before the last of them was taken away.
    if (this.#segments.length > 0 && first <= this.last) {
      this.#files.remove(first);
      return;
    }
    const frames = this.#files.repair(first, isNewest);
    if (frames.length > 0) this.#adopt(first, frames);
  }

  #adopt(first: number, frames: readonly SpooledFrame[]): void {
    const previous = this.#segments.at(-1);
    const [head] = frames;
    const isGap = frames.length === 1 && head?.isGap === true;
    const segment = isGap ? gapSegment(head) : newSegment(first);
    if (!isGap) for (const frame of frames) add(segment, frame);
    // Of those that were found, only the one that is read next keeps the places of its frames.
    segment.frames = null;
    if (previous !== undefined && first > previous.last + 1) this.#insertGap(previous, segment);
    this.#segments.push(segment);
    this.#count(segment.packets, segment.bytes);
  }

  /** Sequences that are missing between two segments: something took the file away, or damaged it. */
  #insertGap(previous: Segment, next: Segment): void {
    const first = previous.last + 1;
    const gap = encodeGap(gapBetween(previous, next), next.first - 1, this.lane);
    this.#files.write(this.#files.pathOf(first), gap);
    this.#segments.push(gapSegment(describeSpooled(gap, 0)));
    this.#count(0, gap.byteLength);
    this.#owner.lost({ reason: 'spool-damaged', packets: 0, path: this.#files.pathOf(first) });
  }

  #createSegment(first: number): Segment {
    this.#files.create(first, this.#segments.length === 0);
    // A long outage makes thousands of segments; where their frames stand is found again when it is their turn.
    const previous = this.#segments.at(-1);
    if (previous !== undefined && this.#segments.length > 1) previous.frames = null;
    const segment = newSegment(first);
    this.#segments.push(segment);
    return segment;
  }

  #write(segment: Segment, bytes: Uint8Array): void {
    try {
      this.#files.append(segment.first, segment.bytes, bytes);
    } catch (error) {
      if (segment.bytes === 0) this.#segments.pop();
      throw error;
    }
    const frame = describeSpooled(bytes, segment.bytes);
    add(segment, frame);
    segment.isGap = false;
    this.#count(queuedPackets(frame), bytes.byteLength);
  }

  #framesOf(segment: Segment): SpooledFrame[] {
    return (segment.frames ??= this.#files.walk(segment.first));
  }

  #acknowledgeWithin(segment: Segment, sequence: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, sequence);
    this.#acknowledgedPackets = this.#acknowledgedBytes = 0;
    for (const frame of this.#framesOf(segment)) {
      if (frame.last > this.#acknowledged) break;
      this.#acknowledgedPackets += queuedPackets(frame);
      this.#acknowledgedBytes += frame.byteLength;
    }
  }

  #removeFirst(segment: Segment): void {
    if (this.#segments.length === 1) this.#files.closeWriter();
    this.#files.remove(segment.first);
    this.#segments.shift();
    this.#acknowledged = this.#acknowledgedPackets = this.#acknowledgedBytes = 0;
    this.#count(-segment.packets, -segment.bytes);
  }

  /** What cannot be read any more, from `sequence` to the end of its segment, becomes a gap. */
  #loseFrom(index: number, sequence: number): QueuedFrame {
    const segment = this.#segments[index] as Segment;
    const sound = (segment.frames ?? []).filter(({ last }) => last < sequence);
    if (index === this.#segments.length - 1) this.#files.closeWriter();
    if (sound.length > 0) this.#split(index, sound);
    this.#becomeGap(sound.length > 0 ? index + 1 : index, 'spool-damaged', Infinity);
    return this.read(sequence);
  }

  /** Cuts a segment behind its sound frames; the rest, of which only the totals are known, is a segment without a file. */
  #split(index: number, sound: readonly SpooledFrame[]): void {
    const segment = this.#segments[index] as Segment;
    const kept = newSegment(segment.first);
    for (const frame of sound) add(kept, frame);
    this.#files.cut(segment.first, kept.bytes);
    this.#segments.splice(index, 1, kept, restOf(segment, kept));
  }

  /** Replaces a segment by one GAP, which swallows one right before it that was not sent either. */
  #becomeGap(index: number, reason: SpoolLossReason, sentUpTo: number): void {
    const segment = this.#segments[index] as Segment;
    const previous = this.#segments[index - 1];
    const merged = previous?.isGap === true && previous.first > sentUpTo ? previous : null;
    const first = merged?.first ?? segment.first;
    const gap = encodeGap(gapInPlaceOf(segment, merged, reason), segment.last, this.lane);
    // First over the oldest, then the others away: whatever happens in between, each sequence is still spoken for once.
    this.#files.replace(first, gap);
    if (first !== segment.first && this.#files.exists(segment.first)) this.#files.remove(segment.first);
    const replacement = gapSegment(describeSpooled(gap, 0));
    this.#segments.splice(merged === null ? index : index - 1, merged === null ? 1 : 2, replacement);
    this.#count(-segment.packets, gap.byteLength - segment.bytes - (merged?.bytes ?? 0));
    this.#owner.lost({ reason, packets: segment.packets, path: this.#files.pathOf(first) });
  }

  #count(packets: number, bytes: number): void {
    this.#packets += packets;
    this.#bytes += bytes;
    this.#owner.changed(bytes);
  }
}
