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
import { add, gapSegment, newSegment, queuedPackets, sum, type Segment } from './lane-segment.ts';
import {
  describeSpooled,
  firstSequenceOf,
  readSpooled,
  segmentNameOf,
  walkSegment,
  type SpooledFrame,
} from './spool-segment.ts';

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
  readonly directory: string;
  /** The number in the frames' headers. */
  readonly lane: number;
  readonly #files: Files;
  readonly #owner: SpoolLaneOwner;
  #segments: Segment[] = [];
  /** Acknowledged within the first segment. */
  #acknowledged = 0;
  #acknowledgedPackets = 0;
  #acknowledgedBytes = 0;
  #packets = 0;
  #bytes = 0;
  #writer = -1;
  /** Segments written since the last sync, by their first sequence. */
  #unsynced = new Set<number>();
  #reader: { first: number; descriptor: number } | null = null;

  constructor(directory: string, lane: number, files: Files, owner: SpoolLaneOwner) {
    this.directory = directory;
    this.lane = lane;
    this.#files = files;
    this.#owner = owner;
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
    const found = this.#files
      .list(this.directory)
      .flatMap((name) => {
        const first = firstSequenceOf(name);
        if (first === null) this.#files.remove(`${this.directory}/${name}`);
        return first === null ? [] : [first];
      })
      .sort((a, b) => a - b);
    for (const [index, first] of found.entries()) this.#loadSegment(first, index === found.length - 1);
    this.acknowledge(acknowledged);
  }

  append(frame: QueuedFrame): boolean {
    const { byteLength } = frame.bytes;
    if (!this.#owner.makeRoom(byteLength)) return false;
    assert(this.#segments.length === 0 || frame.sequence > this.last, 'a frame was spooled out of sequence');
    try {
      let segment = this.#segments.at(-1);
      if (segment === undefined || this.#writer < 0 || segment.bytes + byteLength > SEGMENT_BYTES)
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
      const bytes = readSpooled(this.#files, this.#descriptorOf(segment), frame);
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
    if (index === this.#segments.length - 1) this.#closeWriter();
    this.#becomeGap(index, 'spool-full', sentUpTo);
    return true;
  }

  /** Makes what was written so far survive a power failure. */
  async sync(): Promise<void> {
    const written = this.#unsynced;
    if (written.size === 0) return;
    this.#unsynced = new Set();
    for (const first of written) await this.#files.sync(this.#pathOf(first));
    await this.#files.syncDirectory(this.directory);
  }

  /** Lets go of the files; they stay. */
  close(): void {
    this.#closeWriter();
    this.#closeReader();
  }

  /** Takes the empty lane away. */
  remove(): void {
    assert(this.#segments.length === 0, 'a lane with frames was removed');
    this.close();
    if (this.#files.exists(this.directory)) this.#files.removeDirectory(this.directory);
  }

  #pathOf(first: number): string {
    return `${this.directory}/${segmentNameOf(first)}`;
  }

  #loadSegment(first: number, isNewest: boolean): void {
    const path = this.#pathOf(first);
    // A gap was drawn over several segments, and the process died before the last of them was taken away.
    if (this.#segments.length > 0 && first <= this.last) {
      this.#files.remove(path);
      return;
    }
    const descriptor = this.#files.open(path);
    try {
      const { frames, soundBytes } = walkSegment(this.#files, descriptor, first, isNewest);
      if (soundBytes < this.#files.byteLength(descriptor)) this.#files.truncate(descriptor, soundBytes);
      const [head] = frames;
      if (head === undefined) this.#files.remove(path);
      else this.#adopt(first, frames);
    } finally {
      this.#files.close(descriptor);
    }
  }

  #adopt(first: number, frames: readonly SpooledFrame[]): void {
    const previous = this.#segments.at(-1);
    const [head] = frames;
    const isGap = frames.length === 1 && head?.isGap === true;
    const segment = isGap ? gapSegment(head) : newSegment(first);
    if (!isGap) for (const frame of frames) add(segment, frame);
    // Of those that were found, only the one that is read next keeps the places of its frames.
    segment.frames = null;
    if (previous !== undefined && first > previous.last + 1)
      this.#insertGap(previous.last + 1, first - 1, previous.toNs, segment.fromNs);
    this.#segments.push(segment);
    this.#count(segment.packets, segment.bytes);
  }

  /** Sequences that are missing between two segments: something took the file away, or damaged it. */
  #insertGap(first: number, last: number, fromNs: bigint, toNs: bigint): void {
    const gap = encodeGap(
      {
        firstSequence: first,
        fromNs: String(fromNs),
        toNs: String(toNs > fromNs ? toNs : fromNs),
        packets: null,
        bytes: null,
        reason: 'spool-damaged',
      },
      last,
      this.lane,
    );
    this.#files.close(this.#writeFile(this.#pathOf(first), gap));
    this.#segments.push(gapSegment(describeSpooled(gap, 0)));
    this.#count(0, gap.byteLength);
    this.#owner.lost({ reason: 'spool-damaged', packets: 0, path: this.#pathOf(first) });
  }

  #createSegment(first: number): Segment {
    this.#closeWriter();
    const previous = this.#segments.at(-1);
    // A long outage makes thousands of segments; where their frames stand is found again when it is their turn.
    if (previous === undefined) this.#files.makeDirectory(this.directory);
    else if (this.#segments.length > 1) previous.frames = null;
    this.#writer = this.#files.create(this.#pathOf(first));
    const segment = newSegment(first);
    this.#segments.push(segment);
    return segment;
  }

  /** A frame that does not fit whole leaves no trace. */
  #write(segment: Segment, bytes: Uint8Array): void {
    try {
      let offset = 0;
      while (offset < bytes.byteLength)
        offset += this.#files.write(
          this.#writer,
          bytes,
          offset,
          bytes.byteLength - offset,
          segment.bytes + offset,
        );
    } catch (error) {
      if (segment.bytes > 0) this.#files.truncate(this.#writer, segment.bytes);
      else this.#abandonSegment(segment);
      throw error;
    }
    this.#unsynced.add(segment.first);
    const frame = describeSpooled(bytes, segment.bytes);
    add(segment, frame);
    segment.isGap = false;
    this.#count(queuedPackets(frame), bytes.byteLength);
  }

  #abandonSegment(segment: Segment): void {
    this.#files.close(this.#writer);
    this.#writer = -1;
    this.#segments.pop();
    this.#files.remove(this.#pathOf(segment.first));
  }

  #framesOf(segment: Segment): SpooledFrame[] {
    if (segment.frames === null) {
      const { frames } = walkSegment(this.#files, this.#descriptorOf(segment), segment.first, false);
      segment.frames = frames;
    }
    return segment.frames;
  }

  #descriptorOf(segment: Segment): number {
    if (this.#reader?.first !== segment.first) {
      this.#closeReader();
      this.#reader = { first: segment.first, descriptor: this.#files.open(this.#pathOf(segment.first)) };
    }
    return this.#reader.descriptor;
  }

  #closeWriter(): void {
    if (this.#writer >= 0) this.#files.close(this.#writer);
    this.#writer = -1;
  }

  #closeReader(): void {
    if (this.#reader !== null) this.#files.close(this.#reader.descriptor);
    this.#reader = null;
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
    if (this.#segments.length === 1) this.#closeWriter();
    if (this.#reader?.first === segment.first) this.#closeReader();
    this.#files.remove(this.#pathOf(segment.first));
    this.#segments.shift();
    this.#acknowledged = this.#acknowledgedPackets = this.#acknowledgedBytes = 0;
    this.#count(-segment.packets, -segment.bytes);
  }

  /** What cannot be read any more, from `sequence` to the end of its segment, becomes a gap. */
  #loseFrom(index: number, sequence: number): QueuedFrame {
    const segment = this.#segments[index] as Segment;
    const sound = (segment.frames ?? []).filter(({ last }) => last < sequence);
    if (index === this.#segments.length - 1) this.#closeWriter();
    if (sound.length > 0) this.#split(index, sound);
    this.#becomeGap(sound.length > 0 ? index + 1 : index, 'spool-damaged', Infinity);
    return this.read(sequence);
  }

  /** Cuts a segment behind its sound frames; the rest, of which only the totals are known, is a segment without a file. */
  #split(index: number, sound: readonly SpooledFrame[]): void {
    const segment = this.#segments[index] as Segment;
    const kept = newSegment(segment.first);
    for (const frame of sound) add(kept, frame);
    const descriptor = this.#files.open(this.#pathOf(segment.first));
    this.#files.truncate(descriptor, kept.bytes);
    this.#files.close(descriptor);
    const rest: Segment = {
      ...segment,
      first: kept.last + 1,
      bytes: segment.bytes - kept.bytes,
      packets: segment.packets - kept.packets,
      capturedBytes: segment.capturedBytes - kept.capturedBytes,
      frames: null,
    };
    this.#segments.splice(index, 1, kept, rest);
  }

  /** Replaces a segment by one GAP, which swallows one right before it that was not sent either. */
  #becomeGap(index: number, reason: SpoolLossReason, sentUpTo: number): void {
    const segment = this.#segments[index] as Segment;
    const previous = this.#segments[index - 1];
    const merged = previous?.isGap === true && previous.first > sentUpTo ? previous : null;
    const first = merged?.first ?? segment.first;
    const fromNs = merged !== null && merged.fromNs < segment.fromNs ? merged.fromNs : segment.fromNs;
    const toNs = merged !== null && merged.toNs > segment.toNs ? merged.toNs : segment.toNs;
    const gap = encodeGap(
      {
        firstSequence: first,
        fromNs: String(fromNs),
        toNs: String(toNs),
        packets: sum(segment.packets, segment.gapPackets, merged === null ? 0 : merged.gapPackets),
        bytes: sum(segment.capturedBytes, segment.gapBytes, merged === null ? 0 : merged.gapBytes),
        reason,
      },
      segment.last,
      this.lane,
    );
    // Beside, then over: whatever happens in between, each sequence is still spoken for once.
    const hidden = `${this.#pathOf(first)}.new`;
    this.#files.close(this.#writeFile(hidden, gap));
    this.#closeReader();
    this.#files.rename(hidden, this.#pathOf(first));
    if (this.#files.exists(this.#pathOf(segment.first)) && first !== segment.first)
      this.#files.remove(this.#pathOf(segment.first));
    const replacement = gapSegment(describeSpooled(gap, 0));
    this.#segments.splice(merged === null ? index : index - 1, merged === null ? 1 : 2, replacement);
    this.#count(-segment.packets, gap.byteLength - segment.bytes - (merged?.bytes ?? 0));
    this.#owner.lost({ reason, packets: segment.packets, path: this.#pathOf(first) });
  }

  #writeFile(path: string, bytes: Uint8Array): number {
    if (this.#files.exists(path)) this.#files.remove(path);
    const descriptor = this.#files.create(path);
    let offset = 0;
    while (offset < bytes.byteLength)
      offset += this.#files.write(descriptor, bytes, offset, bytes.byteLength - offset, offset);
    return descriptor;
  }

  #count(packets: number, bytes: number): void {
    this.#packets += packets;
    this.#bytes += bytes;
    this.#owner.changed(bytes);
  }
}
